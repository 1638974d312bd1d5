// The training sets: a table that is sorted by the column whose head is pressed, and the events of one, the loudest first.
import { credentials, hasToken } from "./access.js";
import { $, bytes, count, gps, number } from "./format.js";
import { sortable } from "./tables.js";

const EVERY = 10_000; // milliseconds
const MOST = 500; // events that are shown
let asked = 0; // when the list was last requested
let drawn = "";
let chosen = ""; // the set whose events are shown

function progress(set) {
  if (set.state === "failed") return `failed: ${set.error ? set.error.body : "no reason is known"}`;
  return set.state === "working" && set.total ? `${set.step}: ${number(set.done)} of ${number(set.total)}` : set.state;
}

function link(text, url, name) {
  const found = Object.assign(document.createElement("a"), { href: url, textContent: text, download: name });
  found.addEventListener("click", async (event) => {
    if (!hasToken()) return; // the link does it
    event.preventDefault();
    const reply = await fetch(url, { headers: credentials() });
    if (!reply.ok) return;
    const saved = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await reply.blob()), download: name });
    saved.click();
    URL.revokeObjectURL(saved.href);
  });
  return found;
}

function eventsButton(set) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: number(set.events) });
  button.setAttribute("aria-label", `Show the ${count(set.events, "event")} of ${set.name}`);
  button.addEventListener("click", () => showEvents(set));
  return button;
}

const drawSets = sortable($("sets"), [
  ["Name", (set) => set.name],
  ["State", progress],
  ["Batch", (set) => set.batch ?? null, (set) => (set.batch ? number(set.batch) : "–")],
  ["Events", (set) => set.events ?? null, (set) => (set.state === "done" ? eventsButton(set) : "–")],
  ["Left out", (set) => set.left_out ?? null, (set) => (set.state === "done" ? number(set.left_out) : "–")],
  ["Size", (set) => set.size ?? null, (set) => (set.state === "done" ? bytes(set.size) : "–")],
  ["Files", null, (set) => (set.state === "done" ? link("tar", `${set.url}.tar`, `${set.name}.tar`) : "")],
], 0, false);

const drawEvents = sortable($("set-events"), [
  ["GPS", (event) => event.gps, (event) => gps(event.gps)],
  ["Energy", (event) => event.energy ?? null, (event) => (event.energy === undefined ? "–" : number(event.energy, 1))],
  ["Frequency, Hz", (event) => event.frequency ?? null, (event) => (event.frequency === undefined ? "–" : number(event.frequency, 1))],
  ["Kept", (event) => event.reason || (event.missing || event.without ? "in part" : "whole")],
  ["File", null, (event) => (event.file ? link(event.file.split("/").pop(), `${event.url}/${event.file}`, event.file.split("/").pop()) : "")],
], 1, true);

async function showEvents(set) {
  chosen = set.name;
  const reply = await fetch(set.url, { headers: credentials() }).catch(() => null);
  if (!reply || !reply.ok || chosen !== set.name) return;
  const manifest = await reply.json();
  const events = [...manifest.events, ...manifest.left_out].map((event) => ({ ...event, url: set.url }));
  events.sort((a, b) => (b.energy ?? -1) - (a.energy ?? -1));
  $("set-title").textContent = `Events of ${set.name}`;
  $("set-about").textContent = events.length > MOST ? `The ${number(MOST)} loudest of ${number(events.length)}.` : "";
  drawEvents(events.slice(0, MOST));
  $("set").hidden = false;
  $("set-title").focus();
}

// Called with each document. The list is requested where the store serves it, and not more often than necessary.
export async function showDatasets(s) {
  if (!s.strain_routes || Date.now() - asked < EVERY) return;
  asked = Date.now();
  const reply = await fetch("datasets", { cache: "no-store", headers: credentials() }).catch(() => null);
  if (!reply || !reply.ok) return;
  const { datasets } = await reply.json();
  if (datasets.some((set) => set.state !== "done" && set.state !== "failed")) asked = 0; // with the next document
  $("datasets").hidden = !datasets.length;
  const now = JSON.stringify(datasets);
  if (now !== drawn) drawSets(datasets);
  drawn = now;
}

$("set-close").addEventListener("click", () => {
  chosen = "";
  $("set").hidden = true;
});
