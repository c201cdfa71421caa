// What is seen until the loop is there: the first picture of it, or one of the app's.

const UNTIL_COVERED_MS = 300; // the loop comes softly

export class Poster {
  #image;
  #onPainted;
  #onError;

  /**
   * `onPainted(image)`: the avatar's own picture is there. `onError(message)`: what the app gave
   * can't be shown.
   */
  constructor({ image, onPainted, onError }) {
    this.#image = image;
    this.#onPainted = onPainted;
    this.#onError = onError;
  }

  /**
   * `own`: the address of the avatar's picture, if it has one; `background`: whether that of the
   * picture is not to be seen, and so nor is the picture.
   */
  show({ poster, background }, own) {
    const image = this.#image;
    const address = poster ?? (background === null ? own : null) ?? "none";
    image.onload = image.onerror = null; // of another one that is on its way
    image.removeAttribute("src");
    image.hidden = true;
    if (address === "none") return;
    image.onload = () => {
      image.hidden = false;
      if (poster === null) this.#onPainted(image);
    };
    image.onerror = () => {
      if (poster !== null) this.#onError(`The poster ${poster.slice(0, 100)} could not be shown.`);
    };
    image.src = address;
  }

  /** The loop is there. */
  cover() {
    this.#image.onload = null;
    setTimeout(() => {
      this.#image.hidden = true;
      this.#image.removeAttribute("src");
    }, UNTIL_COVERED_MS);
  }
}
