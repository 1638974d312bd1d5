// The channels: rows with the coverage of each over the GPS span of all that are listed, or
// the newest part of it. Pages of /channels are loaded as
// they come into sight, and so are the gaps, from /coverage.
import { $, count, number } from "./format.js";
import { both, gpsOf } from "./gpstime.js";
import { ask, nameOf, streamOf } from "./streams.js";
import { closeViewer, openViewer, showRow } from "./viewer.js";

const PAGE = 50; // rows
const EVERY = 10_000; // milliseconds
const COLUMNS = 500; // of a bar
const AT_ONCE = 4; // requests for gaps
const SVG = "http://www.w3.org/2000/svg";

let shown = new Map(); // what is known of each row, by stream
let next = null; // the cursor behind the last row
let span = null; // GPS, of all rows
let skew = 0; // milliseconds by which the store's clock is ahead
let round = 0;
let asked = 0; // when rows were last requested; 0 before the first
let chosen = "";

const keyOf = (row) => JSON.stringify([row.detector, row.channel, row.rate]);

// A text without wildcards is looked for anywhere in the name, in small or capital letters.
function pattern(text) {
  if (!text || /[*?[]/.test(text)) return text;
  const either = text.replace(/[a-z]/gi, (letter) => `[${letter.toLowerCase()}${letter.toUpperCase()}]`);
  return `*${either.length < 250 ? either : text}*`;
}

function behind(end) {
  const late = gpsOf(Date.now() + skew) - end;
  const size = Math.abs(late);
  const [value, unit] =
    size < 120 ? [size, "s"] : size < 7200 ? [size / 60, "min"] : size < 172_800 ? [size / 3600, "h"]
      : size < 63_115_200 ? [size / 86_400, "days"] : [size / 31_557_600, "years"];
  return `${number(value, size < 10 ? 1 : 0)} ${unit} ${late < 0 ? "ahead of" : "behind"} real time`;
}

// What of each column of the bar is covered, as a path: full height where all is, half where some is.
function path(active) {
  const [begin, end] = span;
  const width = (end - begin) / COLUMNS || 1;
  const part = new Float64Array(COLUMNS);
  for (const [from, to] of active) {
    const low = Math.max(0, (from - begin) / width), high = Math.min(COLUMNS, (to - begin) / width);
    for (let i = Math.floor(low); i < high; i++) part[i] += Math.min(high, i + 1) - Math.max(low, i);
  }
  const height = (i) => (part[i] > 1 - 1e-6 ? 10 : part[i] > 0 ? 5 : 0);
  let d = "";
  for (let i = 0; i < COLUMNS; ) {
    const first = i, tall = height(i);
    while (i < COLUMNS && height(i) === tall) i++;
    if (tall) d += `M${first} 10V${10 - tall}H${i}V10Z`;
  }
  return d;
}

function drawBar(one) {
  const { row, active, bar } = one;
  bar.firstElementChild.setAttribute("d", active && span ? path(active) : "");
  const amount = `${number(row.seconds, row.seconds < 100 ? 2 : 0)} s of strain`;
  bar.setAttribute("aria-label", `Coverage of ${nameOf(row)}: ${amount}, ${row.gaps ? count(row.gaps, "gap") : "no gap"}`);
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text) made.textContent = text;
  return made;
}

function make(row) {
  const item = element("li", "channel");
  const button = element("button", "name", nameOf(row));
  button.type = "button";
  button.tabIndex = -1;
  button.setAttribute("aria-pressed", String(keyOf(row) === chosen));
  button.addEventListener("click", () => choose(keyOf(row)));
  const bar = document.createElementNS(SVG, "svg");
  bar.setAttribute("role", "img");
  bar.setAttribute("viewBox", `0 0 ${COLUMNS} 10`);
  bar.setAttribute("preserveAspectRatio", "none");
  bar.append(document.createElementNS(SVG, "path"));
  const one = { item, button, bar, about: element("span", "quiet"), late: element("span", "quiet"), row, active: null };
  item.append(button, element("span", "quiet", `${number(row.rate, row.rate % 1 ? 3 : 0)} Hz`), bar, one.about, one.late);
  item.dataset.key = keyOf(row);
  seen.observe(item);
  return one;
}

function put(row) {
  const key = keyOf(row);
  const one = shown.get(key) || make(row);
  if (!shown.has(key) || one.row.samples !== row.samples || one.row.gaps !== row.gaps) {
    // Without a gap the ends say everything; else the gaps that are drawn stay until new ones are there.
    if (!row.gaps) one.active = [[row.start, row.end]];
    one.stale = row.gaps > 0;
  }
  one.row = row;
  one.about.textContent = `${both(row.start, row.end)}${row.gaps ? `, ${count(row.gaps, "gap")}` : ""}`;
  one.late.textContent = behind(row.end);
  shown.set(key, one);
  return one;
}

// The gaps of rows in sight.
const waiting = new Set();
let running = 0;
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const one = shown.get(target.dataset.key);
    if (one) one.inSight = isIntersecting;
  }
  loadGaps();
});

