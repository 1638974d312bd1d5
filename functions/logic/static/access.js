// Credentials, and the dialog: a token is kept for this tab only.
import { $ } from "./format.js";

const KEY = "datastore-token";

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const forget = () => sessionStorage.removeItem(KEY);
export const credentials = () => (hasToken() ? { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } : {});

// Opens the dialog; resolves to "yes", "wait" or "" (cancelled). A token that is entered is kept.
// `about` has title, text, list, yes, wait (a second way to agree) and token (whether to ask for one).
export function ask(about) {
  const dialog = $("ask");
  if (dialog.open) return Promise.resolve("");
  $("ask-title").textContent = about.title;
  $("ask-text").textContent = about.text;
  $("ask-list").replaceChildren(
    ...(about.list || []).map((line) => Object.assign(document.createElement("li"), { textContent: line })),
  );
  $("yes").hidden = !about.yes;
  $("yes").textContent = about.yes || "";
  $("wait").hidden = !about.wait;
  $("wait").textContent = about.wait || "";
  $("no").textContent = about.yes ? "Cancel" : "Close";
  $("ask-token").hidden = !about.token;
  $("token").required = Boolean(about.token);
  $("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  // The safe answer has the focus; where a token is needed, the answer is not given by a key pressed too often.
  (about.token ? $("token") : $("no")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const token = $("token").value.trim();
        $("token").value = "";
        const answer = dialog.returnValue;
        if (answer && about.token && token) sessionStorage.setItem(KEY, token);
        resolve(answer && (!about.token || token) ? answer : "");
      },
      { once: true },
    );
  });
}

// A name for one request, so that the store does it once however often it is sent.
export const requestKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
