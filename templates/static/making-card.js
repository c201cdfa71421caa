// The card of an avatar in the making: its picture, name, words and progress. What is in its body
// is not known here.

import { fromTemplate } from "./elements.js";
import { pictureAddress } from "./key.js";
import { localPicture } from "./local-picture.js";

export class MakingCard {
  #parts;
  #picture = null; // of a local file; released with the card

  /** `onLeave()` when somebody presses what ends it. */
  constructor(onLeave) {
    const { root, parts } = fromTemplate("making-card");
    this.root = root;
    this.#parts = parts;
    parts.leave.addEventListener("click", onLeave);
  }

  /** Put one element, or nothing, into the body. */
  show(element = null) {
    this.#parts.body.replaceChildren(...(element ? [element] : []));
  }

  set name(text) {
    this.#parts.name.textContent = text;
  }

  set words(text) {
    // Not written anew while it stays, so that it can be selected.
    if (this.#parts.words.textContent !== text) this.#parts.words.textContent = text;
    this.#parts.progress.setAttribute("aria-valuetext", text);
  }

  /** `word`: what leaving is called; null while it is under way. */
  set leaving(word) {
    this.#parts.leave.disabled = word === null;
    if (word !== null) this.#parts.leave.textContent = word;
  }

  /** 0 to 100; null hides the bar. */
  showProgress(words, percent) {
    const { progress, bar, name } = this.#parts;
    progress.hidden = percent === null;
    this.words = words;
    if (percent === null) return;
    const value = Math.min(100, Math.max(0, percent));
    // Forward it glides; from the end of the upload to the beginning of the job it jumps.
    const isBack = value < Number(progress.getAttribute("aria-valuenow"));
    bar.style.transitionDuration = isBack ? "0s" : "";
    bar.style.width = `${value}%`;
    progress.ariaLabel = `Making ${name.textContent}`;
    progress.setAttribute("aria-valuenow", String(Math.round(value)));
  }

  async showFile(file) {
    this.#picture = await localPicture(file);
    if (this.#picture) this.#parts.thumbnail.replaceChildren(this.#picture.element);
  }

  /** The server's picture, where there is no file. */
  showPicture(url) {
    if (this.#parts.thumbnail.firstChild) return;
    const image = Object.assign(new Image(), { alt: "" });
    this.#parts.thumbnail.append(image);
    void showPicture(image, url);
  }

  /** Where the keyboard is while the buttons under it go. */
  focus() {
    this.root.focus({ preventScroll: true });
  }

  /** Nobody is doing something else on the page. */
  get isWaitedFor() {
    const { activeElement } = document;
    return activeElement === document.body || this.root.contains(activeElement);
  }

  bringIntoSight() {
    const fits = this.root.offsetHeight < window.innerHeight;
    this.root.scrollIntoView({ block: fits ? "nearest" : "start" });
  }

  close() {
    this.#picture?.release();
    this.root.remove();
  }
}

async function showPicture(image, url) {
  image.src = await pictureAddress(url).catch(() => url);
  image.onload = () => URL.revokeObjectURL(image.src); // if it is one
}
