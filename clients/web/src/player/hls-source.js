// Speech by its playlist, for browsers that play those and know no MediaSource: iPhones before iOS
// 17.1, some televisions. The browser fetches by itself, and what it has it need not say: what has
// been announced counts as there once it can play at all.

import { delay } from "./signals.js";
import { MediaFailure } from "./source.js";

const LOOK_EVERY_MS = 50;
const UNASKED_MS = 500;

export class HlsSource {
  #video;
  #listUrl;
  #listeners = new AbortController();
  #position = 0; // s, where to begin
  #announced = null; // [start, end], s

  isStarted = false;
  isSelfPaced = true;
  takesMore = false; // a list is of one utterance
  aheadS = Infinity; // chunks are announced here, not fetched

  constructor({ video, listUrl }) {
    this.#video = video;
    this.#listUrl = listUrl;
    video.removeAttribute("src"); // and with it the error of the last one
    video.load();
  }

  get media() {
    return this.#video;
  }

  async opened() {}

  get isLost() {
    return this.#video.error !== null;
  }

  start({ requestId, position }) {
    const video = this.#video;
    const { signal } = this.#listeners;
    this.isStarted = true;
    this.#position = position;
    // Lists that grow are begun near their end, unless one says otherwise.
    video.addEventListener("loadedmetadata", () => this.#seek(), { once: true, signal });
    video.src = this.#listUrl(requestId);
    video.load();
    void delay(UNASKED_MS, signal).then(() => this.#insist(signal));
  }

  #seek() {
    if (Math.abs(this.#video.currentTime - this.#position) < 0.01) return;
    this.#video.currentTime = this.#position;
  }

  // Phones load nothing of what is not played; without sound they let anybody play it.
  async #insist(signal) {
    const video = this.#video;
    const isLoading = video.readyState >= HTMLMediaElement.HAVE_METADATA || !video.paused;
    if (signal.aborted || isLoading) return;
    video.muted = true;
    video.addEventListener(
      "loadeddata",
      () => {
        video.pause();
        this.#seek();
      },
      { once: true, signal },
    );
    await video.play().catch(() => {}); // the tap for sound is the next chance
  }

  async append({ start, duration }, offset, signal) {
    while (this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
      if (this.isLost) throw new MediaFailure(`The list could not be played: ${this.#complaint}`);
      if (signal.aborted || this.#listeners.signal.aborted) return false;
      await delay(LOOK_EVERY_MS, signal);
    }
    this.#announced ??= [offset + start];
    this.#announced[1] = offset + start + duration;
    return true;
  }

  get #complaint() {
    return this.#video.error.message || `error ${this.#video.error.code}`;
  }

  cut() {} // nothing is behind

  end() {} // the list says so

  get buffered() {
    return this.#announced === null ? [] : [[...this.#announced]];
  }

  timeOf(mediaTime) {
    return mediaTime;
  }

  /** The element keeps its last picture until it gets another source. */
  close() {
    this.#listeners.abort();
  }
}
