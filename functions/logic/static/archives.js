// The table of archives: the newest come with every document, older ones on request.
import { ask, credentials } from "./access.js";
import { $, bytes, number, operator, rows, span, utc } from "./format.js";
import { showArchive } from "./pictures.js";
import { ofRefusal } from "./words.js";

const SHORT = 2; // names of channels that are shown at once
let newest = [];
let older = [];
let next = "";

function channels(a) {
  if (a.reading) return `reading the journal: ${Math.floor((100 * a.reading[0]) / a.reading[1])} %`;
  const names = a.channels || [];
  if (!names.length) return "–";
  if (names.length <= SHORT) return names.join(", ");
  const all = document.createElement("details");
  all.append(Object.assign(document.createElement("summary"), { textContent: `${names.length} channels` }), names.join(", "));
  return all;
}

function products(a) {
  const missing = !a.verdict || (a.verdict === "failed" && !a.products);
  if (missing && a.n_itm && mayMake) return maker(a);
  if (!a.verdict) return "none";
  if (!a.products) return a.verdict;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Show (${a.verdict})`;
  button.setAttribute("aria-label", `Show the spectrograms of batch ${a.batch}`);
  button.addEventListener("click", async () => {
    try {
      const reply = await fetch(`archives/${encodeURIComponent(a.name)}/products`, { headers: credentials() });
      if (!reply.ok) throw new Error(ofRefusal(reply.status, await reply.text()));
      showArchive(a, await reply.json());
    } catch (error) {
      button.replaceWith(`not shown: ${error.message}`);
    }
  });
  return button;
}

// A button that has the spectrograms of an archive made, which takes a while.
function maker(a) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = a.verdict ? `Make again (${a.verdict})` : "Make";
  button.setAttribute("aria-label", `Make the spectrograms of batch ${a.batch}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Being made…";
    try {
      const reply = await fetch(`archives/${encodeURIComponent(a.name)}/preproc`, { method: "POST", headers: credentials() });
      if (reply.ok) return;
      const text = reply.status === 405 || reply.status === 404
        ? "It cannot be requested at this address: POST /archives/…/preproc to the function preproc."
        : ofRefusal(reply.status, await reply.text());
      await ask({ title: "Not made", text });
    } catch (error) {
      await ask({ title: "Not known", text: `No answer came: ${error.message}. The spectrograms may be made all the same.` });
    }
    button.disabled = false;
    button.textContent = "Make";
  });
  return button;
}

let mayMake = false;
let drawn = "";

function draw() {
  const all = [...newest, ...older.filter((a) => !newest.some((known) => known.name === a.name))];
  const now = JSON.stringify(all.map(({ arrived, changes, ...kept }) => kept));
  if (now !== drawn) {
    drawn = now;
    rows($("archives"), all, (a) => [
      a.batch ? number(a.batch) : "–", a.time ? utc(a.time) : "–",
      a.error || number(a.n_itm) + (a.missing ? ` (${number(a.missing)} missing)` : ""), a.error ? "–" : bytes(a.buff_size),
      a.span ? span(a.span) : a.n_itm ? "–" : "empty", channels(a), a.frozen ? operator(a.frozen) : "–", products(a), a.name,
    ], 2, 4);
  }
  $("no-archives").hidden = all.length > 0;
  $("older").hidden = !next;
}

export function showArchives(s, may) {
  if (mayMake !== may) drawn = "";
  mayMake = may;
  newest = s.archives;
  if (!older.length) next = s.next;
  draw();
}

$("older").addEventListener("click", async () => {
  const reply = await fetch(`archives?limit=50&after=${encodeURIComponent(next)}`, { headers: credentials() });
  if (!reply.ok) return;
  const page = await reply.json();
  older = [...older, ...page.archives];
  next = page.next || "";
  draw();
});
