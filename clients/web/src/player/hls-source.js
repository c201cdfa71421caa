// Speech by its playlist, for browsers that play those and know no MediaSource: iPhones before iOS
// 17.1, some televisions. The browser fetches by itself, and what it has it need not say: what has
// been announced counts as there once it can play at all.

import { delay } from "./signals.js";
import { MediaFailure } from "./source.js";

const LOOK_EVERY_MS = 50;
const UNASKED_MS = 500;
const PATIENCE_MS = 15_000; // as with a chunk

export class HlsSource {
  #video;
  #listUrl;
  #onRefused;
  #patienceMs;
  #refusedAt = 0; // ms, when it last wanted a gesture before it loads anything
  #listeners = new AbortController();
  #position = 0; // s, where to begin
  #announced = null; // [start, end], s

  isStarted = false;
  isSelfPaced = true;
  takesMore = false; // a list is of one utterance
  aheadS = Infinity; // chunks are announced here, not fetched

  /** `onRefused()`: nothing is loaded before there was a gesture. */
  constructor({ video, listUrl, onRefused, patienceMs = PATIENCE_MS }) {
    this.#video = video;
    this.#listUrl = listUrl;
    this.#onRefused = onRefused;
    this.#patienceMs = patienceMs;
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
    void this.#insist(signal);
  }

  #seek() {
    if (Math.abs(this.#video.currentTime - this.#position) < 0.01) return;
    this.#video.currentTime = this.#position;
  }

  get #isLoading() {
    return this.#video.readyState >= HTMLMediaElement.HAVE_METADATA || !this.#video.paused;
  }

  // Phones load nothing of what is not played; without sound most let anybody play it.
  async #insist(signal) {
    const video = this.#video;
    await delay(UNASKED_MS, signal);
    if (signal.aborted || this.#isLoading) return;
    const stop = () => {
      video.pause();
      this.#seek();
    };
    video.addEventListener("loadeddata", stop, { once: true, signal });
    while (!signal.aborted && !this.#isLoading) {
      video.muted = true;
      await video.play().catch((error) => this.#takeRefusal(error));
      await delay(UNASKED_MS, signal);
    }
  }

  #takeRefusal({ name }) {
    if (name !== "NotAllowedError") return; // paused or replaced meanwhile
    if (this.#refusedAt === 0) this.#onRefused();
    this.#refusedAt = performance.now();
  }

  async append({ start, duration }, offset, signal) {
    const askedAt = performance.now();
    while (this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
      if (this.isLost) throw new MediaFailure(`The list could not be played: ${this.#complaint}`);
      if (signal.aborted || this.#listeners.signal.aborted) return false;
      const waitedMs = performance.now() - Math.max(askedAt, this.#refusedAt);
      if (waitedMs > this.#patienceMs) throw new MediaFailure("The list was not answered.");
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
