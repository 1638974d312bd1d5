// Numbers, times and sizes in words, and rows of tables.

export const $ = (id) => document.getElementById(id);

export const number = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

export function bytes(value) {
  const unit = ["B", "kB", "MB", "GB", "TB"];
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** power).toLocaleString("en", { maximumSignificantDigits: 3 })}\u00a0${unit[power]}`;
}

export const seconds = (value) => `${number(value, value < 100 ? 2 : 0)}\u00a0s`;

export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

// "2026-11-28T09:15:32Z" without its letters.
export const utc = (time) => time.replace("T", " ").replace("Z", "");

export const gps = (time) => (Number.isInteger(time) ? String(time) : time.toFixed(4));

export const span = ([begin, end]) => `${gps(begin)} – ${gps(end)} (${seconds(end - begin)})`;

export const operator = (freeze) =>
  freeze.user === "auto" ? "the freeze policy" : freeze.by || (freeze.user === "databuf" ? "an unnamed operator" : freeze.user);

// Fills a table's body. A cell is a text or an element; those from number `numeric` to `words` stand to the right.
export function rows(body, items, cells, numeric = Infinity, words = Infinity) {
  body.replaceChildren(
    ...items.map((item) => {
      const row = document.createElement("tr");
      cells(item).forEach((content, i) => {
        const cell = row.insertCell();
        cell.append(content);
        if (i >= numeric && i < words) cell.className = "n";
      });
      return row;
    }),
  );
}

export function head(table, names) {
  const row = document.createElement("tr");
  row.append(
    ...names.map((name) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      return cell;
    }),
  );
  table.replaceChildren(row);
}
