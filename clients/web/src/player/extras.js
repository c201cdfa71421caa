// What apps may ask for besides a face that speaks: captions, a visualizer, another background,
// controls. Each is a module of its own, loaded when it is first wanted.

const LOAD = {
  captions: () => import("./captions.js"),
  visualizer: () => import("./visualizer.js"),
  background: () => import("./key.js"),
  controls: () => import("./controls.js"),
};
const CHANGES = { background: ["key"], controls: ["volume", "muted", "captions", "sound"] };

export class Extras {
  #parts;
  #options;
  #onError;
  #running = {};
  #spoken = null; // id of the utterance whose sound is over
  #isClosed = false;

  /**
   * `parts`: what an extra is made with: the `root` (an element) it is shown in, the `stage`,
   * `tracks`, `choose(name, value)` for what the viewer changes, and of sound that the browser
   * blocks `isSoundBlocked()` and, to be called in a gesture, `unblock()`. `options`: as in
   * options.js. `onError(code, message)`.
   */
  constructor({ options, onError, ...parts }) {
    this.#parts = { ...parts, onError };
    this.#options = options;
    this.#onError = onError;
    for (const name of Object.keys(LOAD)) void this.#update(name);
  }

  /** The option `name` has another value now; "sound": it is blocked, or isn't any more. */
  changed(name) {
    if (name in LOAD) void this.#update(name);
    for (const [extra, names] of Object.entries(CHANGES)) {
      if (names.includes(name)) this.#running[extra]?.update(this.#options);
    }
  }

  async #update(name) {
    const isWanted = () => Boolean(this.#options[name]) && !this.#isClosed;
    // Until it is there, nothing is seen of a background that is not wanted.
    const cover = (isCovered) => {
      if (name === "background") this.#parts.root.toggleAttribute("data-keyed", isCovered);
    };
    if (!isWanted()) {
      this.#running[name]?.close();
      delete this.#running[name];
      cover(false);
    } else if (this.#running[name]) this.#running[name].update(this.#options);
    else {
      cover(true);
      try {
        const { Extra } = await LOAD[name]();
        if (isWanted() && !this.#running[name]) {
          this.#running[name] = new Extra(this.#parts, this.#options);
        }
      } catch (error) {
        cover(false);
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