async function loadGaps() {
  for (const one of shown.values()) if (one.stale && one.inSight) waiting.add(one);
  if (running >= AT_ONCE || !waiting.size) return;
  const [one] = waiting;
  waiting.delete(one);
  one.stale = false;
  running++;
  try {
    one.active = (await (await ask(`coverage?${streamOf(one.row)}`)).json()).active;
    drawBar(one);
  } catch {
    one.about.textContent = `${both(one.row.start, one.row.end)}, gaps not known`;
  }
  running--;
  loadGaps();
}

async function request(limit, after) {
  const query = new URLSearchParams({ limit: String(limit) });
  const wanted = pattern($("channel-search").value.trim());
  if (wanted) query.set("channel", wanted);
  if (after) query.set("after", after);
  const reply = await ask(`channels?${query}`);
  const date = Date.parse(reply.headers.get("Date"));
  // The header is cut to seconds: only a clock that is off by more than that is corrected.
  if (date) skew = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  return reply.json();
}

// Tab stops at one name only, however many there are; up and down go from name to name.
function reach(one) {
  for (const { button } of shown.values()) button.tabIndex = one && button === one.button ? 0 : -1;
}

function drawAll() {
  const all = [...shown.values()];
  const list = $("channel-list");
  all.forEach((one, i) => list.children[i] === one.item || list.insertBefore(one.item, list.children[i] || null));
  while (list.childElementCount > all.length) list.lastElementChild.remove();
  if (all.length) {
    const [begin, end] = [Math.min(...all.map(({ row }) => row.start)), Math.max(...all.map(({ row }) => row.end))];
    span = [Math.max(begin, end - Number($("channel-time").value)), end];
  }
  all.forEach(drawBar);
  reach(all.find(({ button }) => button.tabIndex === 0) || all[0]);
  $("channel-scroll").hidden = !all.length;
  $("more-channels").hidden = !next;
  const searched = $("channel-search").value.trim();
  const text = all.length
    ? `${next ? `The first ${number(all.length)} channels` : count(all.length, "channel")}. Bars are from ${both(...span)}; half as high where part of the time is missing.`
    : searched ? `No channel matches “${searched}”.` : "Nothing is stored yet.";
  if ($("channels-about").textContent !== text) $("channels-about").textContent = text;
  loadGaps();
}

// Loads rows from the beginning (`after` null), or those behind the last one.
async function load(limit, after) {
  const mine = ++round;
  asked = Date.now();
  try {
    const page = await request(limit, after);
    if (mine !== round) return;
    next = page.next;
    const known = after ? [...shown] : [];
    const rows = page.channels.map((row) => [keyOf(row), put(row)]);
    for (const [key, one] of shown) if (!after && !rows.some(([same]) => same === key)) seen.unobserve(one.item);
    shown = new Map([...known, ...rows]);
    drawAll();
    if (chosen && shown.has(chosen)) showRow(shown.get(chosen).row);
  } catch (error) {
    if (mine !== round) return;
    const away = error instanceof TypeError;
    $("channels-about").textContent = away ? "The channels are not known: nothing answers." : error.message;
    if (!away && !shown.size) asked = Infinity; // until somebody searches
  }
}

function press() {
  for (const [key, { button }] of shown) button.setAttribute("aria-pressed", String(key === chosen));
}

function close() {
  const one = shown.get(chosen);
  chosen = "";
  press();
  closeViewer();
  (one ? one.button : $("channel-search")).focus();
}

function choose(key) {
  if (chosen === key) {
    close();
    return;
  }
  chosen = key;
  press();
  openViewer(shown.get(key).row, close);
}

// Called with each document. Where another function may serve the routes, they are requested when somebody searches.
export function showChannels(s) {
  for (const { row, late } of shown.values()) late.textContent = behind(row.end);
  if (!asked && !s.strain_routes) {
    $("channels-about").textContent = "The function strain serves the channels, perhaps at this address too: Search asks it.";
    return;
  }
  if (Date.now() - asked >= EVERY) load(Math.max(PAGE, shown.size), null);
}

let typing = 0;

function search() {
  clearTimeout(typing);
  $("channel-scroll").scrollTop = 0;
  load(PAGE, null);
}

$("channel-form").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
$("channel-search").addEventListener("input", () => {
  clearTimeout(typing);
  if (asked) typing = setTimeout(search, 250);
});
$("channel-time").addEventListener("change", () => shown.size && drawAll());
const more = () => {
  if (next) load(PAGE, next);
};
$("more-channels").addEventListener("click", more);
new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && more(), { root: $("channel-scroll") })
  .observe($("more-channels"));
$("channel-list").addEventListener("focusin", (event) => reach(shown.get(event.target.closest("li").dataset.key)));
$("channel-list").addEventListener("keydown", (event) => {
  const to = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const row = event.target.closest("li");
  if (!to || !row || !row[to]) return;
  event.preventDefault();
  row[to].querySelector("button").focus();
});

