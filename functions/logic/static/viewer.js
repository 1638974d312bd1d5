// The viewer: strain of one channel over one interval, its amplitude spectral density and spectrogram, the spans and
// gaps of the channel, and ways to get the same data.
import { credentials, hasToken } from "./access.js";
import { $, head, number, rows } from "./format.js";
import { both, exact, utcOf } from "./gpstime.js";
import { isPicture, picture } from "./pictures.js";
import { plotter } from "./plots.js";
import { welch } from "./spectrum.js";
import { ask, nameOf, streamOf } from "./streams.js";

const SECONDS = 4; // by default, or as many as
const LEAST = 64; // samples last
const MOST = 2 ** 20; // samples that are loaded
const POINTS = 1200; // of a plot
const TABLE = 24; // rows of values
const SPANS = 500; // rows of spans and gaps
const FORMATS = { HDF5: "hdf5", GWF: "gwf", CSV: "csv" };

let row = null;
let close = null;
let round = 0;
let drawnSpans = "";
let status = { pictures: [], archives: [] };

const strain = plotter(
  "view-strain",
  (label) => [{ label: "seconds", labelSize: 20 }, { label, size: 70, labelSize: 20 }],
  { style: () => ({ width: 1.25 }) },
);
const powers = (_, ticks) => ticks.map((tick) => String(Number((10 ** tick).toPrecision(2))));
const density = plotter(
  "view-asd",
  (label) => [
    { label: "Hz", labelSize: 20, values: powers },
    { label, size: 90, labelSize: 20, values: powers },
  ],
  { style: () => ({ width: 1.25, points: { show: false } }) },
);

// Where samples are missing, the line is broken: `null` in y.
function decimated(h, dt) {
  const step = Math.max(1, Math.ceil((2 * h.length) / POINTS));
  const x = [], y = [];
  for (let start = 0; start < h.length; start += step) {
    const stop = Math.min(h.length, start + step);
    let low = -1, high = -1, missing = -1;
    for (let i = start; i < stop; i++) {
      if (Number.isNaN(h[i])) missing = i;
      else {
        if (low < 0 || h[i] < h[low]) low = i;
        if (high < 0 || h[i] > h[high]) high = i;
      }
    }
    for (const i of [...new Set([low, high, missing])].sort((a, b) => a - b)) {
      if (i < 0) continue;
      x.push(i * dt);
      y.push(Number.isNaN(h[i]) ? null : h[i]);
    }
  }
  return [x, y];
}

