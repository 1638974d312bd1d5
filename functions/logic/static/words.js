// What the store's answers mean, and what to do about each: states of the page, refusals of requests, events.
import { count, operator } from "./format.js";

// code -> [colours of the page, state, what to do]
const ANSWERS = {
  ERRIO: ["trouble", "VOLUME REFUSES", "The volume is full, read-only or broken. Make room, or mount it for writing; the store then goes on by itself."],
  DAMAGED: ["trouble", "DAMAGED", "The journal does not check, and the store takes nothing until an operator has looked. Keep the volume as it is, and call the operator."],
  RECOVERING: ["starting", "STARTING", "The store replays its journal. There is nothing to do: this page goes on when it is ready."],
  UPSTREAM: ["trouble", "SERVICE AWAY", "Datastore Logic answers, and a service behind it does not. Look at the pods or processes of the Data Buffer; this page goes on when they are back."],
  BUSY: ["trouble", "BUSY", "The writer is away or slow. There is nothing to do at first; if it stays so, look at the writer's log."],
  KEYSFULL: ["trouble", "KEYS FULL", "No more idempotency keys fit into memory. Freeze and clean the batch, or raise MAX_KEYS."],
  ERRCLOCK: ["trouble", "CLOCK WRONG", "Set the clock of the store's machine right."],
  ERRKEYS: ["starting", "STARTING", "The keys of the tokens' issuer are not loaded yet. There is nothing to do at first; if it stays so, look at AUTH_JWKS."],
  ERRAUTH: ["locked", "LOCKED", "This store shows its state to those who have a token."],
  ERRSCOPE: ["locked", "NOT ALLOWED", "These credentials may not read. Ask the operator for a token with the scope `read`."],
  ERRORIGIN: ["locked", "NOT ALLOWED", "The store takes requests from its own pages only. Open it at its own address."],
  ERRHOST: ["locked", "NOT ALLOWED", "The store does not know the name in this address. Open it at its own address, or add the name to ALLOWED_HOSTS."],
  ERRINTERNAL: ["trouble", "ERROR", "The store met an error that nobody foresaw. Its log has the details; please report it."],
};

// Colours, state and advice for an answer that is no success; `body` is its JSON, or null.
export function ofAnswer(status, body) {
  const known = body && ANSWERS[body.code];
  if (known) return known;
  if (body && body.code) return ["trouble", body.code, "The store refuses to show its state."];
  return ["trouble", `ANSWERS ${status}`, "What answers here is not the store, perhaps a proxy in front of it. Look at the proxy, and at the store behind it."];
}

// Why freezing or cleaning was refused, in a sentence or two.
export function ofRefusal(status, text, name) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    if (status === 200) return `${text} The batch stays open.`;
  }
  const code = body && body.code;
  if (status === 401) return "This token is not known here. Look for missing characters, or ask the operator for a new one.";
  if (code === "ERRSCOPE") return `${name || "This token"} may not do this. Ask the operator for a token with the scope \`operate\`.`;
  if (code === "ERRBATCH") return `Somebody has archived the batch meanwhile. It says: ${body.body}`;
  if (code === "BUSY" || code === "UPSTREAM") return "No answer came in time. It may have been done all the same: look at the events below before you try again.";
  const known = ANSWERS[code];
  const said = (body && body.body) || text.slice(0, 300);
  return `${known ? known[2] : `The store answers ${status}.`} ${said ? `It says: ${said}` : ""}`;
}

const REFUSED = {
  FROZEN: "the batch is frozen", ERRFMT: "not readable", ERRAUTH: "no known credentials", ERRSCOPE: "not allowed",
  BUSY: "busy", ERRPATH: "no such route", ERRFILE: "no such file", ERRSIZE: "too large", ERRIO: "the volume refuses",
  RECOVERING: "starting", DAMAGED: "journal damaged", UPSTREAM: "service away", ERRKEY: "key used before",
  ERRBATCH: "another batch was open",
};

export function ofEvent(e) {
  const batch = `Batch ${e.batch}`;
  const by = e.user || e.by ? ` by ${operator(e)}` : "";
  switch (e.what) {
    case "started": return "The store started";
    case "opened": return `${batch} opened`;
    case "frozen": return `${batch} frozen${by}`;
    case "thawed": return `${batch} opened again${by}`;
    case "cleaned": return `${batch} archived as “${e.archive}”${by}`;
    case "products": return `${batch}: spectrograms ${e.verdict}`;
    case "refused": return `${count(e.count, "request")} refused: ${REFUSED[e.code] ? `${REFUSED[e.code]} (${e.code})` : e.code}`;
    default: return e.what;
  }
}

// The state of preproc, in a sentence.
export function ofPreproc(p) {
  if (!p) return "The state of preproc is not known: it does not answer, or PRODUCTS_URL is not set.";
  const why = p.reason ? `: ${p.reason}.` : ".";
  switch (p.state) {
    case "done": return `${count(p.of, "spectrogram")} made of this batch.${p.reason ? ` Pieces of strain without one: ${p.reason}.` : ""}`;
    case "running": return p.of ? `Being made: ${p.done} of ${count(p.of, "piece")} of strain.` : "Being made.";
    case "waiting": return p.reason === "the batch is not frozen" ? "They are made when the batch is frozen." : `Waiting for their turn${why}`;
    case "too short": case "no signal": case "empty": return `None to make, ${p.state}${why}`;
    case "failed": return `Failed${why} POST /preproc tries again.`;
    case "off": return "Off: PREPROC is off, POST /preproc makes them.";
    case "not installed": return "Not installed: `make .venv/.extras` adds gwpy.";
    default: return p.state + why;
  }
}
