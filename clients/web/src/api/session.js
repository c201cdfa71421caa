// A session of a server, and everything that an app does with it.

import { addressOf, fromWire, query, toWire } from "./names.js";
import { ask, askJson } from "./requests.js";

const JSON_TYPE = { "Content-Type": "application/json" };

/**
 * A new session. `server`: its address (URL), with the path that it is mounted at. `fetch`: to be
 * used instead of the global one. The other options are those of `POST /sessions/create`.
 */
export async function createSession({ server, fetch, signal, ...options }) {
  const address = addressOf(server);
  const body = JSON.stringify(toWire(options));
  const request = { method: "POST", headers: JSON_TYPE, body, signal };
  const document = await askJson(`${address}sessions/create`, request, fetch);
  return new Session({ server: address, document, fetch });
}

/** The session of that id, if there still is one. */
export async function openSession({ server, sessionId, fetch, signal }) {
  const address = addressOf(server);
  const url = `${address}sessions/${encodeURIComponent(sessionId)}`;
  const document = await askJson(url, { cache: "no-store", signal }, fetch);
  return new Session({ server: address, document, fetch });
}

export class Session {
  #url;
  #fetch;

  /** `document`: as the server gave it; `server`: an address with a slash at its end. */
  constructor({ server, document, fetch }) {
    const its = fromWire(document, server);
    this.document = document;
    this.server = server;
    this.sessionId = its.sessionId;
    this.userId = its.userId;
    this.avatar = its.avatar;
    this.config = its.config;
    this.hlsUrl = its.hlsUrl;
    this.expiresInSeconds = its.expiresInSeconds; // told to who created it
    this.playerUrl = `${server}player/session/${this.sessionId}`;
    this.#url = `${server}sessions/${this.sessionId}`;
    this.#fetch = fetch;
  }

  /** What the server says of it now. */
  async describe({ signal } = {}) {
    return this.#read("", signal);
  }

  /**
   * Have a sound spoken: a `Blob`, a `File`, or bytes. `onProgress(fraction)` of the upload. The
   * other options are those of `POST …/stream`.
   */
  async sendAudio(sound, { captions, idempotencyKey, onProgress, signal, ...options } = {}) {
    const form = new FormData();
    if (captions) form.append("captions", captionsText(captions));
    appendSound(form, sound);
    const url = `${this.#url}/stream${query(options)}`;
    const headers = idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {};
    const request = { method: "POST", headers, body: form, signal };
    const canTell = onProgress && globalThis.XMLHttpRequest && !this.#fetch;
    if (canTell) {
      const { uploadingFetch } = await import("./upload.js");
      return this.#send(url, request, uploadingFetch(onProgress));
    }
    const spoken = await this.#send(url, request);
    onProgress?.(1);
    return spoken;
  }

  /**
   * Have a sound spoken while it is made: resolves to a writer, or, of `source` (a stream or
   * an iterable of bytes), to what became of it when all was sent. `format`: `{rate, channels}` of
   * raw signed 16-bit samples, or `contentType` of a file.
   */
  async streamAudio(options) {
    const { streamAudio } = await import("./stream-audio.js");
    return streamAudio({ url: this.#url, fetch: this.#fetch, server: this.server }, options);
  }

  /** Silence at once; the answer waits up to `waitMs` for how much was heard. */
  async interrupt({ waitMs, signal } = {}) {
    const wait = waitMs === undefined ? undefined : waitMs / 1000;
    return this.#send(`${this.#url}/interrupt${query({ wait })}`, { method: "POST", signal });
  }

  /** End one utterance; the others go on. */
  async cancel(requestId, { signal } = {}) {
    await this.#ask(this.#utterance(requestId), { method: "DELETE", signal });
  }

  /** The latest, oldest first. */
  async utterances({ signal } = {}) {
    return (await this.#read("/utterances", signal)).utterances;
  }

  async utterance(requestId, { signal } = {}) {
    return this.#read(`/utterances/${encodeURIComponent(requestId)}`, signal);
  }

  /** Replace the captions of an utterance: `[{start, end, text}]`, or WebVTT. */
  async setCaptions(requestId, captions, { signal } = {}) {
    const isText = typeof captions === "string";
    const headers = isText ? { "Content-Type": "text/vtt" } : JSON_TYPE;
    const body = isText ? captions : JSON.stringify({ cues: captions });
    const url = `${this.#utterance(requestId)}/captions`;
    await this.#ask(url, { method: "PUT", headers, body, signal });
  }

  /**
   * An async iterator over the server's events, word for word, across lost connections; it ends
   * after `closed`, when it is left and when `signal` aborts. `onConnected(isConnected)` tells of
   * the connections.
   */
  events({ signal, ...options } = {}) {
    const over = new AbortController(); // a generator alone could not be left while it waits
    const leave = () => over.abort();
    signal?.addEventListener("abort", leave, { signal: over.signal });
    if (signal?.aborted) leave();
    const events = this.#follow(options, over);
    return {
      next: () => events.next(),
      return() {
        leave();
        return events.return();
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  async *#follow({ lastEventId, onConnected }, over) {
    try {
      const { follow } = await import("./follow.js");
      const its = { sessionUrl: this.#url, fetch: this.#fetch, signal: over.signal };
      yield* follow({ ...its, lastEventId, onConnected });
    } finally {
      over.abort();
    }
  }

  /** End the session at once, also from a page that is about to close. */
  async close() {
    try {
      await this.#ask(this.#url, { method: "DELETE", keepalive: true });
    } catch (problem) {
      if (![404, 410].includes(problem.status)) throw problem; // over already is as good
    }
  }

  #utterance(requestId) {
    return `${this.#url}/utterances/${encodeURIComponent(requestId)}`;
  }

  #ask(url, options) {
    return ask(url, options, this.#fetch);
  }

  #read(path, signal) {
    return this.#send(this.#url + path, { cache: "no-store", signal });
  }

  async #send(url, options, fetch = this.#fetch) {
    return fromWire(await askJson(url, options, fetch), this.server);
  }
}

function captionsText(captions) {
  return typeof captions === "string" ? captions : JSON.stringify(captions);
}

function appendSound(form, sound) {
  const blob = sound instanceof Blob ? sound : new Blob([sound]);
  form.append("audio_file", blob, sound.name || "speech");
}
