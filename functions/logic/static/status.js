// Keeps the status page up to date: asks /status.json every two seconds and shows what it says. Where authentication is
// on it asks for a token, keeps it for this tab only, and has buttons to freeze and to clean.
"use strict";

const $ = (id) => document.getElementById(id);
const EVERY = 2000; // milliseconds
const PATIENCE = 8000;

const KEY = "datastore-token";
const credentials = () => {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
};

// Asks the user; resolves to whether the answer was yes. A token that is entered is kept.
function ask(title, text, yes, wantsToken) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("yes").textContent = yes;
  $("ask-token").hidden = !wantsToken;
  $("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const token = $("token").value.trim();
        $("token").value = "";
        const agreed = dialog.returnValue === "yes";
        if (agreed && wantsToken && token) sessionStorage.setItem(KEY, token);
        resolve(agreed && (!wantsToken || token !== ""));
      },
      { once: true },
    );
  });
}

async function act(title, text, route, body) {
  const known = sessionStorage.getItem(KEY) !== null;
  if (!(await ask(title, text, title, !known))) return;
  try {
    const reply = await fetch(route, { method: "POST", headers: credentials(), body, signal: AbortSignal.timeout(60000) });
    const said = await reply.text();
    if (reply.status === 401) sessionStorage.removeItem(KEY);
    if (reply.status !== 201) await ask(`${title}: not done`, said.slice(0, 300), "Close", false);
  } catch (error) {
    await ask(`${title}: not known`, `The store does not answer: ${error.message}.`, "Close", false);
  }
}

let shownPicture = "";

// A picture that only those may see who have a token is fetched with it.
async function picture(image, url) {
  if (shownPicture === url) return;
  shownPicture = url;
  try {
    if (!sessionStorage.getItem(KEY)) throw new Error("no token");
    const reply = await fetch(url, { headers: credentials() });
    if (!reply.ok) throw new Error(reply.statusText);
    image.src = URL.createObjectURL(await reply.blob());
  } catch {
    image.src = url;
  }
}

