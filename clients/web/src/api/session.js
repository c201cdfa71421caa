// A session of a server, and everything that an app does with it.

import { addressOf, fromWire, query, toWire } from "./names.js";
import { ask, askJson, fetchAs } from "./requests.js";

const ALL_RIGHTS = ["view", "interrupt", "speak", "end"];
const JSON_TYPE = { "Content-Type": "application/json" };

/**
 * A new session. `server`: its address (URL), with the path that it is mounted at. `key`: an API
 * key, where the server wants one; it is no app's to have. `fetch`: to be used instead of the
 * global one. The other options are those of `POST /sessions/create`.
 */
export async function createSession({ server, key = null, fetch, signal, ...options }) {
  const address = addressOf(server);
  const body = JSON.stringify(toWire(options));
  const request = { method: "POST", headers: JSON_TYPE, body, signal };
  const asks = fetchAs(() => key, fetch);
  const document = await askJson(`${address}sessions/create`, request, asks);
  return new Session({ server: address, document, key, fetch });
}

/** The session of that id, if there still is one. `token`: of that session; or a `key`. */
export async function openSession({ server, sessionId, token = null, key = null, fetch, signal }) {
  const address = addressOf(server);
  const url = `${address}sessions/${encodeURIComponent(sessionId)}`;
  const asks = fetchAs(() => key ?? token, fetch);
  const document = await askJson(url, { cache: "no-store", signal }, asks);
  return new Session({ server: address, document, token, key, fetch });
}

export class Session {
  #url;
  #key;
  #ownFetch; // what the app gave
  #fetch;

  /**
   * `document`: as the server gave it; `server`: an address with a slash at its end. `token`, where
   * the document has none, and `key`: who asks.
   */
  constructor({ server, document, token = null, key = null, fetch }) {
    const its = fromWire(document, server);
    const shown = /\?.*/.exec(its.playerUrl)?.[0] ?? query({ token: token ?? undefined });
    this.document = document;
    this.server = server;
    this.sessionId = its.sessionId;
    this.userId = its.userId;
    this.avatar = its.avatar;
    this.config = its.config;
    this.hlsUrl = its.hlsUrl;
    this.expiresInSeconds = its.expiresInSeconds; // told to who created it
    this.playerUrl = `${server}player/session/${this.sessionId}${shown}`;
    /** Goes with every request that no key goes with; may be replaced before it expires. */
    this.token = its.token ?? token;
    this.#url = `${server}sessions/${this.sessionId}`;
    this.#key = key;
    this.#ownFetch = fetch;
    this.#fetch = fetchAs(() => key ?? this.token, fetch);
  }

  /**
   * A token for this session, for who has a key: `rights` (`["view"]`), and `ttl` in seconds.
   * `{token, rights, expiresAt, playerUrl, eventsUrl}`.
   */
  async createToken({ rights, ttl, signal } = {}) {
    const body = JSON.stringify({ rights, ttl }); // without what is undefined
    return this.#send(`${this.#url}/tokens`, { method: "POST", headers: JSON_TYPE, body, signal });
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
    const canTell = onProgress && globalThis.XMLHttpRequest && !this.#ownFetch;
    if (canTell) {
      const { uploadingFetch } = await import("./upload.js");
      const upload = fetchAs(() => this.#key ?? this.token, uploadingFetch(onProgress));
      return this.#send(url, request, upload);
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
    const its = { url: this.#url, fetch: this.#fetch, server: this.server };
    // A WebSocket has no headers.
    const ways = { token: () => this.token, renew: this.#key && (() => this.#renew()) };
    return streamAudio({ ...its, ...ways, ownFetch: this.#ownFetch }, options);
  }

  async #renew() {
    this.token = (await this.createToken({ rights: ALL_RIGHTS })).token;
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
      // An EventSource of the browser has no headers, and can't be told how to ask.
      const isPlain = !this.#ownFetch && !this.#key;
      const its = { sessionUrl: this.#url, fetch: this.#fetch, signal: over.signal };
      yield* follow({ ...its, token: () => this.token, isPlain, lastEventId, onConnected });
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
