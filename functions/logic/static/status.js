// Keeps the status page up to date: requests /status.json every two seconds and shows it. The state of the page is that
// of the answer; only a store that does not answer at all is out of reach.
import { ask, credentials, forget, hasToken } from "./access.js";
import { showArchives } from "./archives.js";
import { showChannels } from "./channels.js";
import { showDatasets } from "./datasets.js";
import { $, bytes, count, number, operator, rows, seconds, utc } from "./format.js";
import { learnWho, mayMake, showOperations } from "./operate.js";
import { showPictures } from "./pictures.js";
import { chosenStrain, showRates, showStrain } from "./plots.js";
import { updateViewer } from "./viewer.js";
import { ofAnswer, ofEvent } from "./words.js";

const EVERY = 2000; // milliseconds
const PATIENCE = 8000;
let name = "Datastore";
let answered = null; // when the figures are from

function showState(colours, state, note, title = state) {
  document.documentElement.dataset.state = colours;
  if ($("state").textContent !== state) $("state").textContent = state;
  $("note").textContent = note;
  document.title = `${title} · ${name}`;
}

function showStale(stale) {
  document.documentElement.toggleAttribute("data-stale", stale && answered !== null);
  $("stale").hidden = !stale || answered === null;
  if (!$("stale").hidden) {
    const ago = Math.round((Date.now() - answered) / 1000);
    $("stale").textContent = `The figures below are old: from ${answered.toLocaleTimeString("en-GB")}, ${ago} s ago.`;
  }
}

function showAbout(s) {
  name = s.name || "Datastore";
  $("name").textContent = name;
  $("version").textContent = s.version;
  const links = Object.entries(s.links).map(([text, url]) => {
    const link = Object.assign(document.createElement("a"), { href: url, textContent: text });
    const item = document.createElement("li");
    item.append(link);
    return item;
  });
  if ($("links").childElementCount !== links.length) $("links").replaceChildren(...links);
}

function showBatch(s, frozen, percent) {
  $("fill-title").textContent = s.batch ? `Batch ${s.batch}` : "Batch";
  $("bar").firstElementChild.style.width = `${s.fill * 100}%`;
  $("bar").setAttribute("aria-valuenow", percent);
  $("bar").setAttribute("aria-valuetext", `${percent} %`);
  const wants = [bytes(s.max_size)];
  if (s.min_seconds) wants.push(`${seconds(s.min_seconds)} without a gap`);
  const then = frozen ? "" : `: then the batch ${s.auto ? "freezes by itself" : "may be frozen"}`;
  $("fill").textContent =
    s.fill >= 1 && !frozen ? "Large enough: the batch may be frozen." : `${percent} % of ${wants.join(" and ")}${then}.`;
  $("reading").hidden = !s.reading;
  if (s.reading) {
    $("reading").textContent =
      `Reading the log: ${number(s.reading[0])} of ${count(s.reading[1], "segment")}. Until the end is reached, channels, ` +
      "stretches, arrivals, strain and log are those of the part that is read.";
  }
  $("files").textContent = number(s.n_itm);
  $("size").textContent = bytes(s.buff_size);
  $("channels").textContent = number(s.channels);
  $("longest").textContent = seconds(s.longest);
  $("rate").textContent =
    `${number(s.rate.segments, s.rate.segments < 10 ? 1 : 0)}/s · ${bytes(s.rate.bytes)}/s · ${count(Math.round(s.rate.samples), "sample")}/s`;
  const since = s.frozen ? s.frozen.time : s.opened;
  $("since-title").textContent = s.frozen ? "Frozen since (UTC)" : "Open since (UTC)";
  $("since").textContent = since ? utc(since) : "–";
  $("user").textContent = frozen ? operator(s.frozen || { user: s.user }) : "nobody";
}

function show(s) {
  const percent = Math.floor(s.fill * 100);
  const frozen = s.state === "FROZEN";
  showAbout(s);
  const closed = frozen
    ? `Frozen by ${operator(s.frozen || { user: s.user })}: the batch takes no segment until it is cleaned.`
    : "";
  if (s.problem) {
    const [colours, state, advice] = ofAnswer(0, s.problem);
    showState(colours, state, `${advice} It says: ${s.problem.body} ${closed}`);
  } else {
    showState(s.state, s.state, closed, frozen ? "FROZEN" : `${percent} %`);
  }
  showStale(false);
  $("warning").hidden = s.auth !== "exposed";
  showOperations(s);
  showBatch(s, frozen, percent);
  showPictures(s);
  updateViewer(s);
  showChannels(s);
  showDatasets(s);
  showStrain(s.strain);
  showRates(s.rates);
  rows($("events"), s.events, (e) => [utc(e.time), ofEvent(e)]);
  showArchives(s, mayMake(s));
  rows($("log"), s.log, (e) => [
    utc(e.time), e.name, e.detector || "–", e.channels ? count(e.channels, "channel") : e.channel || "–", e.t0 == null ? "–" : e.t0.toFixed(4), number(e.n || 0), bytes(e.size),
  ], 4);
  $("no-log").hidden = s.log.length > 0;
}

const ENTER = { title: "Token", yes: "Show", token: true };
let known = null; // the token whose scopes have been asked for

async function enter(text) {
  const answer = await ask({ ...ENTER, text });
  if (answer) update();
  else $("enter").hidden = false;
}

let timer = 0;
let round = 0;

async function update() {
  clearTimeout(timer);
  const mine = ++round;
  let reply, body;
  try {
    reply = await fetch(`status.json${chosenStrain()}`, { cache: "no-store", headers: credentials(), signal: AbortSignal.timeout(PATIENCE) });
    body = await reply.json().catch(() => null);
  } catch {
    if (mine !== round) return; // another one has begun since
    showState("unreachable", "UNREACHABLE", `Nothing answers at ${location.host}. Look at the process and the network; this page goes on when it is back.`);
    showStale(true);
    timer = setTimeout(update, EVERY);
    return;
  }
  if (mine !== round) return;
  if (reply.ok && body) {
    answered = new Date();
    if (hasToken() && known !== credentials().Authorization) {
      known = credentials().Authorization;
      await learnWho().catch(() => 0);
      if (mine !== round) return;
    }
    show(body);
  } else {
    const [colours, state, advice] = ofAnswer(reply.status, body);
    const said = body && body.body && colours !== "locked" ? ` It says: ${body.body}` : "";
    showState(colours, state, advice + said);
    showStale(true);
    if (reply.status === 401 && !$("ask").open) {
      const wrong = hasToken();
      forget();
      $("forget").hidden = true;
      enter(wrong
        ? "This token is not known here. Look for missing characters, or ask the operator for a new one."
        : "This store asks who you are. The token is kept until this tab is closed.");
      return;
    }
    $("forget").hidden = !hasToken();
  }
  timer = setTimeout(update, EVERY);
}

$("enter").addEventListener("click", () => enter("The token is kept until this tab is closed."));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
document.addEventListener("visibilitychange", () => document.hidden || update()); // a tab in the background is slow
document.addEventListener("decided", update);
$("strain-channel").addEventListener("change", update);
update();
