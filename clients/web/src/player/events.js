// The connection to the session's events: opened, watched, reopened where it stopped, or given up
// because the session is over. What the events mean is not known here.

import { refusalIn } from "./access.js";

// A comment is invisible to scripts, so the server also sends a ping event this often.
const HEARTBEAT_MS = 15_000;
const SILENCE_MS = 2.5 * HEARTBEAT_MS;
const STATUS_TIMEOUT_MS = 10_000;

/** The pause before reconnection attempt number `attempt` (0, 1, …): 1, 2, 4 … 15 s, ± 20 %. */
export function backoffMs(attempt, random = Math.random()) {
  return Math.min(15_000, 1000 * 2 ** attempt) * (0.8 + 0.4 * random);
}

export class EventConnection {
  #url;
  #sessionUrl;
  #onEvent;
  #onConnected;
  #onGone;
  #onRefused;
  #sign;
  #EventSource;
  #fetch;
  #source = null;
  #lastId;
  #heardAt = 0;
  #attempt = 0;
  #failures = 0; // of connections, since something was heard
  #retryTimer = 0;
  #watchTimer = 0;
  #connected = null;
  #isRefused = false;

  /**
   * `onEvent(event, id)` gets every event once, in order; `id` is "" where it has none.
   * `onConnected(boolean)` is told of changes. `onGone({reason, status})` is called once, when the
   * session is over. `onRefused({status, code, message})`: who asks is not let in, and nothing more
   * is tried before `reopen()`. `sign(address)`: with what lets us in. `lastId`: begin after that
   * event. Where there is no page, `EventSource` may be another class than the global one, and
   * `fetch` another function.
   */
  constructor({ url, sessionUrl, onEvent, onConnected, onGone, lastId = null, ...ways }) {
    this.#url = url;
    this.#sessionUrl = sessionUrl;
    this.#lastId = lastId;
    this.#EventSource = ways.EventSource ?? globalThis.EventSource;
    this.#fetch = ways.fetch ?? globalThis.fetch;
    this.#onEvent = onEvent;
    this.#onConnected = onConnected;
    this.#onGone = onGone;
    this.#onRefused = ways.onRefused ?? (() => {});
    this.#sign = ways.sign ?? ((address) => address);
    this.reconnects = 0;
  }

  open() {
    this.#connect();
    this.#watchTimer = setInterval(() => this.#checkSilence(), 5000);
    this.#listenTo("addEventListener");
  }

  close() {
    clearInterval(this.#watchTimer);
    clearTimeout(this.#retryTimer);
    this.#listenTo("removeEventListener");
    this.#source?.close();
    this.#source = null;
  }

  #listenTo(how) {
    if (!globalThis.document) return; // Node, or React Native
    document[how]("visibilitychange", this.#onVisible);
    window[how]("pageshow", this.#onPageShow);
    window[how]("online", this.#onOnline);
  }

  /** Drop the connection, alive or not, and continue after the last event seen. */
  reopen() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    this.reconnects += 1;
    this.#connect();
  }

  #connect() {
    this.#isRefused = false;
    this.#source?.close();
    const url = new URL(this.#url, globalThis.location?.href);
    if (this.#lastId !== null) url.searchParams.set("last_event_id", this.#lastId);
    const source = new this.#EventSource(this.#sign(url));
    this.#source = source;
    this.#heardAt = Date.now();
    source.onopen = () => this.#heard();
    source.onmessage = (message) => this.#receive(message);
    source.onerror = () => {
      this.#setConnected(false);
      this.#failures += 1;
      // While CONNECTING the browser retries by itself, and at once is best; but all viewers of a
      // server that is away would go on at the same pace. CLOSED is final and says no reason.
      const isFinal = source.readyState === this.#EventSource.CLOSED;
      if (isFinal || this.#failures > 1) void this.#recover(source);
    };
  }

  #receive(message) {
    this.#heard();
    const id = message.lastEventId;
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      return; // not ours: a proxy's or a later version's
    }
    if (event.event === "reset") this.#lastId = null;
    else if (isReplayed(event, id, this.#lastId)) return;
    else if (!isRepeated(event) && id !== "") this.#lastId = id;
    const isClosed = event.event === "closed";
    if (isClosed && (event.reason !== "shutdown" || event.resumable === false)) {
      this.#giveUp({ reason: event.reason, status: 410 });
      return;
    }
    this.#onEvent(event, isRepeated(event) ? "" : id);
    if (!isClosed || !event.resumable) return;
    // The server is started anew, and has the session again.
    this.#source?.close();
    this.#setConnected(false);
    this.#retryLater();
  }

  #heard() {
    this.#heardAt = Date.now();
    this.#attempt = 0;
    this.#failures = 0;
    this.#setConnected(true);
  }

  #setConnected(connected) {
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.#onConnected(connected);
  }

  // Any answer other than 200 ends an EventSource for good: a proxy's 502 during a restart must
  // not leave the player deaf, and a session that is over must not be asked for for ever.
  async #recover(source) {
    source.close();
    const { status, refusal } = await this.#askForSession();
    if (source !== this.#source) return;
    if (status === 404 || status === 410) {
      this.#giveUp({ reason: status === 410 ? "gone" : "unknown", status });
    } else if (refusal !== null) {
      this.#isRefused = true;
      this.#onRefused(refusal);
    } else this.#retryLater();
  }

  #retryLater() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.reopen(), backoffMs(this.#attempt));
    this.#attempt += 1;
  }

  /** `{status, refusal}` of the answer; 0 and null without one. */
  async #askForSession() {
    const limit = new AbortController();
    const fetch = this.#fetch; // a browser's wants to be called as a function
    const timer = setTimeout(() => limit.abort(), STATUS_TIMEOUT_MS);
    try {
      const url = this.#sign(new URL(this.#sessionUrl, globalThis.location?.href));
      const response = await fetch(url, { cache: "no-store", signal: limit.signal });
      return { status: response.status, refusal: await refusalIn(response) };
    } catch {
      return { status: 0, refusal: null }; // unreachable
    } finally {
      clearTimeout(timer);
    }
  }

  #giveUp(why) {
    this.close();
    this.#onGone(why);
  }

  #checkSilence() {
    if (this.#retryTimer !== 0 || this.#isRefused) return; // reopened anyway, or of no use
    if (Date.now() - this.#heardAt > SILENCE_MS) {
      this.#setConnected(false);
      this.reopen();
    }
  }

  // A phone kills the connection of a page in the background without telling the page.
  #onVisible = () => {
    if (document.visibilityState === "visible") this.reopen();
  };

  #onPageShow = (event) => {
    if (event.persisted) this.reopen();
  };

  #onOnline = () => this.reopen();
}

// These come without an id of their own; the browser repeats the last one that it saw.
function isRepeated(event) {
  return ["ping", "reset", "closed"].includes(event.event);
}

function isReplayed(event, id, lastId) {
  // The id of `state` says only where its subscriber goes on.
  if (isRepeated(event) || event.event === "state") return false;
  if (id === "" || lastId === null) return false;
  return Number(id) <= Number(lastId);
}
