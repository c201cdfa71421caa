// Another background for an avatar before a green screen: one canvas shows what the two videos
// show, and the dissolve between them, without the colour behind the face.

import { measureKey, parseKey } from "./key-colour.js";
import { KeyPainter } from "./key-painter.js";

const DISSOLVE_MS = 100; // as long as style.js says
const REMEASURE_MS = 1000; // a picture that had no key may have one later

const STILL = matchMedia("(prefers-reduced-motion: reduce)");

class Unavailable extends Error {
  code = "background_unavailable";
}

export class Extra {
  #root;
  #stage;
  #onError;
  #canvas = document.createElement("canvas");
  #listeners = new AbortController();
  #options; // none until it is made
  #painter = null; // null while the browser has taken the context away
  #key = null; // [r, g, b], 0 … 1
  #isRefused = false; // the last drawing failed: told once
  #measureAt = 0; // not before
  #mix = 0; // of speech, 0 … 1
  #drawnAt = 0; // 0: nothing is seen of it
  #display = 0;

  constructor({ root, stage, onError }, options) {
    this.#root = root;
    this.#stage = stage;
    this.#onError = onError;
    this.#canvas.id = "keyed";
    this.#canvas.setAttribute("aria-hidden", "true");
    this.#open();
    const { signal } = this.#listeners;
    this.#canvas.addEventListener("webglcontextlost", (event) => this.#lose(event), { signal });
    this.#canvas.addEventListener("webglcontextrestored", () => this.#open(), { signal });
    stage.talk.after(this.#canvas);
    this.update(options);
  }

  #open() {
    const context = this.#canvas.getContext("webgl", { antialias: false });
    if (context === null) throw new Unavailable("this browser has no WebGL.");
    this.#painter = new KeyPainter(context);
    this.#draw();
  }

  // The picture as it is, until the browser gives the context back.
  #lose(event) {
    event.preventDefault();
    this.#painter = null;
    this.#show(false);
    this.#onError("background_unavailable", "The browser took the drawing of the background away.");
  }

  update({ background, key }) {
    const isOther = this.#options?.key !== key;
    this.#options = { background, key };
    this.#root.style.setProperty("--behind", background);
    if (isOther) {
      this.#key = null;
      this.#isRefused = false;
      this.#measureAt = 0;
    }
    this.#draw();
  }

  painted() {
    this.#draw();
  }

  silent() {
    this.#draw(); // and with it the dissolve, should nothing be painted
  }

  close() {
    this.#listeners.abort();
    cancelAnimationFrame(this.#display);
    this.#show(false);
    this.#canvas.remove();
    this.#painter?.close();
    this.#painter = null;
  }

  #draw() {
    const { idle, talk } = this.#stage;
    if (!this.#options || this.#painter === null || !idle.classList.contains("shown")) return;
    if (this.#key === null && performance.now() < this.#measureAt) return;
    const { key } = this.#options;
    try {
      this.#key ??= key === null ? measureKey(idle) : parseKey(key);
      this.#advance();
      this.#fit(idle);
      this.#painter.paint({
        loop: this.#mix < 1 ? idle : null,
        speech: this.#mix > 0 ? talk : null,
        mix: this.#mix,
        key: this.#key,
      });
      this.#isRefused = false;
      this.#show(true);
    } catch (error) {
      this.#refuse(error);
    }
    this.#drawAgain();
  }

  #refuse({ message }) {
    if (!this.#isRefused) this.#onError("background_unavailable", message);
    this.#isRefused = true;
    this.#measureAt = performance.now() + REMEASURE_MS;
    this.#show(false);
  }

  // What is shown changes between two frames of a video only while one dissolves into the other.
  #advance() {
    const now = performance.now();
    const target = this.#stage.isSpeechShown ? 1 : 0;
    const isCut = STILL.matches || this.#drawnAt === 0;
    const step = isCut ? 1 : Math.min(now - this.#drawnAt, 34) / DISSOLVE_MS;
    this.#mix += Math.min(Math.max(target - this.#mix, -step), step);
    this.#drawnAt = now;
  }

  #drawAgain() {
    cancelAnimationFrame(this.#display);
    const target = this.#stage.isSpeechShown ? 1 : 0;
    if (this.#isRefused || this.#mix === target) return;
    this.#display = requestAnimationFrame(() => this.#draw());
  }

  #fit({ videoWidth, videoHeight }) {
    if (this.#canvas.width !== videoWidth) this.#canvas.width = videoWidth;
    if (this.#canvas.height !== videoHeight) this.#canvas.height = videoHeight;
  }

  #show(isKeyed) {
    if (!isKeyed) this.#drawnAt = 0;
    if (isKeyed !== this.#canvas.hidden && isKeyed === this.#root.hasAttribute("data-keyed")) return;
    this.#root.classList.add("cut"); // the videos are there at once
    this.#root.toggleAttribute("data-keyed", isKeyed);
    this.#canvas.hidden = !isKeyed;
    void getComputedStyle(this.#stage.idle).opacity; // as it is now, before the class goes
    this.#root.classList.remove("cut");
  }
}
