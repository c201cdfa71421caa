// Loops that move while they are in sight, and stand still where motion is not wanted.
//
// Each is fetched whole, two at a time: a video that streams keeps a connection, a browser has six
// for a server, and the page needs some for itself.

import { fetchWithKey } from "./key.js";

const AT_ONCE = 2;

export class Thumbnails {
  #still = matchMedia("(prefers-reduced-motion: reduce)");
  #inSight = new Set();
  #waiting = new Map(); // video -> url
  #running = 0;
  #observer = new IntersectionObserver((changes) => this.#look(changes), { rootMargin: "80px" });

  constructor() {
    this.#still.addEventListener("change", () => this.#playAll());
    document.addEventListener("visibilitychange", () => this.#playAll());
  }

  add(video, url) {
    this.#waiting.set(video, url);
    this.#observer.observe(video);
  }

  remove(video) {
    this.#observer.unobserve(video);
    this.#waiting.delete(video);
    this.#inSight.delete(video);
    if (video.src) URL.revokeObjectURL(video.src);
  }

  #look(changes) {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) this.#inSight.add(target);
      else this.#inSight.delete(target);
      this.#play(target);
    }
    this.#fetchNext();
  }

  #fetchNext() {
    for (const [video, url] of this.#waiting) {
      if (this.#running === AT_ONCE) return;
      if (!this.#inSight.has(video)) continue;
      this.#waiting.delete(video);
      void this.#fetch(video, url);
    }
  }

  async #fetch(video, url) {
    this.#running += 1;
    try {
      const answer = await fetchWithKey(url);
      if (!answer.ok) return; // deleted meanwhile, or soon: its initial stays
      const source = URL.createObjectURL(await answer.blob());
      if (!video.isConnected) URL.revokeObjectURL(source);
      else {
        video.src = source;
        this.#play(video);
      }
    } catch {
      // No network: the list itself tells that.
    } finally {
      this.#running -= 1;
      this.#fetchNext();
    }
  }

  #playAll() {
    for (const video of this.#inSight) this.#play(video);
  }

  #play(video) {
    if (!video.src) return;
    const moves = this.#inSight.has(video) && !this.#still.matches && !document.hidden;
    // Refused to save power, or interrupted by `pause`: it shows its first picture.
    if (moves) video.play().catch(() => {});
    else video.pause();
  }
}
