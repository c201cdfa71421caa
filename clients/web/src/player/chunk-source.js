// Speech chunk by chunk, each a film of its own, for browsers that know neither MediaSource nor
// playlists. Between two of them there is a moment without sound and with a still picture.

import { rebased } from "./rebase.js";
import { nextFrame } from "./signals.js";
import { Still } from "./still.js";

const MIME = "video/mp4";
const JOIN_S = 0.05; // a hole smaller than this is none
const PAINT_TIMEOUT_MS = 500;

/** Its `media` is itself: one time line, and playback that goes on from film to film. */
export class ChunkSource extends EventTarget {
  #video;
  #still;
  #films = []; // {start, end, url}, s on the time line, in order; those played are gone
  #isLoaded = false; // the first of them, to where it can be played
  #isShown = false; // the first of them is what the element has
  #isPlaying = false; // or would be, were there anything to play
  #isEndSaid = false;
  #soughtAt = 0; // s, where playback is to go on as soon as that is loaded
  #listeners = new AbortController();

  isStarted = false;
  isSelfPaced = false;
  aheadS = 20;

  constructor({ video }) {
    super();
    this.#video = video;
    this.#still = new Still(video);
    video.removeAttribute("src"); // and with it the error of the last one
    video.load();
    const { signal } = this.#listeners;
    video.addEventListener("loadeddata", () => (this.#isLoaded = this.#isShown), { signal });
    video.addEventListener("ended", () => this.#isPlaying && void this.#tryToGoOn(), { signal });
  }

  get media() {
    return this;
  }

  async opened() {}

  get isLost() {
    return this.#isShown && this.#video.error !== null;
  }

  start({ position }) {
    this.isStarted = true;
    this.#soughtAt = position;
  }

  async append({ bytes, start, duration }, offset) {
    const url = URL.createObjectURL(new Blob([rebased(bytes)], { type: MIME }));
    const from = offset + start;
    this.#films.push({ start: from, end: from + duration, url });
    if (!this.#isShown) this.#show(this.#films[0], Math.max(from, this.#soughtAt));
    else if (this.#isPlaying && this.#video.ended) void this.#tryToGoOn();
    return true;
  }

  async cut(start) {
    const isKept = (film, index) => index === 0 || film.start < start - JOIN_S;
    this.#release(this.#films.filter((film, index) => !isKept(film, index)));
    this.#films = this.#films.filter(isKept);
  }

  end() {
    this.#isEndSaid = true;
  }

  get takesMore() {
    return !this.#isEndSaid;
  }

  get buffered() {
    const ranges = [];
    for (const { start, end } of this.#films) {
      const last = ranges[ranges.length - 1];
      if (last !== undefined && start - last[1] < JOIN_S) last[1] = end;
      else ranges.push([start, end]);
    }
    return ranges;
  }

  timeOf(mediaTime) {
    if (!this.#isLoaded) return this.#soughtAt;
    const [{ start, end }] = this.#films;
    // Told of late, it is of the film before: no picture is ahead of the clock.
    return Math.min(start + Math.min(mediaTime, this.#video.currentTime), end);
  }

  close() {
    this.#listeners.abort();
    this.#isPlaying = false;
    this.#still.hide();
    this.#release(this.#films);
    this.#films = [];
    this.#isShown = false;
    this.#isLoaded = false;
  }

  // ---- as a media element ----

  get currentTime() {
    if (!this.#isLoaded) return this.#soughtAt;
    return this.ended ? this.#films[0].end : this.timeOf(this.#video.currentTime);
  }

  set currentTime(time) {
    const begun = this.#films.filter(({ start }) => start <= time);
    const film = begun[begun.length - 1] ?? this.#films[0];
    if (film !== this.#films[0] || !this.#isLoaded) this.#show(film, time);
    else this.#video.currentTime = time - film.start;
  }

  /** By us, or by somebody else while there is something to play. */
  get paused() {
    return !this.#isPlaying || (this.#isLoaded && this.#video.paused && !this.#video.ended);
  }

  get seeking() {
    return this.#video.seeking || (this.#isShown && !this.#isLoaded);
  }

  get ended() {
    return this.#isLoaded && this.#video.ended;
  }

  async play() {
    this.#isPlaying = true;
    if (!this.ended) await this.#video.play();
    else if (this.#films.length > 1) await this.#goOn();
  }

  pause() {
    this.#isPlaying = false;
    this.#video.pause();
  }

  // Refused, it stands still as if somebody had paused it; interrupted, somebody has.
  async #tryToGoOn() {
    await this.#goOn().catch(() => {});
  }

  /** To the next film, as soon as there is one. */
  async #goOn() {
    const next = this.#films[1];
    if (next !== undefined) {
      this.#show(next, next.start);
      await this.#video.play();
    } else if (this.#isEndSaid) this.dispatchEvent(new Event("ended"));
  }

  #show(film, time) {
    if (this.#isShown) this.#still.show();
    const at = this.#films.indexOf(film);
    this.#release(this.#films.slice(0, at));
    this.#films = this.#films.slice(at);
    this.#isLoaded = false;
    this.#isShown = true;
    this.#soughtAt = time;
    this.#video.src = film.url;
    if (time > film.start) this.#video.currentTime = time - film.start;
    void this.#uncover();
  }

  async #uncover() {
    const film = this.#films[0];
    await nextFrame(this.#video, PAINT_TIMEOUT_MS, this.#listeners.signal);
    if (this.#films[0] === film) this.#still.hide();
  }

  #release(films) {
    for (const { url } of films) URL.revokeObjectURL(url);
  }
}
