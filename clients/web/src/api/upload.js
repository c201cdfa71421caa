// A `fetch` that says how far its upload is.

/** One that sends forms; it calls `onProgress(fraction)`. */
export function uploadingFetch(onProgress) {
  return async (url, { method, headers, body, signal }) => {
    signal?.throwIfAborted();
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
        request.onabort = () => reject(signal.reason);
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
