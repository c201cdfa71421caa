// One utterance as the events tell it, and the loading of its chunks.

import { ChunkQueue } from "./chunk-queue.js";

export class Utterance {
  #over = new AbortController();
  #counters;
  #server;
  #loading;
  #missingSince = null;
  #isCut = false;

  /**
   * `from`: seconds already seen by others, where a page that joins late begins. `server`: the
   * address that paths of chunks are resolved against. `changed` is notified when something of it
   * moved. `loading`: how chunks are got, `aheadS` and `fetch(url, options)` (talk.js).
   */
  constructor(requestId, { epoch = 0, from = 0, server, loading, changed, counters }) {
    this.requestId = requestId;
    this.epoch = epoch; // an interruption ends all utterances of its epoch and of those before
    this.from = from;
    this.queue = new ChunkQueue();
    this.changed = changed;
    this.fps = null;
    this.mime = null;
    this.follows = null; // the utterance that this one was made to be played right behind
    this.prebuffer = 0; // s, by how much later than possible to start
    this.avatarFrame = null; // cycle frame of its first frame
    this.resumeFrame = null; // cycle frame after its last one
    this.soundDuration = null; // s, less than a frame shorter than its pictures
    this.error = null;
    this.stoppedBy = null; // "interrupted" or "cancelled"
    this.firstChunkAt = null; // ms
    this.appendedAt = null; // ms, its first chunk
    this.position = from; // s, played so far
    this.#server = server;
    this.#loading = loading;
    this.#counters = counters;
    if (from > 0) this.queue.startFrom(from);
  }

  /** Aborts when the utterance is to stop at once. */
  get signal() {
    return this.#over.signal;
  }

  /** Where what is appended of it has no more sound; the silence behind is under its last frame. */
  get soundEnd() {
    const end = this.queue.appendedEnd;
    if (this.soundDuration === null || this.fps === null) return end;
    return Math.min(end, Math.max(this.soundDuration, end - 1 / this.fps));
  }

  /** Apply an event of this utterance; events that repeat change nothing. */
  take(event) {
    if (this.#isCut) this.queue.reopen();
    this.#isCut = false;
    this.#describe(event);
    if (event.event === "chunk") this.#takeChunk(event);
    else if (event.event === "complete") {
      this.resumeFrame = event.avatar_frame ?? null;
      this.soundDuration = event.sound_duration ?? null;
      this.queue.finish(event.total_chunks);
    } else if (event.event === "error") {
      this.error = { code: event.code ?? "error", message: event.message };
      this.queue.finish(); // what was delivered still plays
    } else if (event.event === "cancelled") this.#stopBy("cancelled");
    this.changed.notify();
  }

  /** Nothing more will be announced, unless it is: the server seems to have forgotten it. */
  cutShort() {
    this.#isCut = !this.queue.isFinished;
    if (this.#isCut) this.queue.finish();
    this.changed.notify();
  }

  /** Somebody began to speak, or wants to hear something else. */
  interrupt() {
    this.#stopBy("interrupted");
    this.changed.notify();
  }

  #stopBy(reason) {
    this.stoppedBy ??= reason;
    this.stop();
  }

  stop() {
    this.#over.abort();
  }

  /** Start the fetches that are due. Called whenever something moved. */
  load() {
    if (this.signal.aborted) return;
    const horizon = this.position + this.#loading.aheadS;
    for (const chunk of this.queue.takeWanted(horizon)) void this.#fetch(chunk);
  }

  /** A chunk that was never announced although later ones were is given up after a while. */
  giveUpMissing(now, patienceMs = 3000) {
    if (this.queue.missing === null) this.#missingSince = null;
    else if (this.#missingSince === null) this.#missingSince = now;
    else if (now - this.#missingSince > patienceMs) {
      this.#missingSince = null;
      this.#counters.skipped += 1;
      this.queue.skipMissing();
      this.changed.notify();
    }
  }

  #describe(event) {
    this.fps ??= event.fps ?? null;
    this.mime ??= event.mime ?? null;
    if (event.event === "started") {
      this.follows = event.follows ?? null;
      this.prebuffer = event.prebuffer ?? 0;
      this.avatarFrame = event.avatar_frame ?? null;
    } else if (event.event === "chunk" && event.index === 0) {
      this.avatarFrame ??= event.avatar_frames?.[0] ?? null;
    }
  }

  #takeChunk(event) {
    this.firstChunkAt ??= performance.now();
    this.#counters.chunks += 1;
    if (!this.queue.add(event)) this.#counters.duplicates += 1;
    this.load();
  }

  async #fetch(chunk) {
    const bytes = await this.#loading.fetch(new URL(chunk.url, this.#server), {
      signal: this.signal,
      onRetry: () => (this.#counters.retries += 1),
    });
    if (this.signal.aborted) return;
    if (bytes !== null) this.queue.arrived(chunk, bytes);
    else {
      this.#counters.skipped += 1;
      this.queue.skip(chunk);
    }
    this.load();
    this.changed.notify();
  }
}
