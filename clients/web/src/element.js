// <musetalk-avatar>: the player as an element of any page. docs/player.md describes it.

import { Access } from "./player/access.js";
import { MESSAGES } from "./player/bridge.js";
import { MARKUP } from "./player/markup.js";
import { Notice } from "./player/notice.js";
import { OPTIONS, defaults, readOption } from "./player/options.js";
import { readSession } from "./player/session.js";
import { wear } from "./player/sheets.js";
import { STYLE } from "./player/style.js";

// The server that this module came from; the package comes from none.
const HOME = import.meta.url && new URL("..", import.meta.url).href;

// The larger half of it all, which comes while the page still asks for a session.
const loadPlayer = () => import("./player/player.js");
const isPage = Boolean(globalThis.customElements); // a server that renders pages imports it, too
if (isPage) void loadPlayer().catch(() => {}); // loaded again, and answered for, when it is needed

const UNLOADED = { code: "placeholder_failed", message: "The avatar could not be loaded." };
const UNNAMED = { code: "no_server", message: "The avatar's page names no server." };

export class MuseTalkAvatar extends (isPage ? HTMLElement : Object) {
  static observedAttributes = ["session", "server", "token", ...Object.keys(OPTIONS)];

  #root = this.attachShadow({ mode: "open" });
  #session = null; // a Session, the server's document, or an id
  #token = null;
  #access = new Access(() => this.token);
  #options = defaults();
  #player = null;
  #isRunning = false;
  #over = new AbortController();

  /**
   * What is shown: what `createSession` gave, the document of a session as the server gave it, its
   * id, or null.
   */
  get session() {
    return this.#session;
  }

  set session(session) {
    this.#session = session ?? null; // frameworks unset with undefined
    if (session?.token) this.#token = null; // it was for another one
    if (this.#isRunning) this.#restart();
  }

  /** What lets it in, where not everybody may: of the session, unless it was set; else null. */
  get token() {
    return this.#token ?? this.#session?.token ?? null;
  }

  /** Another one, as for one that expires: what is shown goes on. */
  set token(token) {
    this.#token = token ?? null;
    if (this.#player) this.#player.admit();
    else if (this.#isRunning) this.#restart();
  }

  /** The address (URL) of the server; null if nobody has named it. */
  get server() {
    if (this.#session?.server) return this.#session.server;
    const named = this.getAttribute("server") ?? HOME;
    return named === null ? null : new URL(named, document.baseURI).href.replace(/\/?$/, "/");
  }

  set server(address) {
    if ((address ?? null) === null) this.removeAttribute("server");
    else this.setAttribute("server", address);
  }

  /** What the player is doing (docs/player.md, "Debugging"), or null. */
  get debug() {
    return this.#player?.debug ?? null;
  }

  /** Stop everything that is said, and what waits. */
  async interrupt() {
    await this.#player?.interrupt();
  }

  /** What is chosen now: see player/options.js. */
  get options() {
    return { ...this.#options };
  }

  /**
   * Choose: `{volume: 0.5, captions: true, …}`; null is the default. Attributes say the same. So
   * does `token`.
   */
  set(chosen) {
    for (const [name, value] of Object.entries(chosen)) {
      if (value === undefined) continue;
      if (name === "token") this.token = value;
      else if (!(name in OPTIONS)) this.#setOption(name, null);
      else if (value === null) this.removeAttribute(name);
      else this.setAttribute(name, String(value));
    }
  }

  connectedCallback() {
    // What was set before this class was there hides the accessors.
    for (const name of ["server", "token", "session"]) {
      if (!this.hasOwnProperty(name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    if (!this.#isRunning) this.#restart();
  }

  disconnectedCallback() {
    // Only moved, it is back by then; the browser doesn't stop its videos either.
    queueMicrotask(() => this.isConnected || this.#stop());
  }

  attributeChangedCallback(name, before, value) {
    if (value === before) return;
    if (name === "session" || name === "token") this[name] = value;
    else if (name !== "server") this.#setOption(name, value);
    else if (this.#isRunning) this.#restart();
  }

  #setOption(name, text) {
    try {
      this.#options[name] = readOption(name, text);
    } catch ({ message }) {
      console.warn(message); // attributes of a page may be read before anybody listens
      const about = { code: "invalid_option", message, request_id: null, retryable: false };
      return this.#tell("error", about);
    }
    this.#player?.set(name, this.#options[name]);
  }

  #stop() {
    this.#over.abort();
    this.#over = new AbortController();
    this.#player?.stop();
    this.#player = null;
    this.#isRunning = false;
  }

  #restart() {
    this.#stop();
    if (!this.isConnected) return;
    this.#isRunning = true;
    this.#root.innerHTML = MARKUP;
    wear(this.#root, STYLE);
    if (this.#session === null) return;
    if (this.server === null) return this.#fail(this.#makeNotice(), UNNAMED);
    if (typeof this.#session === "string") void this.#look(this.#session);
    else void this.#play(this.#session.document ?? this.#session);
  }

  // An id alone says nothing of the face.
  async #look(id) {
    const over = this.#over;
    const notice = this.#makeNotice();
    const found = await readSession(this.server, id, {
      sign: this.#access.sign,
      signal: over.signal,
      onOffline: () => notice.setOffline(true),
    });
    if (over.signal.aborted) return;
    if (found.refusal !== null) return this.#fail(notice, found.refusal);
    if (found.session !== null) return this.#play(found.session);
    const { reason } = found;
    const onReload = reason === "unknown" ? () => this.#restart() : null;
    notice.showOver(reason, { onReload, canStartNew: this.#isAlone });
    this.#tell("closed", { reason });
  }

  // Nobody around listens: what can be done, the viewer does.
  get #isAlone() {
    return this.hasAttribute("standalone");
  }

  #makeNotice() {
    return new Notice(this.#root.getElementById("player"), { newSessionUrl: this.server });
  }

  async #play(session) {
    const over = this.#over;
    const notice = this.#makeNotice();
    try {
      const { Player } = await loadPlayer();
      if (over.signal.aborted) return;
      this.#player = new Player({
        root: this.#root,
        notice,
        session,
        server: this.server,
        access: this.#access,
        isAlone: this.#isAlone,
        options: this.#options,
        choose: (name, value) => this.set({ [name]: value }),
        onMessage: (type, fields) => this.#tell(type, fields),
        onRestart: () => this.#restart(),
      });
    } catch (error) {
      if (over.signal.aborted) return;
      console.error(error);
      return this.#fail(notice, UNLOADED, () => this.#restart());
    }
    void this.#player.start();
  }

  #fail(notice, { code, message }, onRetry = null) {
    notice.showError(message, onRetry);
    this.#tell("error", { code, message, request_id: null, retryable: false });
  }

  #tell(type, fields) {
    if (!(type in MESSAGES)) throw new Error(`undocumented message ${type}`);
    this.dispatchEvent(new CustomEvent(type, { detail: fields }));
  }
}

if (isPage) customElements.define("musetalk-avatar", MuseTalkAvatar);
