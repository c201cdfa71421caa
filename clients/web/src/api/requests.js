// How a server is asked. Every failure is a Problem, unless it was the signal.

import { parseProblem, unreachable } from "./problem.js";

/** The answer, if it is one that says yes. `fetch` may be another than the global one. */
export async function ask(url, options = {}, fetch = globalThis.fetch) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    throw options.signal?.aborted ? error : unreachable();
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  throw parseProblem(response.status, text, response.headers.get("Retry-After"));
}
