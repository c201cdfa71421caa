// How a server is asked. Every failure is a Problem, unless it was the signal.

import { notJson, parseProblem, unreachable } from "./problem.js";

/** The text of an answer that says yes. `fetch` may be another than the global one. */
export async function ask(url, options = {}, fetch = globalThis.fetch) {
  let response;
  let text;
  try {
    response = await fetch(url, options);
    text = await response.text();
  } catch (error) {
    throw options.signal?.aborted ? error : unreachable();
  }
  if (response.ok) return text;
  throw parseProblem(response.status, text, response.headers.get("Retry-After"));
}

/** The same of an answer in JSON. */
export async function askJson(url, options, fetch) {
  const text = await ask(url, options, fetch);
  try {
    return JSON.parse(text);
  } catch {
    throw notJson();
  }
}

/** A `fetch` that says who asks: by what `credential()` is then, a key or a token; null: nobody. */
export function fetchAs(credential, fetch = (...asked) => globalThis.fetch(...asked)) {
  return (url, options = {}) => {
    const secret = credential();
    if (secret === null) return fetch(url, options);
    const headers = { ...options.headers, Authorization: `Bearer ${secret}` };
    return fetch(url, { ...options, headers });
  };
}
