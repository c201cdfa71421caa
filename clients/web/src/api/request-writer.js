// Sound as the body of one request: sent while it is made where that can be done, else at its end.

import { reasonOf } from "./aborted.js";
import { viewOf } from "./bytes.js";
import { fromWire, query } from "./names.js";
import { aborted, notSpoken } from "./not-spoken.js";
import { askJson } from "./requests.js";
import { settled } from "./settled.js";

const MAX_UPLOAD_BYTES = 1 << 28; // what is written waits here for `end`; servers take less

/**
 * A writer. `transport`: "request", or "upload" where nothing is sent, and so nothing spoken,
 * before `end`: in browsers, whose requests stream over HTTP/2 alone if at all.
 */
export function openRequestWriter({ url, server, fetch }, { format, contentType, options, signal }) {
  const request = {
    method: "POST",
    headers: { "Content-Type": contentType ?? typeOf(format) },
    signal,
  };
  const send = async (body) => {
    const answer = await askJson(`${url}/audio${query(options)}`, { ...request, ...body }, fetch);
    return fromWire(answer, server);
  };
  const isBrowser = Boolean(globalThis.location) || !globalThis.TransformStream;
  return isBrowser ? new UploadWriter(send, signal) : new RequestWriter(send);
}

function typeOf(format) {
  const parameters = Object.entries(format).map(([name, value]) => `;${name}=${value}`);
  return `audio/L16${parameters.join("")}`;
}

class RequestWriter {
  transport = "request";

  #sink;

  constructor(send) {
    const { readable, writable } = new TransformStream();
    this.#sink = writable.getWriter();
    this.#sink.closed.catch(() => {}); // told to who writes
    /** Both resolve to what `end` does: a request has one answer. */
    this.accepted = this.ended = send({ body: readable, duplex: "half" });
    this.ended.catch((problem) => this.#sink.abort(problem));
  }

  async write(bytes) {
    await this.#sink.ready;
    await this.#sink.write(viewOf(bytes).slice()); // it may be sent later
  }

  async end() {
    await this.#sink.close().catch(() => {}); // the answer says why
    return this.ended;
  }

  /** What had arrived is spoken to its end: the server takes it for a lost connection. */
  async abort() {
    await this.#sink.abort(aborted());
    await this.ended.catch(() => {});
  }
}

class UploadWriter {
  transport = "upload";

  #send;
  #parts = [];
  #size = 0;
  #problem = null; // why nothing more is taken
  #ended = settled();

  constructor(send, signal) {
    this.#send = send;
    this.accepted = this.ended = this.#ended.promise;
    const stop = () => this.#fail(reasonOf(signal));
    signal?.addEventListener("abort", stop);
    const forget = () => signal?.removeEventListener("abort", stop);
    this.ended.then(forget, forget);
  }

  async write(bytes) {
    this.#require();
    this.#parts.push(viewOf(bytes).slice());
    this.#size += bytes.byteLength;
    if (this.#size > MAX_UPLOAD_BYTES) {
      this.#fail(notSpoken("It is too large to be sent at once", { code: "upload_too_large" }));
    }
    this.#require();
  }

  async end() {
    this.#require();
    this.#problem = notSpoken("It was sent already", { code: "ended" });
    this.#ended.resolve(this.#send({ body: new Blob(this.#parts) }));
    this.#parts = [];
    return this.ended;
  }

  /** Nothing was sent. */
  async abort() {
    this.#fail(aborted());
  }

  #require() {
    if (this.#problem) throw this.#problem;
  }

  #fail(problem) {
    if (this.#problem) return;
    this.#problem = problem;
    this.#parts = [];
    this.#ended.reject(problem);
  }
}
