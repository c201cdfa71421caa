// The API key of who uses these pages, where the server wants one: asked for, kept for as long as
// the tab is open, and sent with every request.

import { address } from "./address.js";
import { askJson, fetchAs } from "../client/api/requests.js";
import { fetchingEventSource } from "../client/api/fetching-event-source.js";

const NAME = `key of ${address("")}`; // other servers may be at other paths of this host
const FRESH = { cache: "no-store", headers: { Accept: "application/json" } };
const part = (id) => document.getElementById(id);

let key = null;
const asks = fetchAs(currentKey);

/** The key; null where none is needed. */
export function currentKey() {
  return key;
}

/** `fetch` with the key. One that does not count any more is asked for anew. */
export async function fetchWithKey(url, options) {
  const answer = await asks(url, options);
  if (answer.status === 401 && key !== null) {
    key = null;
    void askFor("The key does not count any more.").then(() => location.reload());
  }
  return answer;
}

/** How events are listened to: as options of an EventConnection. */
export function listening() {
  if (key === null) return {};
  return { fetch: fetchWithKey, EventSource: fetchingEventSource(fetchWithKey) };
}

/** An address that pictures can be shown by; one that needs the key is fetched first. */
export async function pictureAddress(url) {
  if (key === null) return url;
  const answer = await fetchWithKey(url);
  return answer.ok ? URL.createObjectURL(await answer.blob()) : url;
}

/** Have a key that counts, if the server wants one; resolves to the avatars that it shows then. */
export async function enter() {
  const avatars = (await avatarsFor(stored())) ?? (await askFor(""));
  part("key-forget").hidden = false;
  part("key-forget").onclick = () => {
    store(null);
    location.reload();
  };
  return avatars;
}

/** Ask for a key until there is one that counts; the avatars. `words`: what was wrong. */
function askFor(words) {
  const [dialog, form, input] = [part("key"), part("key-form"), part("key-input")];
  const tell = (text) => {
    part("key-problem").textContent = text;
    part("key-problem").hidden = text === "";
  };
  store(null);
  tell(words);
  input.value = "";
  dialog.oncancel = (event) => event.preventDefault(); // there is nothing behind it
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      part("key-go").disabled = true;
      try {
        const avatars = await avatarsFor(input.value.trim());
        if (avatars !== null) {
          dialog.close();
          resolve(avatars);
        } else tell("This is no key of this server. It may have been revoked.");
      } catch (problem) {
        tell(`${problem.title} ${problem.detail}`);
      }
      part("key-go").disabled = false;
      if (dialog.open) input.select();
    };
  });
}

/** What that key shows, which is the current one from now on; null if it does not count. */
async function avatarsFor(candidate) {
  if (candidate === null || /[^\x21-\x7e]/.test(candidate)) return null; // no header takes it
  try {
    const its = await askJson(address("avatars"), FRESH, fetchAs(() => candidate));
    key = candidate;
    store(key);
    return its.avatars;
  } catch (problem) {
    if (problem.status === 401) return null;
    throw problem;
  }
}

function stored() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null; // not allowed here
  }
}

function store(value) {
  try {
    if (value === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, value);
  } catch {
    // Not allowed here: it is asked for on every page.
  }
}
