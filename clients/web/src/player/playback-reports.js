// What this viewer has seen, told to the server: speech began, stood still, ended. Each once.

import { Wakeup } from "./signals.js";

const RETRY_AFTER_MS = [500, 1000, 2000, 4000, 8000];
const MAX_WAITING = 20; // reports that could not be told yet; more of them are left out
const TOLD_KEPT = 100;
const FIRST_FRAME_MAX_MS = 600_000; // more is no measure of anything: a page that was asleep

export class PlaybackReports {
  #address;
  #told = [];
  #waiting = 0;
  #isClosed = false;
  #connected = new Wakeup();

  /** `address()`: where to, now. */
  constructor(address) {
    this.#address = address;
  }

  /**
   * Its first frame was shown at `shownAt` (ms, on the clock of `performance.now()`), and it was
   * announced at `announcedAt`; null if that was not heard.
   */
  started(requestId, shownAt, announcedAt) {
    const firstFrameMs = announcedAt === null ? Infinity : Math.round(shownAt - announcedAt);
    this.#report(requestId, "started", () => ({
      ago_ms: Math.max(0, Math.round(performance.now() - shownAt)),
      ...(firstFrameMs <= FIRST_FRAME_MAX_MS && { first_frame_ms: Math.max(0, firstFrameMs) }),
    }));
  }

  /** It stood still for want of more, for that long; `count`: how many times by now. */
  stalled(requestId, stalledMs, count) {
    const stalled = { stalled_ms: Math.round(stalledMs) };
    this.#report(requestId, "stalled", () => stalled, count);
  }

  /** `playedS` of it were heard; `interrupted`: it was not let finish. */
  finished(requestId, { playedS, interrupted }) {
    const played = { played_ms: Math.round(playedS * 1000), interrupted };
    this.#report(requestId, "finished", () => played);
  }

  /** Nothing is reported from now on but what waits to be told. */
  close() {
    this.#isClosed = true;
  }

  /** The server can be reached again: what could not be told is told now. */
  retry() {
    this.#connected.notify();
  }

  #report(requestId, event, fields, count = 1) {
    const key = `${event} ${requestId} ${count}`;
    const isRefused = this.#isClosed || this.#waiting === MAX_WAITING;
    if (isRefused || this.#told.includes(key)) return;
    this.#told.push(key);
    if (this.#told.length > TOLD_KEPT) this.#told.shift();
    void this.#send(() => ({ request_id: requestId, event, ...fields() }));
  }

  // Without a report the server goes by its own clock.
  async #send(report) {
    this.#waiting += 1;
    for (const pauseMs of [...RETRY_AFTER_MS, 0]) {
      if (await this.#isSent(report())) break;
      await this.#connected.wait(null, pauseMs);
    }
    this.#waiting -= 1;
  }

  async #isSent(report) {
    try {
      const response = await fetch(this.#address(), {
        method: "POST",
        keepalive: true, // it survives the page
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(report),
      });
      return response.status < 500;
    } catch {
      return false; // unreachable for now
    }
  }
}
