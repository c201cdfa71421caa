// How the picture, or the part of it that is asked for, fills the viewport: cropped where that
// costs little, else whole, before a blurred reflection of its edges, into which it fades.

import { parseCrop } from "./options.js";

// A face fills the middle of a portrait: its sides can go, its top and bottom can not.
const MIN_VISIBLE_WIDTH = 0.4;
const MIN_VISIBLE_HEIGHT = 0.8;
// What of the picture is reflected, of its width and of its height: there is background beside a
// head, but soon hair below its upper edge.
const SIDE = 0.1;
const END = 0.03;
const SIZE = 64; // px of the canvas: the browser smooths them, and the style blurs the rest
const OVERLAP = 24; // px by which the canvas is larger than the viewport on every side
const ALL = { x: 0, y: 0, width: 1, height: 1 };
const ABOVE = 0.3; // of what is cut off: faces are in the upper half

/** "cover" or "contain" for a picture in a viewport; both arguments are `{width, height}`. */
export function fit(picture, viewport) {
  const ratio = viewport.width / viewport.height / (picture.width / picture.height);
  const isCovered = ratio < 1 ? ratio >= MIN_VISIBLE_WIDTH : 1 / ratio >= MIN_VISIBLE_HEIGHT;
  return isCovered ? "cover" : "contain";
}

/** Keep fit and backdrop right while the viewport changes. Call `paint` once there is a picture. */
export class Backdrop {
  #root;
  #canvas;
  #picture;
  #options;
  #source = null; // {image, width, height}
  #observer = new ResizeObserver(() => this.update());

  /** `options`: `fit` and `crop` are looked at whenever something changes. */
  constructor({ root, canvas, picture, options }) {
    this.#root = root;
    this.#canvas = canvas;
    this.#picture = picture;
    this.#options = options;
    this.#observer.observe(root);
    this.update();
  }

  close() {
    this.#observer.disconnect();
  }

  /** `image`: what the picture is, `width` and `height` in its own pixels. */
  paint(image, { width, height }) {
    this.#source = { image, width, height };
    this.update();
    this.#canvas.classList.add("shown");
  }

  update() {
    const { clientWidth: width, clientHeight: height } = this.#root;
    const { crop } = this.#options;
    const part = crop === null ? ALL : parseCrop(crop);
    const seen = {
      width: this.#picture.width * part.width,
      height: this.#picture.height * part.height,
    };
    const asked = this.#options.fit;
    this.#root.dataset.fit = asked === "auto" ? fit(seen, { width, height }) : asked;
    const isWide = width / height > seen.width / seen.height;
    const isBare = this.#source === null || this.#root.dataset.fit === "cover";
    const { bar, length } = bars(seen, { width, height }, isWide);
    // The style fades the picture's edges where there is something beside it.
    if (isBare || bar < 1) delete this.#root.dataset.bars;
    else this.#root.dataset.bars = isWide ? "sides" : "ends";
    this.#root.toggleAttribute("data-crop", crop !== null);
    this.#place(part, seen, { width, height }, isWide, bar);
    const margin = (SIZE * (bar + OVERLAP)) / (length + 2 * OVERLAP);
    if (!isBare) this.#paint(isWide, margin, part);
  }

  // Of a part, browsers know nothing: all of the picture is put where that is at the right place.
  #place(part, seen, viewport, isWide, bar) {
    const set = (name, px) => this.#root.style.setProperty(`--${name}`, `${px}px`);
    set("start", bar);
    set("end", bar);
    if (part === ALL) return;
    const isCovered = this.#root.dataset.fit === "cover";
    const scales = [viewport.width / seen.width, viewport.height / seen.height];
    const scale = isCovered ? Math.max(...scales) : Math.min(...scales);
    const width = scale * this.#picture.width;
    const height = scale * this.#picture.height;
    const above = (viewport.height - scale * seen.height) * (isCovered ? ABOVE : 0.5);
    set("width", width);
    set("height", height);
    set("left", (viewport.width - scale * seen.width) / 2 - part.x * width);
    set("top", above - part.y * height);
    const right = 1 - part.x - part.width;
    const bottom = 1 - part.y - part.height;
    const insets = [part.y, right, bottom, part.x].map((share) => `${100 * Math.max(0, share)}%`);
    this.#root.style.setProperty("--clip", `inset(${insets.join(" ")})`);
    set("start", isWide ? part.x * width : part.y * height);
    set("end", isWide ? right * width : bottom * height);
  }

  // The picture at its place, and the strips along its edges reflected outwards: colours go on
  // without a seam. `margin` is the room beside the picture, in pixels of the canvas.
  #paint(isWide, margin, part) {
    const { image, width, height } = this.#source;
    const canvas = this.#canvas;
    canvas.width = SIZE;
    canvas.height = SIZE;
    const context = canvas.getContext("2d");
    const [left, top] = [part.x * width, part.y * height];
    const [across, down] = [part.width * width, part.height * height];
    const length = isWide ? across : down;
    const strip = length * (isWide ? SIDE : END);
    const draw = (from, extent, to, room) => {
      if (isWide) context.drawImage(image, left + from, top, extent, down, to, 0, room, SIZE);
      else context.drawImage(image, left, top + from, across, extent, 0, to, SIZE, room);
    };
    draw(0, length, margin, SIZE - 2 * margin);
    const reflect = (axis) => {
      if (isWide) context.setTransform(-1, 0, 0, 1, 2 * axis, 0);
      else context.setTransform(1, 0, 0, -1, 0, 2 * axis);
    };
    reflect(margin);
    draw(0, strip, margin, margin);
    reflect(SIZE - margin);
    draw(length - strip, strip, SIZE - 2 * margin, margin);
  }
}

/** The room on either side of a picture shown whole, and the viewport's length there (px). */
function bars(picture, viewport, isWide) {
  const scale = isWide ? viewport.height / picture.height : viewport.width / picture.width;
  const length = isWide ? viewport.width : viewport.height;
  const shown = scale * (isWide ? picture.width : picture.height);
  return { bar: Math.max(0, (length - shown) / 2), length };
}
