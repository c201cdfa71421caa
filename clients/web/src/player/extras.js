// What apps may ask for besides a face that speaks: captions, a visualizer, another background,
// controls. Each is a module of its own, loaded when it is first wanted.

const LOAD = {
  captions: () => import("./captions.js"),
  visualizer: () => import("./visualizer.js"),
  background: () => import("./key.js"),
  controls: () => import("./controls.js"),
};
const CHANGES = { background: ["key"], controls: ["volume", "muted", "captions"] };

export class Extras {
  #parts;
  #options;
  #onError;
  #running = {};
  #spoken = null; // id of the utterance whose sound is over
  #isClosed = false;

  /**
   * `parts`: what an extra is made with: the `root` (an element) it is shown in, the `stage`,
   * `tracks`, and `choose(name, value)` for what the viewer changes. `options`: as in options.js.
   * `onError(code, message)`.
   */
  constructor({ options, onError, ...parts }) {
    this.#parts = { ...parts, onError };
    this.#options = options;
    this.#onError = onError;
    for (const name of Object.keys(LOAD)) void this.#update(name);
  }

  /** The option `name` has another value now. */
  changed(name) {
    if (name in LOAD) void this.#update(name);
    for (const [extra, names] of Object.entries(CHANGES)) {
      if (names.includes(name)) this.#running[extra]?.update(this.#options);
    }
  }

  async #update(name) {
    const isWanted = () => Boolean(this.#options[name]) && !this.#isClosed;
    if (!isWanted()) {
      this.#running[name]?.close();
      delete this.#running[name];
    } else if (this.#running[name]) this.#running[name].update(this.#options);
    else {
      // Until it is there, nothing is seen of a background that is not wanted.
      const { root } = this.#parts;
      if (name === "background") root.dataset.keyed = "";
      try {
        const { Extra } = await LOAD[name]();
        if (isWanted() && !this.#running[name]) {
          this.#running[name] = new Extra(this.#parts, this.#options);
        }
      } catch (error) {
        if (name === "background") delete root.dataset.keyed;
        this.#onError(error.code ?? "extra_unavailable", `${name}: ${error.message}`);
      }
    }
  }

  /** A frame was painted: of the loop, or of speech, `mediaTime` (s) after that utterance began. */
  painted({ video, mediaTime }, requestId) {
    const isHeard = video === "talk" && requestId !== this.#spoken;
    for (const extra of Object.values(this.#running)) {
      extra.painted?.(isHeard ? { requestId, mediaTime } : null, video);
    }
  }

  /** The face is on the screen. */
  shown() {
    for (const extra of Object.values(this.#running)) extra.painted?.(null, "idle");
  }

  /** That utterance is not heard any more. */
  silent(requestId) {
    this.#spoken = requestId;
    for (const extra of Object.values(this.#running)) extra.silent?.();
  }

  close() {
    this.#isClosed = true;
    for (const extra of Object.values(this.#running)) extra.close();
    this.#running = {};
  }
}
