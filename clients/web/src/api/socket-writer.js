// Raw sound over a WebSocket of its own: one utterance, spoken while it is sent.

import { reasonOf, stopIfAborted } from "./aborted.js";
import { delay } from "../player/signals.js";
import { viewOf } from "./bytes.js";
import { fromWire, query } from "./names.js";
import { aborted, notSpoken } from "./not-spoken.js";
import { Problem } from "./problem.js";
import { ask } from "./requests.js";
import { settled } from "./settled.js";

const MAX_MESSAGE_BYTES = 1 << 18; // the server takes 2^20
const MAX_BUFFERED_BYTES = 1 << 17; // some two seconds: what waits here can't be interrupted
const LOOK_EVERY_MS = 20; // a WebSocket doesn't say when it has sent something
const GOING_AWAY = 1001;

/** Resolves to an open writer; rejects with the server's Problem. */
export async function openSocketWriter(session, { format, options, signal }) {
  const { url, server, fetch, ownFetch, renew } = session;
  const token = session.token() ?? undefined;
  const address = `${url}/audio/ws${query({ ...format, ...options, token })}`;
  const socket = new WebSocket(address.replace(/^http/, "ws"));
  const stop = () => socket.close();
  signal?.addEventListener("abort", stop);
  try {
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onclose = socket.onerror = reject; // in Node 20, the latter alone
    });
  } catch {
    stopIfAborted(signal);
    const problem = await whyNot(address, ownFetch); // which says no more of who asks than that did
    if (problem.code !== "token_expired" || !renew) throw problem;
    await renew();
    return await openSocketWriter({ ...session, renew: null }, { format, options, signal });
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  return new SocketWriter(socket, { url, server, fetch, signal });
}

// A WebSocket says nothing of why it was refused; the same address over HTTP does.
async function whyNot(address, fetch) {
  try {
    await ask(address, { cache: "no-store" }, fetch);
  } catch (problem) {
    if (problem.code !== "upgrade_required") return problem;
  }
  return new Problem({
    title: "No connection.",
    detail: "The server, or a proxy before it, took no WebSocket.",
    code: "no_websocket",
  });
}

class SocketWriter {
  transport = "websocket";

  #socket;
  #session;
  #problem = null; // why nothing more is taken
  #requestId = null;
  #accepted = settled();
  #ended = settled();

  constructor(socket, { signal, ...session }) {
    this.#socket = socket;
    this.#session = session;
    /** Resolves to `{requestId, epoch}` when the server has begun to take the sound. */
    this.accepted = this.#accepted.promise;
    /** Resolves as `end` does; rejects as soon as nothing more is taken. */
    this.ended = this.#ended.promise;
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = ({ code }) => this.#fail(code === GOING_AWAY ? gone() : lost());
    const stop = () => {
      this.#fail(reasonOf(signal));
      void this.abort().catch(() => {});
    };
    signal?.addEventListener("abort", stop);
    const forget = () => signal?.removeEventListener("abort", stop);
    this.ended.then(forget, forget);
  }

  /** Resolves when more may be written; sound comes as fast as it is spoken, ten seconds ahead. */
  async write(bytes) {
    const view = viewOf(bytes);
    for (let at = 0; at < view.byteLength; at += MAX_MESSAGE_BYTES) {
      this.#require();
      this.#socket.send(view.subarray(at, at + MAX_MESSAGE_BYTES));
      while (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
        await delay(LOOK_EVERY_MS);
        this.#require();
      }
    }
    this.#require();
  }

  /** Resolves to `{requestId, duration, status}` when the server has all of it. */
  async end() {
    this.#require();
    this.#socket.send('{"event": "end"}');
    return this.ended;
  }

  /** What was sent is not spoken any further. */
  async abort() {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send('{"event": "cancel"}');
    this.#fail(aborted());
    if (this.#requestId === null) return;
    // What still waits in the socket would be before the word there.
    const url = `${this.#session.url}/utterances/${this.#requestId}`;
    await ask(url, { method: "DELETE" }, this.#session.fetch).catch((problem) => {
      if (![404, 410].includes(problem.status)) throw problem; // it is over
    });
  }

  #require() {
    if (this.#problem) throw this.#problem;
  }

  #take(event) {
    const said = fromWire(event, this.#session.server);
    delete said.event;
    if (event.event === "accepted") {
      this.#requestId = event.request_id;
      this.#accepted.resolve(said);
    } else if (event.event === "ended") {
      this.#ended.resolve(said);
      this.#fail(notSpoken("The utterance has ended already", { code: "ended" }));
    } else if (event.event === "error") {
      this.#fail(notSpoken(event.message, event));
    }
  }

  #fail(problem) {
    if (this.#problem) return;
    this.#problem = problem;
    this.#accepted.reject(problem);
    this.#ended.reject(problem);
    this.#socket.close();
  }
}

function gone() {
  const words = { title: "Session over.", detail: "The session has ended." };
  return new Problem({ ...words, code: "session_gone", status: 410 });
}

function lost() {
  const words = { title: "Connection lost.", detail: "What had arrived is spoken." };
  return new Problem({ ...words, code: "disconnected" });
}
