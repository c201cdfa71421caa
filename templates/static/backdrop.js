// How the picture fills the viewport: cropped where that costs little, else whole, before a
// blurred continuation of its edges.

// A face fills the middle of a portrait: its sides can go, its top and bottom can not.
const MIN_VISIBLE_WIDTH = 0.4;
const MIN_VISIBLE_HEIGHT = 0.8;
const EDGE = 0.06; // of the picture's width or height

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

  constructor({ root, canvas, video, picture }) {
    this.#root = root;
    this.#canvas = canvas;
    this.#video = video;
    this.#picture = picture;
    new ResizeObserver(() => this.#update()).observe(root);
    this.#update();
  }

  paint() {
    this.#hasPicture = true;
    this.#update();
    this.#canvas.classList.add("shown");
  }

  #update() {
    const { clientWidth: width, clientHeight: height } = this.#root;
    this.#root.dataset.fit = fit(this.#picture, { width, height });
    if (this.#hasPicture) this.#paintEdges(width / height > this.#picture.width / this.#picture.height);
  }

  // What surrounds the picture goes on with the colours of its edges. A few pixels are enough:
  // the browser smooths them, and the style blurs the rest.
  #paintEdges(isWide) {
    const { videoWidth: w, videoHeight: h } = this.#video;
    const canvas = this.#canvas;
    canvas.width = 32;
    canvas.height = 32;
    const context = canvas.getContext("2d");
    const edge = (isWide ? w : h) * EDGE;
    if (isWide) {
      context.drawImage(this.#video, 0, 0, edge, h, 0, 0, 16, 32);
      context.drawImage(this.#video, w - edge, 0, edge, h, 16, 0, 16, 32);
    } else {
      context.drawImage(this.#video, 0, 0, w, edge, 0, 0, 32, 16);
      context.drawImage(this.#video, 0, h - edge, w, edge, 0, 16, 32, 16);
    }
  }
}
