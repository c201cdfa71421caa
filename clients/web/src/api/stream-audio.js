// Sound that is spoken while it is made: which way it goes, and from where.

import { stopIfAborted } from "./aborted.js";
import { openRequestWriter } from "./request-writer.js";
import { openSocketWriter } from "./socket-writer.js";

/**
 * See `Session.streamAudio`. `session`: its `url`, its `server`, a `fetch` that says who asks and
 * `ownFetch` that doesn't, or undefined; `token()`, and `renew()` for another one, or null.
 */
export async function streamAudio(session, { source, format, contentType, signal, ...options }) {
  if (Boolean(format) === Boolean(contentType)) {
    throw new TypeError("streamAudio needs either format: {rate, channels} or contentType");
  }
  stopIfAborted(signal);
  // Browsers send the body of a request when all of it is there; a WebSocket they have.
  const writer =
    format && globalThis.WebSocket
      ? await openSocketWriter(session, { format, options, signal })
      : openRequestWriter(session, { format, contentType, options, signal });
  return source === undefined ? writer : drain(source, writer);
}

// Neither a source that is silent nor a server that can't be reached delays what it is told.
async function drain(source, writer) {
  const pieces = iterate(source);
  const next = interruptible(pieces, writer.ended);
  try {
    for (let piece = await next(); !piece.done; piece = await next()) {
      await writer.write(piece.value);
    }
    return await writer.end();
  } catch (problem) {
    void writer.abort().catch(() => {});
    void Promise.resolve(pieces.return?.()).catch(() => {});
    throw problem;
  }
}

/** `next` of an iterator, which fails as soon as `ended` does. */
function interruptible(pieces, ended) {
  let isOver = false;
  let fail = () => {}; // `Promise.race` would keep all pieces to the end
  ended.catch((problem) => {
    isOver = true;
    fail(problem);
  });
  return () => {
    if (isOver) return ended;
    return new Promise((resolve, reject) => {
      fail = reject;
      Promise.resolve(pieces.next()).then(resolve, reject);
    });
  };
}

function iterate(source) {
  if (!source.getReader) return (source[Symbol.asyncIterator] ?? source[Symbol.iterator]).call(source);
  const reader = source.getReader(); // Safari's streams are no iterables
  return { next: () => reader.read(), return: () => reader.cancel() };
}
