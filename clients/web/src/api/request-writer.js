// Sound as the body of one request: sent while it is made where that can be done, else at its end.

import { viewOf } from "./bytes.js";
import { fromWire, query } from "./names.js";
import { ask } from "./requests.js";

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
    const response = await ask(`${url}/audio${query(options)}`, { ...request, ...body }, fetch);
    return fromWire(await response.json(), server);
  };
  const isBrowser = Boolean(globalThis.location) || !globalThis.TransformStream;
  return isBrowser ? new UploadWriter(send) : new RequestWriter(send);
}

function typeOf(format) {
  const parameters = Object.entries(format).map(([name, value]) => `;${name}=${value}`);
  return `audio/L16${parameters.join("")}`;
}

class RequestWriter {
  transport = "request";

  #sink;
  #over = new AbortController();

  constructor(send) {
    const { readable, writable } = new TransformStream();
    this.#sink = writable.getWriter();
    this.#sink.closed.catch(() => {}); // told to who writes
    /** Resolves to what `end` does: a request has one answer. */
    this.accepted = send({ body: readable, duplex: "half" });
    this.accepted.catch((problem) => this.#sink.abort(problem));
  }

  async write(bytes) {
    await this.#sink.ready;
    await this.#sink.write(viewOf(bytes));
  }

  async end() {
    await this.#sink.close().catch(() => {}); // the answer says why
    return this.accepted;
  }

  /** What had arrived is spoken to its end: the server takes it for a lost connection. */
  async abort() {
    await this.#sink.abort(new DOMException("aborted", "AbortError"));
    await this.accepted.catch(() => {});
  }
}

class UploadWriter {
  transport = "upload";

  #send;
  #parts = [];
  #accepted;

  constructor(send) {
    this.#send = send;
    this.accepted = new Promise((resolve) => {
      this.#accepted = resolve;
    });
    this.accepted.catch(() => {}); // told by `end`
  }

  async write(bytes) {
    this.#parts.push(bytes);
  }

  async end() {
    const answer = this.#send({ body: new Blob(this.#parts) });
    this.#accepted(answer);
    this.#parts = [];
    return answer;
  }

  /** Nothing was sent. */
  async abort() {
    this.#parts = [];
  }
}
