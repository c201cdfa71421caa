// How loud speech is, as the app or the viewer chose. Whether the browser lets it be heard at all
// is found out where it begins.

import { fadeOut } from "./fade.js";

export class Sound {
  #video;
  #volume = 1;
  #isMuted = false;
  #isFading = false;

  constructor(video) {
    this.#video = video;
  }

  get isMuted() {
    return this.#isMuted;
  }

  /** 0 … 1. iPhones leave it to their buttons. */
  set volume(volume) {
    this.#volume = volume;
    if (!this.#isFading) this.#video.volume = volume;
  }

  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    if (!this.#isFading) this.#video.muted = isMuted;
  }

  /** As chosen, after it was faded out, or muted by the browser's wish. */
  restore() {
    this.#video.volume = this.#volume;
    this.#video.muted = this.#isMuted;
  }

  /** Silence within a moment; speech is paused then. */
  async fadeOut() {
    this.#isFading = true;
    await fadeOut(this.#video);
    this.#isFading = false;
  }
}
