// What the server says of a session, asked for until it answers.

import { refusalIn } from "./access.js";
import { backoffMs } from "./events.js";
import { delay } from "./signals.js";

const OVER = { 404: "unknown", 410: "gone" };

/**
 * `{session, reason, refusal}`: the document of session `id`, or why there is none: "unknown" or
 * "gone", or what is wrong with who asks (access.js). All are null when `signal` aborted.
 * `sign(address)`: with what lets us in. `onOffline()`: the server can't be reached for now.
 */
export async function readSession(server, id, { sign, signal, onOffline }) {
  const url = new URL(`sessions/${encodeURIComponent(id)}`, server);
  const found = { session: null, reason: null, refusal: null };
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const response = await fetch(sign(url), { cache: "no-store", signal });
      if (response.ok) return { ...found, session: await response.json() };
      if (response.status in OVER) return { ...found, reason: OVER[response.status] };
      const refusal = await refusalIn(response);
      if (refusal !== null) return { ...found, refusal };
    } catch {
      // Unreachable, or not an answer of ours: a proxy's.
    }
    onOffline();
    await delay(backoffMs(attempt), signal);
  }
  return found;
}
