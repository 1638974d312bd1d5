// The spectrograms, of the open batch or of an archive: a grid of pictures with channel, GPS span and loudest pixel.
import { credentials, hasToken } from "./access.js";
import { $, count, gps, number, span } from "./format.js";
import { ofPreproc } from "./words.js";

const FIRST = 12; // pictures; the others are loaded when somebody wants to see them
let archive = null; // the archive whose pictures are shown: its number and name
let shown = ""; // what is drawn, to compare
let current = []; // the pictures that may be drawn
let all = false;

// A picture that only those may see who have a token is fetched with it.
async function load(link, image, url) {
  try {
    if (!hasToken()) throw new Error("no token");
    const reply = await fetch(url, { headers: credentials() });
    if (!reply.ok) throw new Error(reply.statusText);
    image.src = link.href = URL.createObjectURL(await reply.blob());
  } catch {
    image.src = link.href = url;
  }
}

export function picture(product) {
  const name = product.channel || product.detector || product.name;
  const caption = document.createElement("span");
  const lines = [name];
  if (product.span) lines.push(`GPS ${span(product.span)}`);
  if (product.loudest) {
    const { gps: time, frequency, energy } = product.loudest;
    lines.push(`loudest: ${number(frequency)} Hz at GPS ${gps(time)}, energy ${energy < 1e5 ? number(energy, 1) : energy.toExponential(1)}`);
  }
  caption.append(...lines.map((line) => Object.assign(document.createElement("span"), { textContent: line })));
  const image = document.createElement("img");
  image.alt = `Spectrogram of ${lines.join(", ")}`;
  image.width = 1200;
  image.height = 600;
  const link = document.createElement("a");
  link.append(image);
  load(link, image, product.url);
  const item = document.createElement("li");
  item.append(link, caption);
  return item;
}

function draw(pictures) {
  current = pictures;
  const list = JSON.stringify([all, pictures.map((product) => [product.url, product.span])]);
  if (list === shown) return;
  for (const image of $("pictures").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  shown = list;
  $("pictures").replaceChildren(...pictures.slice(0, all ? undefined : FIRST).map(picture));
  const more = pictures.length - FIRST;
  $("more-pictures").hidden = all || more <= 0;
  $("more-pictures").textContent = `Show ${count(more, "more spectrogram")}`;
}

let latest = null; // of the open batch, from the last document

export function showPictures(s) {
  latest = s;
  $("of-archive").hidden = archive === null;
  const p = s.preproc;
  $("preproc").textContent = ofPreproc(p);
  const running = Boolean(p && p.state === "running" && p.of);
  $("progress").hidden = !running;
  if (running) {
    $("progress").setAttribute("aria-valuemax", p.of);
    $("progress").setAttribute("aria-valuenow", p.done);
    $("progress").firstElementChild.style.width = `${(100 * p.done) / p.of}%`;
  }
  if (archive === null) draw(s.pictures);
}

// Shows those of an archive instead; `listing` is the answer of /archives/<name>/products.
export function showArchive(one, listing) {
  archive = one;
  all = false;
  $("of-archive").hidden = false;
  $("of-archive").firstElementChild.textContent =
    `Shown are those of batch ${one.batch}, archived as “${one.name}”: ${listing.verdict}.`;
  draw(listing.products.filter((product) => product.name.endsWith(".png")));
  $("spectrograms").scrollIntoView();
}

$("back").addEventListener("click", () => {
  archive = null;
  all = false;
  if (latest) showPictures(latest);
});
$("more-pictures").addEventListener("click", () => {
  all = true;
  draw(current);
});
