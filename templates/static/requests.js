// How pages ask the server. Every failure is a Problem.

import { parseProblem, unreachable } from "./problem.js";

/** The answer, if it is one that says yes. */
export async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw parseProblem(response.status, await response.text());
  return response;
}

/**
 * Send a form; the answer's JSON. `onProgress(fraction)`: `fetch` can't tell how far an upload is.
 * Aborted by `signal`, it never settles: who aborts knows.
 */
export function upload(url, form, onProgress, signal = null) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(parseProblem(request.status, request.responseText));
    };
    request.onerror = () => reject(unreachable());
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