function extremes(h) {
  let low = Infinity, high = -Infinity, missing = 0;
  for (const value of h) {
    if (Number.isNaN(value)) missing++;
    else {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return { low, high, missing };
}

function table(id, names, items) {
  const element = $(id).querySelector("table");
  head(element.tHead, names);
  rows(element.tBodies[0], items, (cells) => cells);
}

function showStrain(h, gps, rate) {
  const { low, high, missing } = extremes(h);
  const [x, y] = decimated(h, 1 / rate);
  const most = Math.max(Math.abs(low), Math.abs(high));
  const exponent = most && Number.isFinite(most) ? Math.floor(Math.log10(most)) : 0;
  strain.draw([x, y.map((v) => (v === null ? null : v / 10 ** exponent))], exponent ? `strain (10^${exponent})` : "strain");
  const about =
    `${number(h.length - missing)} samples at ${rate} Hz from GPS ${gps} (${utcOf(Number(gps))} UTC): ` +
    (missing < h.length ? `from ${low.toExponential()} to ${high.toExponential()}` : "none of them") +
    (missing ? `; ${number(missing)} are missing` : "");
  $("view-strain").setAttribute("aria-label", `Plot of the strain of ${nameOf(row)}: ${about}`);
  const step = Math.ceil(h.length / TABLE);
  const items = [];
  for (let i = 0; i < h.length; i += step) {
    const part = extremes(h.subarray(i, i + step));
    const all = part.missing === Math.min(step, h.length - i);
    items.push([`+${number(i)}`, all ? "missing" : part.low.toExponential(), all ? "missing" : part.high.toExponential(), number(part.missing)]);
  }
  table("view-values", ["Samples from", "Lowest", "Highest", "Missing"], items);
  return about;
}

function showDensity(h, rate) {
  const found = welch(h, rate);
  $("view-asd").hidden = $("view-asd-values").hidden = !found || !found.asd.some((value) => value > 0);
  if ($("view-asd").hidden) {
    $("view-asd-about").textContent = found
      ? "No spectral density: all samples are equal."
      : "No spectral density: it needs 16 samples without a gap.";
    return;
  }
  const { f, asd, segments, n } = found;
  density.draw([f.map(Math.log10), asd.map((value) => (value > 0 ? Math.log10(value) : null))], "strain/√Hz");
  const about =
    `Amplitude spectral density by Welch's method: the mean power of ${number(segments)} Hann-windowed ` +
    `segment${segments === 1 ? "" : "s"} of ${number(n)} samples, which overlap by half; ${(rate / n).toPrecision(3)} Hz a bin.`;
  $("view-asd-about").textContent = about;
  $("view-asd").setAttribute("aria-label", `Plot of the spectral density of ${nameOf(row)}. ${about}`);
  const step = Math.ceil(f.length / TABLE);
  const items = [];
  for (let i = 0; i < f.length; i += step) {
    let loudest = i;
    for (let k = i; k < Math.min(f.length, i + step); k++) if (asd[k] > asd[loudest]) loudest = k;
    items.push([String(f[i]), String(f[loudest]), asd[loudest].toExponential()]);
  }
  table("view-asd-values", ["From (Hz)", "Loudest at (Hz)", "Density there (1/√Hz)"], items);
}

// The spectrogram that shows the interval: of the open batch, or of an archive that has strain of the channel.
async function showSpectrogram(begin, end, mine) {
  const fits = (one) => isPicture(one) && (one.channel || "") === row.channel && (one.detector || "") === row.detector
    && one.span && one.span[0] < end && one.span[1] > begin;
  let found = status.pictures.find(fits);
  for (const archive of status.archives) {
    const [from, to] = archive.span || [Infinity, 0];
    if (found || !archive.products || !row.batches.includes(archive.batch) || from >= end || to <= begin) continue;
    try {
      const reply = await ask(`archives/${encodeURIComponent(archive.name)}/products`);
      found = (await reply.json()).products.find(fits);
    } catch {
      // without a picture the viewer says so
    }
  }
  if (mine !== round) return;
  $("view-picture").replaceChildren(...(found ? [picture(found)] : []));
  $("view-no-picture").hidden = Boolean(found);
}

async function download(event) {
  if (!hasToken()) return; // the link does it
  event.preventDefault();
  const link = event.currentTarget;
  try {
    const reply = await ask(link.href);
    const [, name] = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition") || "") || [];
    const url = URL.createObjectURL(await reply.blob());
    Object.assign(document.createElement("a"), { href: url, download: name || "strain" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    $("view-done").textContent = `${link.textContent} is downloaded.`;
  } catch (error) {
    $("view-done").textContent = `${link.textContent} is not downloaded: ${error.message}`;
  }
}

// Text and links of an interval; both times as they were given, so that no digit is lost.
function showLinks(start, seconds, missing) {
  const url = (format) =>
    new URL(`strain?${streamOf(row)}&start=${start}&duration=${seconds}&format=${format}${missing ? "&gaps=nan" : ""}`, document.baseURI).href;
  $("view-links").replaceChildren(...Object.entries(FORMATS).map(([text, format]) => {
    const link = Object.assign(document.createElement("a"), { href: url(format), textContent: text });
    link.addEventListener("click", download);
    const item = document.createElement("li");
    item.append(link);
    return item;
  }));
  $("view-gwpy").value =
    `from gwpy.timeseries import TimeSeries; data = TimeSeries.read(${JSON.stringify(url("hdf5"))}, format="hdf5")`;
  $("view-gaps").textContent = missing ? "In the files the missing samples are NaN (gaps=nan)." : "";
}

function clear() {
  strain.clear();
  density.clear();
  for (const id of ["view-strain", "view-values", "view-asd", "view-asd-values", "view-get", "view-no-picture"]) $(id).hidden = true;
  $("view-picture").replaceChildren();
  $("view-asd-about").textContent = $("view-done").textContent = "";
}

async function show() {
  const mine = ++round;
  const start = $("view-start").value.trim(), seconds = $("view-seconds").value.trim();
  const decimal = /^\d{1,10}(\.\d{1,40})?$/;
  if (!decimal.test(start) || !decimal.test(seconds) || !(Number(seconds) > 0)) {
    clear();
    $("view-about").textContent = "Give the start in GPS seconds, and a duration in seconds above 0, both in decimal digits.";
    return;
  }
  const most = MOST / row.rate;
  if (Number(seconds) > most) {
    clear();
    $("view-about").textContent = `The viewer shows ${number(MOST)} samples at the most, which is ${number(most, 3)} s of this channel.`;
    showLinks(start, seconds, true);
    $("view-get").hidden = false;
    return;
  }
  $("view-about").textContent = "Loading…";
  try {
    const reply = await ask(`strain?${streamOf(row)}&start=${start}&duration=${seconds}&format=raw&gaps=nan`);
    const h = new Float64Array(await reply.arrayBuffer());
    if (mine !== round) return;
    clear();
    const gps = reply.headers.get("X-GPS-Start"), rate = Number(reply.headers.get("X-Sample-Rate"));
    for (const id of ["view-strain", "view-values", "view-get"]) $(id).hidden = false;
    const about = showStrain(h, gps, rate);
    showDensity(h, rate);
    showLinks(start, seconds, h.some(Number.isNaN));
    $("view-about").textContent = `${about}.`;
    showSpectrogram(Number(start), Number(start) + Number(seconds), mine);
  } catch (error) {
    if (mine !== round) return;
    clear();
    $("view-about").textContent = error instanceof TypeError ? "The strain is not known: nothing answers." : error.message;
  }
}

function newest() {
  const begin = Math.max(row.start, row.end - Math.max(SECONDS, LEAST / row.rate));
  $("view-start").value = exact(begin);
  $("view-seconds").value = exact(row.end - begin);
  show();
}

// Spans and gaps in order, each with its number of samples.
async function showSpans() {
  if (!row || !$("view-spans").open) return;
  const version = JSON.stringify([streamOf(row).toString(), row.samples, row.gaps]);
  if (version === drawnSpans) return;
  drawnSpans = version;
  const mine = row;
  try {
    const { active, gaps } = await (await ask(`coverage?${streamOf(row)}`)).json();
    if (mine !== row) return;
    const all = [...active.map((span) => ["strain", span]), ...gaps.map((span) => ["gap", span])];
    all.sort(([, a], [, b]) => a[0] - b[0]);
    table("view-spans", ["What", "GPS start", "GPS end", "Start (UTC)", "End (UTC)", "Samples"], all.slice(0, SPANS).map(
      ([what, [begin, end]]) => [what, exact(begin), exact(end), utcOf(begin), utcOf(end), number(Math.round((end - begin) * row.rate))]));
    $("view-more-spans").textContent =
      all.length > SPANS ? `The first ${SPANS} of ${number(all.length)}; GET /coverage has all of them.` : "";
  } catch (error) {
    drawnSpans = "";
    $("view-more-spans").textContent = `They are not known: ${error.message}`;
  }
}

// New figures of the channel that is shown; the interval stays.
export function showRow(one) {
  row = one;
  $("view-span").textContent = `${both(row.start, row.end)}. UTC counts 18 leap seconds up to 2017; one that comes later is not known here.`;
  showSpans();
}

export function openViewer(one, onClose) {
  close = onClose;
  $("viewer").hidden = false;
  $("view-title").textContent = `${nameOf(one)}, ${one.rate} Hz`;
  clear();
  showRow(one);
  newest();
  $("view-title").focus();
}

export function closeViewer() {
  round++;
  row = null;
  drawnSpans = "";
  clear();
  $("viewer").hidden = true;
}

// Called with each document: it has the spectrograms.
export function updateViewer(s) {
  status = s;
}

$("view-form").addEventListener("submit", (event) => {
  event.preventDefault();
  show();
});
$("view-newest").addEventListener("click", newest);
$("view-close").addEventListener("click", () => close());
$("viewer").addEventListener("keydown", (event) => event.key === "Escape" && close());
$("view-spans").addEventListener("toggle", showSpans);
$("view-copy").addEventListener("click", async () => {
  const field = $("view-gwpy");
  let done = true;
  try {
    await navigator.clipboard.writeText(field.value); // where the page is loaded by https, or from this machine
  } catch {
    field.focus();
    field.select();
    done = document.execCommand("copy");
  }
  $("view-done").textContent = done ? "Copied." : "The line is selected: press Ctrl+C.";
});
