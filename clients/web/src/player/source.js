// One MediaSource with one muxed SourceBuffer: opened, appended to one chunk at a time, relieved of
// what has been played, ended, and taken apart again. What it is to the player: source-kinds.js.

const OPEN_TIMEOUT_MS = 3000;
const LOOK_EVERY_MS = 100;
// A chunk waits on the server until shortly before it is needed: a long talk fits into memory.
const AHEAD_S = 60;
const AHEAD_UNASKED_S = 10; // while a managed source wants no more: enough to play without a stall
const EVICT_WHEN_BEHIND_S = 30;
const KEEP_BEHIND_S = 10;

/** The MediaSource class of this browser, or null. iPhones have only the managed kind. */
export function mediaSourceClass() {
  return self.MediaSource ?? self.ManagedMediaSource ?? null;
}

export class MediaFailure extends Error {}

export class MseSource {
  #video;
  #counters;
  #onRemoved;
  #media;
  #url;
  #buffer = null;
  #isEndSaid = false;
  #listeners = new AbortController();

  isSelfPaced = false;

  /** `onRemoved()`: the browser has removed something, perhaps what is still to be played. */
  constructor({ video, counters, onRemoved }) {
    const MediaSourceClass = mediaSourceClass();
    if (MediaSourceClass === null) throw new MediaFailure("This browser has no MediaSource.");
    this.#video = video;
    this.#counters = counters;
    this.#onRemoved = onRemoved;
    this.#media = new MediaSourceClass();
    this.#url = URL.createObjectURL(this.#media);
    // A managed source never opens on an element that might still be sent to a television.
    if (!self.MediaSource) video.disableRemotePlayback = true;
    video.src = this.#url;
    video.load(); // phones load nothing unasked
  }

  get media() {
    return this.#video;
  }

  timeOf(mediaTime) {
    return mediaTime;
  }

  /** Opened ahead of the first chunk. Rejects after a while: some browsers never open it. */
  opened() {
    if (this.isOpen) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const { signal } = this.#listeners;
      const until = performance.now() + OPEN_TIMEOUT_MS;
      const settle = (act) => {
        clearInterval(timer);
        URL.revokeObjectURL(this.#url);
        act();
      };
      const timer = setInterval(() => {
        if (performance.now() < until && !this.#isBroken) return;
        settle(() => reject(new MediaFailure("The player could not be opened.")));
      }, LOOK_EVERY_MS);
      this.#media.addEventListener("sourceopen", () => settle(resolve), { once: true, signal });
      signal.addEventListener("abort", () => settle(() => reject(new MediaFailure("closed"))));
    });
  }

  get isOpen() {
    return this.#media.readyState === "open";
  }

  // Safari's managed sources may end by themselves, without an event (WebKit bug 305712).
  get #isBroken() {
    return this.#media.readyState === "ended" && !this.#isEndSaid;
  }

  get isStarted() {
    return this.#buffer !== null;
  }

  /** True when the browser took the source away (page cache, memory, a decoding error). */
  get isLost() {
    const isClosed = this.#media.readyState === "closed";
    return isClosed || this.#isBroken || this.#video.error !== null;
  }

  /** s ahead of what is played. A managed source says when it wants more, which saves power. */
  get aheadS() {
    return this.#media.streaming === false ? AHEAD_UNASKED_S : AHEAD_S;
  }

  /** Declare what will be appended. */
  start({ mime }) {
    try {
      this.#buffer = this.#media.addSourceBuffer(mime);
      this.#buffer.mode = "segments";
      // Safari stops at an underflow when the duration is finite.
      this.#media.duration = Infinity;
      this.#buffer.addEventListener(
        "bufferedchange", // of managed ones only: they may remove anything at any time
        ({ removedRanges }) => removedRanges?.length > 0 && this.#onRemoved(),
        { signal: this.#listeners.signal },
      );
    } catch (error) {
      throw new MediaFailure(`The player could not be started: ${error.message}`);
    }
  }

  /**
   * Append one chunk of what begins at `offset` (s); resolves when it is in. False: there is no
   * room now, try the same again when playback has moved on. Raises MediaFailure if the source is
   * of no more use.
   */
  async append({ bytes }, offset) {
    if (this.#video.currentTime - this.#firstBuffered > EVICT_WHEN_BEHIND_S) {
      await this.#evict(KEEP_BEHIND_S);
    }
    if (await this.#tryAppend(bytes, offset)) return true;
    this.#counters.quota_hits += 1;
    await this.#evict(1);
    return this.#tryAppend(bytes, offset);
  }

  async #tryAppend(bytes, offset) {
    try {
      await this.#update(() => {
        if (this.#buffer.timestampOffset !== offset) this.#buffer.timestampOffset = offset;
        this.#buffer.appendBuffer(bytes);
      });
      return true;
    } catch (error) {
      if (error.name === "QuotaExceededError") return false;
      throw new MediaFailure(`The video could not be read: ${error.message}`);
    }
  }

  get #firstBuffered() {
    const ranges = this.buffered;
    return ranges.length > 0 ? ranges[0][0] : 0;
  }

  async #evict(keepS) {
    const end = this.#video.currentTime - keepS;
    if (end <= this.#firstBuffered) return;
    this.#counters.evictions += 1;
    await this.#update(() => this.#buffer.remove(0, end));
  }

  /** Take out what is not to be played: all from `start` (s) on. */
  async cut(start) {
    if (this.buffered.every(([, end]) => end <= start)) return;
    try {
      await this.#update(() => this.#buffer.remove(start, Infinity));
    } catch (error) {
      throw new MediaFailure(`The video could not be cut: ${error.message}`);
    }
  }

  #update(act) {
    return new Promise((resolve, reject) => {
      const over = new AbortController();
      const { signal } = over;
      const fail = (message) => () => {
        over.abort();
        reject(new Error(message));
      };
      const done = () => {
        over.abort();
        resolve();
      };
      this.#buffer.addEventListener("updateend", done, { signal });
      this.#buffer.addEventListener("error", fail("rejected by the decoder"), { signal });
      this.#media.addEventListener("sourceclose", fail("the player was closed"), { signal });
      this.#listeners.signal.addEventListener("abort", fail("the player was closed"), { signal });
      try {
        act();
      } catch (error) {
        over.abort();
        reject(error);
      }
    });
  }

  /** Say that nothing more comes, so that playback can end. */
  end() {
    if (!this.isOpen || !this.#buffer || this.#buffer.updating) return;
    this.#isEndSaid = true;
    this.#media.endOfStream();
  }

  /** Once that was said, what is appended may come too late for the decoders. */
  get takesMore() {
    return this.#media.readyState !== "ended";
  }

  /** Buffered ranges as `[[start, end], …]` in seconds. */
  get buffered() {
    try {
      return rangesOf(this.#buffer?.buffered);
    } catch {
      return []; // the buffer was removed together with its source
    }
  }

  /** Let go of everything. The element keeps its last picture until it gets another source. */
  close() {
    this.#listeners.abort();
    URL.revokeObjectURL(this.#url);
    this.#buffer = null;
  }
}

function rangesOf(timeRanges) {
  if (!timeRanges) return [];
  return Array.from({ length: timeRanges.length }, (_, i) => [
    timeRanges.start(i),
    timeRanges.end(i),
  ]);
}
