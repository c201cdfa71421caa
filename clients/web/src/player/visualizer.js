// How loud speech is, as bars: drawn from the levels that come with each chunk, so that it needs no
// sound of the page's own, which phones do not give.

import { place } from "./layer.js";

const BARS = 21; // the one in the middle is now, those beside it were a moment ago
const WIDTH = 126; // px
const HEIGHT = 36;
const BAR = 3;
const QUIET_DB = -50; // what is quieter shows nothing
const LOUD_DB = -8;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

const STYLE = `
.visualizer {
  flex: none;
  opacity: 0;
  transition: opacity 200ms;
}
.visualizer.shown {
  opacity: 1;
}
.player .visualizer canvas {
  position: static;
  display: block;
  width: ${WIDTH}px;
  height: ${HEIGHT}px;
  border-radius: 999px;
  background: var(--veil);
}
`;

export class Extra {
  #tracks;
  #element;
  #context;
  #past = [];

  constructor({ root, tracks }) {
    this.#tracks = tracks;
    this.#element = place(root, "visualizer", STYLE);
    const canvas = document.createElement("canvas");
    const ratio = Math.min(3, devicePixelRatio || 1);
    canvas.width = WIDTH * ratio;
    canvas.height = HEIGHT * ratio;
    canvas.setAttribute("aria-hidden", "true");
    this.#element.append(canvas);
    this.#context = canvas.getContext("2d");
    this.#context.scale(ratio, ratio);
    this.#context.strokeStyle = getComputedStyle(root).getPropertyValue("--accent").trim();
    this.#context.lineWidth = BAR;
    this.#context.lineCap = "round";
    this.#forget();
  }

  update() {}

  painted(speech) {
    const level = speech && this.#tracks.levelAt(speech.requestId, speech.mediaTime);
    if (level === null) return; // the loop, or a server that tells no levels
    this.#past.unshift(Math.min(1, Math.max(0, (level - QUIET_DB) / (LOUD_DB - QUIET_DB))));
    this.#past.length = (BARS + 1) / 2;
    this.#draw();
    this.#element.classList.add("shown");
  }

  silent() {
    this.#forget();
    this.#element.classList.remove("shown");
  }

  close() {
    this.#element.remove();
  }

  #forget() {
    this.#past = new Array((BARS + 1) / 2).fill(0);
  }

  #draw() {
    const context = this.#context;
    const room = HEIGHT - 14;
    const step = (WIDTH - 28 - BAR) / (BARS - 1);
    context.clearRect(0, 0, WIDTH, HEIGHT);
    for (let bar = 0; bar < BARS; bar += 1) {
      const ago = Math.abs(bar - (BARS - 1) / 2);
      // Where motion is unwelcome nothing runs outwards: all bars say the same.
      const height = Math.max(BAR, room * this.#past[STILL.matches ? 0 : ago]);
      context.globalAlpha = 1 - (0.6 * ago) / (BARS / 2);
      const x = 14 + BAR / 2 + bar * step;
      context.beginPath();
      context.moveTo(x, (HEIGHT - height + BAR) / 2);
      context.lineTo(x, (HEIGHT + height - BAR) / 2 + 0.01); // no length, no dot
      context.stroke();
    }
  }
}
