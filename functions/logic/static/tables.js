// Tables that are sorted by the column whose head is pressed.

// A column is a name, a function that gives the value to sort by (null: not sorted), and one for the content of a cell, if
// that is another one. Numbers stand to the right, and begin with the largest when they are sorted. Returns a function
// that draws items; they are sorted as before, at first by column number `by`.
export function sortable(table, columns, by, falling) {
  let items = [];
  const row = document.createElement("tr");
  const heads = columns.map(([name, value], i) => {
    const cell = Object.assign(document.createElement("th"), { scope: "col" });
    if (!value) {
      cell.textContent = name;
      return cell;
    }
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.addEventListener("click", () => {
      const numbers = items.some((item) => typeof value(item) === "number");
      falling = i === by ? !falling : numbers;
      by = i;
      draw();
    });
    cell.append(button);
    return cell;
  });
  row.append(...heads);
  table.tHead.replaceChildren(row);

  function compare(a, b) {
    const x = columns[by][1](a), y = columns[by][1](b);
    if (x === null || y === null) return (x === null) - (y === null); // what is missing comes last
    return (falling ? -1 : 1) * (typeof x === "number" ? x - y : String(x).localeCompare(String(y)));
  }

  function draw() {
    heads.forEach((head, i) => {
      if (columns[i][1]) head.setAttribute("aria-sort", i !== by ? "none" : falling ? "descending" : "ascending");
    });
    table.tBodies[0].replaceChildren(
      ...[...items].sort(compare).map((item) => {
        const line = document.createElement("tr");
        for (const [, value, content] of columns) {
          const cell = line.insertCell();
          cell.append((content || value)(item));
          if (value && typeof value(item) === "number") cell.className = "n";
        }
        return line;
      }),
    );
  }

  return (found) => {
    items = found;
    draw();
  };
}
