// Streams as /channels has them, and requests for them.
import { credentials } from "./access.js";
import { ofAnswer } from "./words.js";

export const nameOf = (row) => row.channel || row.detector || "unnamed";

// The parameters that choose a stream.
export function streamOf(row) {
  return new URLSearchParams({ channel: row.channel, detector: row.detector, rate: String(row.rate) });
}

// An answer of the store, or an error that says what to do.
export async function ask(url) {
  const reply = await fetch(url, { headers: credentials() });
  if (reply.ok) return reply;
  const text = await reply.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // what answers is not the store
  }
  if (reply.status === 404 && !(body && body.code === "NODATA")) {
    throw new Error("Strain by GPS time is not served at this address: look at the function strain, which answers /channels, /coverage and /strain.");
  }
  const known = ["ERRAUTH", "ERRSCOPE", "RECOVERING"].includes(body && body.code);
  throw new Error(known || !body ? ofAnswer(reply.status, body)[2] : body.body);
}
