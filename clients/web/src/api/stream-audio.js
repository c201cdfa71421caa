// Sound that is spoken while it is made: which way it goes, and from where.

import { openRequestWriter } from "./request-writer.js";
import { openSocketWriter } from "./socket-writer.js";

/** See `Session.streamAudio`. `session`: its `url`, its `server`, and a `fetch` or undefined. */
export async function streamAudio(session, { source, format, contentType, signal, ...options }) {
  if (Boolean(format) === Boolean(contentType)) {
    throw new TypeError("streamAudio needs either format: {rate, channels} or contentType");
  }
  signal?.throwIfAborted();
  // Browsers send the body of a request when all of it is there; a WebSocket they have.
  const writer =
    format && globalThis.WebSocket
      ? await openSocketWriter(session, { format, options, signal })
      : openRequestWriter(session, { format, contentType, options, signal });
  return source === undefined ? writer : drain(source, writer);
}

async function drain(source, writer) {
  try {
    for await (const bytes of each(source)) await writer.write(bytes);
    return await writer.end();
  } catch (problem) {
    await writer.abort();
    throw problem;
  }
}

// Safari's streams are no iterables.
async function* each(source) {
  if (!source.getReader) return yield* source;
  const reader = source.getReader();
  let isRead = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      isRead = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!isRead) await reader.cancel();
  }
}