const number = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function bytes(value) {
  const unit = ["B", "kB", "MB", "GB", "TB"];
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** power).toLocaleString("en", { maximumSignificantDigits: 3 })}\u00a0${unit[power]}`;
}

const seconds = (value) => `${number(value, value < 100 ? 2 : 0)} s`;

function rows(body, items, cells, numeric) {
  body.replaceChildren(
    ...items.map((item) => {
      const row = document.createElement("tr");
      cells(item).forEach((text, i) => {
        const cell = row.insertCell();
        cell.textContent = text;
        if (i >= numeric) cell.className = "n";
      });
      return row;
    }),
  );
}

// One plot, made when there is something to draw, made anew when the colours or the labels change.
function plotter(id, height, axes, series) {
  const element = $(id);
  let plot, made;
  const draw = (data, label) => {
    const style = getComputedStyle(document.documentElement);
    const [ink, line, main] = ["--quiet", "--line", "--main"].map((name) => style.getPropertyValue(name).trim());
    if (plot && made !== ink + main + label) {
      plot.destroy();
      plot = undefined;
    }
    if (plot) {
      plot.setData(data);
      return;
    }
    made = ink + main + label;
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    plot = new uPlot(
      {
        width: Math.max(200, element.clientWidth), height, legend: { show: false }, cursor: { y: false },
        scales: { x: { time: false }, y: series.scale || {} },
        axes: axes(label).map((own) => ({ ...axis, ...own })),
        series: [{}, { stroke: main, ...series.style(main) }],
      },
      data,
      element,
    );
  };
  const clear = () => {
    if (plot) plot.destroy();
    plot = undefined;
  };
  new ResizeObserver(() => plot && plot.setSize({ width: Math.max(200, element.clientWidth), height })).observe(element);
  return { draw, clear };
}

const strain = plotter(
  "strain", 220,
  (label) => [{ label: "seconds", labelSize: 20 }, { label, size: 60, labelSize: 20 }],
  { style: () => ({ width: 1.25 }) },
);
const rates = plotter(
  "rates", 220,
  () => [{ label: "seconds ago", labelSize: 20, values: (_, ticks) => ticks.map((t) => number(-t)) }, { size: 46 }],
  {
    scale: { range: (_, low, high) => [0, Math.max(1, (high || 0) * 1.1)] },
    style: (main) => ({ paths: uPlot.paths.bars({ size: [0.8, 20] }), fill: main, points: { show: false } }),
  },
);

function showStrain(latest) {
  $("strain").hidden = !latest;
  if (!latest) {
    strain.clear();
    $("strain-about").textContent = "Nothing to plot in this batch yet.";
    return;
  }
  const most = latest.h.reduce((high, value) => Math.max(high, Math.abs(value)), 0);
  const power = most ? Math.floor(Math.log10(most)) : 0;
  strain.draw([latest.x, latest.h.map((value) => value / 10 ** power)], power ? `strain (10^${power})` : "strain");
  const name = latest.channel || latest.detector;
  $("strain-about").textContent =
    `${name ? name + ", " : ""}${seconds(latest.seconds)} from GPS ${number(latest.t0, 4).replaceAll(",", "")}`;
}

function showState(state, note, title) {
  document.documentElement.dataset.state = state;
  $("state").textContent = state.toUpperCase();
  $("note").textContent = note;
  document.title = title;
}

function show(s) {
  const percent = Math.floor(s.fill * 100);
  const frozen = s.state === "FROZEN";
  showState(
    s.state,
    frozen ? `Frozen by ${s.user}: the batch takes no segment until it is cleaned.` : "",
    `${frozen ? "FROZEN" : percent + " %"} · Datastore`,
  );
  $("warning").hidden = s.auth !== "exposed";
  $("actions").hidden = s.auth !== "on";
  $("freeze").disabled = frozen;
  $("forget").hidden = sessionStorage.getItem(KEY) === null;
  $("bar").firstElementChild.style.width = `${s.fill * 100}%`;
  $("bar").setAttribute("aria-valuenow", percent);
  $("bar").setAttribute("aria-valuetext", `${percent} %`);
  const wants = [bytes(s.max_size)];
  if (s.min_seconds) wants.push(`${seconds(s.min_seconds)} without a gap`);
  const then = frozen ? "" : `: then the batch ${s.auto ? "freezes by itself" : "may be frozen"}`;
  $("fill").textContent =
    s.fill >= 1 && !frozen ? "Large enough: the batch may be frozen." : `${percent} % of ${wants.join(" and ")}${then}.`;
  $("files").textContent = number(s.n_itm);
  $("size").textContent = bytes(s.buff_size);
  $("seconds").textContent = seconds(s.seconds);
  $("longest").textContent = seconds(s.longest);
  $("rate").textContent = `${number(s.rate.segments, s.rate.segments < 10 ? 1 : 0)}/s · ${bytes(s.rate.bytes)}/s`;
  $("user").textContent = s.user === "databuf" ? "nobody" : s.user;
  showStrain(s.strain);
  rates.draw([s.rates.map((_, i) => i - s.rates.length), s.rates.map((n) => n || null)], "");
  rows($("log"), s.log, (e) => [
    e.time.replace("T", " ").replace("Z", ""), e.name, e.detector || "–", e.t0 == null ? "–" : e.t0.toFixed(4), number(e.n || 0), bytes(e.size),
  ], 3);
  $("no-log").hidden = s.log.length > 0;
  rows($("archives"), s.archives, (a) => [a.name, number(a.n_itm), bytes(a.buff_size)], 1);
  $("no-archives").hidden = s.archives.length > 0;
  $("spectrogram").hidden = !s.spectrogram;
  if (s.spectrogram) {
    const link = $("spectrogram").querySelector("a");
    const image = link.firstElementChild;
    link.href = s.spectrogram.url;
    picture(image, s.spectrogram.url);
    image.alt = `Spectrogram ${s.spectrogram.name}`;
  }
}

let answered = null;

async function update() {
  try {
    const reply = await fetch("status.json", {
      cache: "no-store", headers: credentials(), signal: AbortSignal.timeout(PATIENCE),
    });
    const body = await reply.json();
    if (reply.status === 401) {
      showState("locked", "This store shows its state to those who have a token.", "Datastore");
      sessionStorage.removeItem(KEY);
      if (await ask("Token", "This store asks who you are. The token is kept until this tab is closed.", "Show", true)) {
        update();
      } else {
        $("note").replaceChildren("This store shows its state to those who have a token. ", again());
      }
      return;
    }
    if (!reply.ok) throw new Error(body.body);
    answered = new Date();
    show(body);
  } catch (error) {
    const since = answered ? ` What you see is from ${answered.toLocaleTimeString()}.` : "";
    showState("unreachable", `The store does not answer: ${error.message}.${since}`, "UNREACHABLE · Datastore");
  }
  setTimeout(update, EVERY);
}

function again() {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Enter a token";
  button.addEventListener("click", update);
  return button;
}

$("freeze").addEventListener("click", () =>
  act("Freeze", "The batch takes no segment until it is cleaned. It freezes only if it is large enough.", "freezeds", "{}"));
$("clean").addEventListener("click", () =>
  act("Clean", "The batch is filed away and the next one opened.", "flushbuf", ""));
$("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());
update();
