// A `fetch` that says how far its upload is.

import { reasonOf, stopIfAborted } from "./aborted.js";

/** One that sends forms; it calls `onProgress(fraction)`. */
export function uploadingFetch(onProgress) {
  return async (url, { method, headers, body, signal }) => {
    stopIfAborted(signal);
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    signal?.addEventListener("abort", abort);
    try {
      await new Promise((resolve, reject) => {
        request.open(method, url);
        for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
        request.upload.onprogress = (event) => {
          if (event.lengthComputable) onProgress(event.loaded / event.total);
        };
        request.onload = resolve;
        request.onerror = reject;
        request.onabort = () => reject(reasonOf(signal));
        request.send(body);
      });
    } finally {
      signal?.removeEventListener("abort", abort);
    }
    const retryAfter = request.getResponseHeader("Retry-After");
    return new Response(request.responseText || null, {
      status: request.status,
      headers: retryAfter === null ? {} : { "Retry-After": retryAfter },
    });
  };
}
