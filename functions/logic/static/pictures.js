// The spectrograms, of the open batch or of an archive: a grid of pictures with channel, GPS span and loudest pixel, the
// loudest first. Pictures are loaded as they come into sight, small ones where there are any.
import { credentials, hasToken } from "./access.js";
import { $, count, gps, number, span } from "./format.js";
import { ofPreproc } from "./words.js";

const FIRST = 12; // pictures; the others are shown when somebody wants to see them
let archive = null; // the archive whose pictures are shown: its number and name
let shown = ""; // what is drawn, to compare
let current = { pictures: [] }; // what may be drawn
let all = false;

// A file that only those may see who have a token is fetched with it; its URL is then one of this page's own.
async function reach(url) {
  if (!hasToken()) return url;
  try {
    const reply = await fetch(url, { headers: credentials() });
    return reply.ok ? URL.createObjectURL(await reply.blob()) : url;
  } catch {
    return url;
  }
}

const inSight = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      inSight.unobserve(target);
      reach(target.dataset.url).then((url) => (target.src = url));
    }
  },
  { rootMargin: "300px" },
);

// A link that is followed with the token.
function linked(link, url) {
  link.href = url;
  link.addEventListener("click", async (event) => {
    if (!hasToken()) return;
    event.preventDefault();
    window.open(await reach(url), "_blank");
  });
  return link;
}

function lazily(image, url) {
  image.dataset.url = url;
  inSight.observe(image);
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
  lazily(image, product.thumbnail || product.url);
  const link = linked(document.createElement("a"), product.url);
  link.append(image);
  const item = document.createElement("li");
  item.append(link, caption);
  return item;
}

const nameOf = (product) => product.channel || product.detector || product.name;
const energyOf = (product) => (product.loudest ? product.loudest.energy : -1);
const timeOf = (product) => (product.span ? product.span[0] : -1);
const ORDERS = {
  loudest: (a, b) => energyOf(b) - energyOf(a),
  channel: (a, b) => nameOf(a).localeCompare(nameOf(b)) || timeOf(a) - timeOf(b),
  newest: (a, b) => timeOf(b) - timeOf(a) || energyOf(b) - energyOf(a),
};

function draw(found) {
  current = found;
  const text = $("picture-search").value.trim().toLowerCase();
  const chosen = found.pictures
    .filter((product) => nameOf(product).toLowerCase().includes(text))
    .sort(ORDERS[$("picture-order").value]);
  const list = JSON.stringify([all, found.overview, found.summary, chosen.map((product) => [product.url, product.span])]);
  if (list === shown) return;
  for (const image of $("spectrograms").querySelectorAll("img")) {
    inSight.unobserve(image);
    URL.revokeObjectURL(image.src);
  }
  shown = list;
  $("picture-form").hidden = found.pictures.length < 2;
  $("overview").hidden = !found.overview;
  if (found.overview) lazily($("overview-picture"), found.overview);
  $("summary").hidden = !found.summary;
  $("summary").replaceChildren();
  if (found.summary) {
    const link = Object.assign(document.createElement("a"), { textContent: "Table of all, as one file", download: "summary.html" });
    $("summary").append(linked(link, found.summary));
  }
  $("pictures").replaceChildren(...chosen.slice(0, all ? undefined : FIRST).map(picture));
  const more = chosen.length - FIRST;
  $("more-pictures").hidden = all || more <= 0;
  $("more-pictures").textContent = `Show ${count(more, "more spectrogram")}`;
  $("no-pictures").hidden = !found.pictures.length || chosen.length > 0;
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
  if (archive === null) draw(s);
}

// Whether a product is the picture of a spectrogram in full size.
export const isPicture = (product) =>
  product.name.endsWith(".png") && product.name !== "overview.png" && !product.name.endsWith("/thumbnail.png");

// Shows those of an archive instead; `listing` is the answer of /archives/<name>/products.
export function showArchive(one, listing) {
  archive = one;
  all = false;
  $("of-archive").hidden = false;
  $("of-archive").firstElementChild.textContent =
    `Shown are those of batch ${one.batch}, archived as “${one.name}”: ${listing.verdict}.`;
  const urlOf = (name) => listing.products.find((product) => product.name === name)?.url;
  draw({ pictures: listing.products.filter(isPicture), overview: urlOf("overview.png"), summary: urlOf("summary.html") });
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
$("picture-search").addEventListener("input", () => draw(current));
$("picture-order").addEventListener("change", () => draw(current));
$("picture-form").addEventListener("submit", (event) => event.preventDefault());
