// What the server says of a session, asked for until it answers.

import { backoffMs } from "./events.js";
import { delay } from "./signals.js";

const OVER = { 404: "unknown", 410: "gone" };

/**
 * `{session, reason}`: the document of session `id`, or null and why there is none: "unknown" or
 * "gone". Both are null when `signal` aborted. `onOffline()`: the server can't be reached for now.
 */
export async function readSession(server, id, signal, onOffline) {
  const url = new URL(`sessions/${encodeURIComponent(id)}`, server);
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const response = await fetch(url, { cache: "no-store", signal });
      if (response.ok) return { session: await response.json(), reason: null };
      if (response.status in OVER) return { session: null, reason: OVER[response.status] };
    } catch {
      // Unreachable, or not an answer of ours: a proxy's.
    }
    onOffline();
    await delay(backoffMs(attempt), signal);
  }
  return { session: null, reason: null };
}
