// <musetalk-avatar>: the player as an element of any page. docs/player.md describes it.

import { MESSAGES } from "./player/bridge.js";
import { MARKUP } from "./player/markup.js";
import { Notice } from "./player/notice.js";
import { OPTIONS, defaults, readOption } from "./player/options.js";
import { readSession } from "./player/session.js";
import { STYLE } from "./player/style.js";

// The server that this module came from; what is bundled into an app has to name one.
const HOME = new URL("..", import.meta.url).href;

// The larger half of it all, which comes while the page still asks for a session.
const loadPlayer = () => import("./player/player.js");
void loadPlayer().catch(() => {}); // loaded again, and answered for, when it is needed

export class MuseTalkAvatar extends HTMLElement {
  static observedAttributes = ["session", "server", ...Object.keys(OPTIONS)];

  #root = this.attachShadow({ mode: "open" });
  #session = null; // a Session, the server's document, or an id
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
    this.#session = session;
    if (this.#isRunning) this.#restart();
  }

  /** The address (URL) of the server. */
  get server() {
    if (this.#session?.server) return this.#session.server;
    return new URL(this.getAttribute("server") ?? HOME, document.baseURI).href.replace(/\/?$/, "/");
  }

  set server(address) {
    this.setAttribute("server", address);
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

  /** Choose: `{volume: 0.5, captions: true, …}`; null is the default. Attributes say the same. */
  set(chosen) {
    for (const [name, value] of Object.entries(chosen)) {
      if (!Object.hasOwn(OPTIONS, name)) this.#setOption(name, null);
      else if (value === null) this.removeAttribute(name);
      else this.setAttribute(name, String(value));
    }
  }

  connectedCallback() {
    // What was set before this class was there hides the accessor.
    if (Object.hasOwn(this, "session")) {
      const { session } = this;
      delete this.session;
      this.#session = session;
    }
    if (!this.#isRunning) this.#restart();
  }

  disconnectedCallback() {
    // Only moved, it is back by then; the browser doesn't stop its videos either.
    queueMicrotask(() => this.isConnected || this.#stop());
  }

  attributeChangedCallback(name, before, value) {
    if (value === before) return;
    if (name === "session") this.session = value;
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
    this.#root.innerHTML = `<style>${STYLE}</style>${MARKUP}`;
    if (this.#session === null) return;
    if (typeof this.#session === "string") void this.#look(this.#session);
    else void this.#play(this.#session.document ?? this.#session);
  }

  // An id alone says nothing of the face.
  async #look(id) {
    const over = this.#over;
    const notice = this.#makeNotice();
    const found = await readSession(this.server, id, over.signal, () => notice.setOffline(true));
    if (over.signal.aborted) return;
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
    const loaded = await loadPlayer().catch(() => null);
    if (over.signal.aborted) return;
    if (loaded === null) return this.#fail(notice);
    this.#player = new loaded.Player({
      root: this.#root,
      notice,
      session,
      server: this.server,
      isAlone: this.#isAlone,
      options: this.#options,
      choose: (name, value) => this.set({ [name]: value }),
      onMessage: (type, fields) => this.#tell(type, fields),
      onRestart: () => this.#restart(),
    });
    void this.#player.start();
  }

  #fail(notice) {
    const message = "The avatar could not be loaded.";
    notice.showError(message, () => this.#restart());
    this.#tell("error", { code: "placeholder_failed", message, request_id: null, retryable: false });
  }

  #tell(type, fields) {
    if (!(type in MESSAGES)) throw new Error(`undocumented message ${type}`);
    this.dispatchEvent(new CustomEvent(type, { detail: fields }));
  }
}

customElements.define("musetalk-avatar", MuseTalkAvatar);
