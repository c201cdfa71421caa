// Fetching one chunk, with patience: longer while nobody is let in, or answers, at all.

import { delay } from "./signals.js";

const RETRY_AFTER_MS = [200, 500, 1000];
const TIMEOUT_MS = 15_000;

/** The bytes of the chunk, or null when four attempts failed or `signal` aborted. */
export async function fetchChunk(url, { signal, onRetry, access }) {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    const bytes = await attemptFetch(access.sign(url), signal, attempt);
    if (bytes !== null || signal.aborted) return bytes;
    if (attempt === RETRY_AFTER_MS.length) {
      if (!(await access.isReopened(signal))) return null;
      attempt = -1;
    }
    onRetry();
    await delay(RETRY_AFTER_MS[attempt] ?? 0, signal);
  }
  return null;
}

async function attemptFetch(url, signal, attempt) {
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, TIMEOUT_MS);
  signal.addEventListener("abort", abort);
  try {
    // A torn answer may have been cached by something on the way: ask past it the second time.
    const cache = attempt === 0 ? "default" : "reload";
    const response = await fetch(url, { signal: limit.signal, cache });
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
  } catch {
    return null; // network failure, timeout or abort: the caller counts attempts
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}
