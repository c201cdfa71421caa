// How the picture fills the viewport: cropped where that costs little, else whole, before a
// blurred reflection of its edges, into which it fades.

// A face fills the middle of a portrait: its sides can go, its top and bottom can not.
const MIN_VISIBLE_WIDTH = 0.4;
const MIN_VISIBLE_HEIGHT = 0.8;
// What of the picture is reflected, of its width and of its height: there is background beside a
// head, but soon hair below its upper edge.
const SIDE = 0.1;
const END = 0.03;
const SIZE = 64; // px of the canvas: the browser smooths them, and the style blurs the rest
const OVERLAP = 24; // px by which the canvas is larger than the viewport on every side

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
  #video;
  #picture;
  #hasPicture = false;
  #observer = new ResizeObserver(() => this.#update());

  constructor({ root, canvas, video, picture }) {
    this.#root = root;
    this.#canvas = canvas;
    this.#video = video;
    this.#picture = picture;
    this.#observer.observe(root);
    this.#update();
  }

  close() {
    this.#observer.disconnect();
  }

  paint() {
    this.#hasPicture = true;
    this.#update();
    this.#canvas.classList.add("shown");
  }

  #update() {
    const { clientWidth: width, clientHeight: height } = this.#root;
    this.#root.dataset.fit = fit(this.#picture, { width, height });
    const isWide = width / height > this.#picture.width / this.#picture.height;
    const isBare = !this.#hasPicture || this.#root.dataset.fit === "cover";
    const { bar, length } = bars(this.#picture, { width, height }, isWide);
    // The style fades the picture's edges where there is something beside it.
    if (isBare || bar < 1) delete this.#root.dataset.bars;
    else this.#root.dataset.bars = isWide ? "sides" : "ends";
    this.#root.style.setProperty("--bar", `${bar}px`);
    if (!isBare) this.#paint(isWide, (SIZE * (bar + OVERLAP)) / (length + 2 * OVERLAP));
  }

  // The picture at its place, and the strips along its edges reflected outwards: colours go on
  // without a seam. `margin` is the room beside the picture, in pixels of the canvas.
  #paint(isWide, margin) {
    const { videoWidth, videoHeight } = this.#video;
    const canvas = this.#canvas;
    canvas.width = SIZE;
    canvas.height = SIZE;
    const context = canvas.getContext("2d");
    const length = isWide ? videoWidth : videoHeight;
    const strip = length * (isWide ? SIDE : END);
    const draw = (from, extent, to, room) => {
      if (isWide) context.drawImage(this.#video, from, 0, extent, videoHeight, to, 0, room, SIZE);
      else context.drawImage(this.#video, 0, from, videoWidth, extent, 0, to, SIZE, room);
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
