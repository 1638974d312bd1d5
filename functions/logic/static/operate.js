// Freezing and cleaning: who may, what the dialogs say, and a cleanall that waits for its spectrograms.
import { ask, credentials, forget, hasToken, requestKey } from "./access.js";
import { $, bytes, count } from "./format.js";
import { ofPreproc, ofRefusal } from "./words.js";

const PATIENCE = 60000; // milliseconds
let latest = null; // the last document
let me = { name: "", scopes: [] };
let waitsFor = null; // the batch that is to be cleaned when its spectrograms are there

const batch = (s) => (s.batch ? `batch ${s.batch}` : "the batch");
const pending = (p) => Boolean(p && (p.state === "running" || (p.state === "waiting" && p.reason !== "the batch is not frozen")));
const may = (s, scope) => s.auth === "off" || (s.auth === "on" && (!hasToken() || me.scopes.includes(scope)));

// Whether the buttons of operators are shown, and gwpy is there for their spectrograms.
export const mayMake = (s) => may(s, "operate") && Boolean(s.preproc) && s.preproc.state !== "not installed";

// What these credentials may do, asked once for each token.
export async function learnWho() {
  me = { name: "", scopes: [] };
  const reply = await fetch("whoami", { headers: credentials() });
  if (reply.ok) me = await reply.json();
  return reply.status;
}

export function showOperations(s) {
  latest = s;
  $("freeze").hidden = $("clean").hidden = !may(s, "operate");
  $("freeze").disabled = s.state === "FROZEN";
  $("forget").hidden = !hasToken();
  $("enter").hidden = s.auth !== "on" || hasToken();
  $("who").textContent = me.name ? `${me.name} may ${me.scopes.join(", ") || "do nothing"}` : "";
  follow(s);
}

// Sends a request once; shows in words what came of it.
async function send(route, body, done) {
  try {
    const reply = await fetch(route, {
      method: "POST", body, signal: AbortSignal.timeout(PATIENCE),
      headers: { ...credentials(), "Idempotency-Key": requestKey() },
    });
    const text = await reply.text();
    if (reply.status === 201) {
      $("done").textContent = done;
      document.dispatchEvent(new Event("decided"));
      return;
    }
    if (reply.status === 401) forget();
    await ask({ title: "Not done", text: ofRefusal(reply.status, text, me.name) });
  } catch (error) {
    const text = `No answer came: ${error.message}. It may have been done all the same: look at the events before you try again.`;
    await ask({ title: "Not known", text });
  }
}

// The route for the batch that the dialog was about: the store does nothing if another one is open by then.
const about = (route, s) => (s.batch ? `${route}?batch=${s.batch}` : route); // without number: the original's Data Buffer

async function freeze() {
  const s = latest;
  const list = [`It holds ${count(s.n_itm, "segment")}, ${bytes(s.buff_size)}, of ${count(s.channels, "channel")}.`];
  if (s.fill < 1) list.push(`It is not large enough yet (${Math.floor(s.fill * 100)} %), so the store will leave it open.`);
  const text = "It takes no segment from then on, until it is cleaned. Senders are told to wait.";
  const answer = await ask({ title: `Freeze ${batch(s)}?`, text, list, yes: `Freeze ${batch(s)}`, token: s.auth === "on" && !hasToken() });
  if (answer) await send(about("freezeds", s), "{}", `Done: ${batch(s)} is frozen.`);
}

function losses(s) {
  const p = s.preproc;
  const list = [];
  if (s.state !== "FROZEN") list.push("It is open: what senders are sending now goes into this batch or the next one.");
  if (pending(p)) list.push(`Its spectrograms are not there yet and would be lost. ${ofPreproc(p)}`);
  else if (s.state !== "FROZEN") list.push("It has not been frozen, so no spectrogram is made of it.");
  else if (p && p.state !== "done") list.push(`Spectrograms: ${ofPreproc(p)}`);
  if (s.products.batch === s.batch && s.products.files) list.push(`${count(s.products.files, "product")} go into the archive with it.`);
  return list;
}

async function clean() {
  const s = latest;
  const text = `${count(s.n_itm, "segment")}, ${bytes(s.buff_size)}, go into an archive, and the next batch is opened. An archive is not opened again.`;
  const answer = await ask({
    title: `Clean ${batch(s)}?`, text, list: losses(s), yes: `Clean ${batch(s)}`,
    wait: pending(s.preproc) ? "Clean when they are there" : "", token: s.auth === "on" && !hasToken(),
  });
  if (answer === "wait") {
    waitsFor = s.batch;
    follow(latest);
  } else if (answer) {
    await send(about("flushbuf", s), "", `Done: ${batch(s)} is archived.`);
  }
}

// Cleans the batch that waits for its spectrograms, unless they fail or somebody else has cleaned it.
async function follow(s) {
  if (waitsFor !== null && !pending(s.preproc)) {
    const meant = waitsFor === s.batch && s.state === "FROZEN";
    waitsFor = null;
    const there = meant && s.preproc && ["done", "too short", "no signal", "empty"].includes(s.preproc.state);
    if (there) send(about("flushbuf", s), "", `Done: ${batch(s)} is archived with its spectrograms.`);
    else ask({ title: "Not cleaned", text: meant ? `Spectrograms: ${ofPreproc(s.preproc)}` : "The batch is not the one that was frozen any more." });
  }
  $("waiting").hidden = waitsFor === null;
  if (waitsFor !== null) {
    $("waiting").firstElementChild.textContent =
      `Batch ${waitsFor} is cleaned when its spectrograms are there, while this page is open. ${ofPreproc(s.preproc)}`;
  }
}

$("freeze").addEventListener("click", freeze);
$("clean").addEventListener("click", clean);
$("stay").addEventListener("click", () => {
  waitsFor = null;
  $("waiting").hidden = true;
});
$("forget").addEventListener("click", () => {
  forget();
  location.reload();
});
