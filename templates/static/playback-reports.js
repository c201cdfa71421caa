// What this viewer has seen, told to the server: speech began, speech ended.

import { delay } from "./signals.js";

const RETRY_AFTER_MS = 500;

export class PlaybackReports {
  #url;

  /** `url` null: the server doesn't want to know. */
  constructor(url) {
    this.#url = url ?? null;
  }

  /** Its first frame was shown at `shownAt` (ms, on the clock of `performance.now()`). */
  started(requestId, shownAt) {
    void this.#send(() => ({
      request_id: requestId,
      event: "started",
      ago_ms: Math.max(0, Math.round(performance.now() - shownAt)),
    }));
  }

  /** `playedS` of it were heard; `interrupted`: it was not let finish. */
  finished(requestId, { playedS, interrupted }) {
    const played = { played_ms: Math.round(playedS * 1000), interrupted };
    void this.#send(() => ({ request_id: requestId, event: "finished", ...played }));
  }

  // Only a report: without it the server goes by its own clock. It survives the page.
  async #send(report) {
    if (this.#url === null) return;
    for (const pauseMs of [RETRY_AFTER_MS, 0]) {
      try {
        const response = await fetch(this.#url, {
          method: "POST",
          keepalive: true,
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(report()),
        });
        if (response.status < 500) return;
      } catch {
        // unreachable for now
      }
      await delay(pauseMs);
    }
  }
}
