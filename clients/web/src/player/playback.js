// Speech that is running: looked at ten times a second and kept going until it is over.

import { decide } from "./watchdog.js";

const POLL_MS = 100;
const REPLAY_EVERY_MS = 1000; // how often to insist when somebody else paused us
const FORGET_NUDGES_MS = 2000;
const NEAR_END_S = 0.5;
// Decoders read ahead: what is appended after they were told of the end may never be played. So
// they are told as late as is safe.
const CLOSE_S = 0.25;
const ROBBED_AFTER_MS = 300; // a moment, for the browser to say what it has removed
const AWAIT_NEXT_MS = 400; // on the last frame, for what is announced to follow
// Sound and picture of a chunk end a moment apart, and playback may stop a moment before.
export const END_SLACK_S = 0.3;

export class Playback {
  #parts;
  #holding = false; // paused by us: nothing left to play
  #nudges = 0;
  #nudgedAt = 0;
  #playedAt = 0;
  #time;
  #isPaused = false;
  #movedAt = performance.now();
  #wholeAt = performance.now();

  /**
   * `onTime(s)`: where playback is. `hasFailed()`: nothing more can be appended. `hasNext()`: an
   * utterance is announced that is to follow the last one. `play()`: start, aloud if possible.
   * `onEndNear(frame)`: the loop is needed soon, on that cycle frame. `onBuffering(boolean)`:
   * waiting in mid-speech.
   */
  constructor(parts) {
    this.#parts = parts;
    this.#time = parts.source.media.currentTime;
  }

  /** Resolves when the end is reached, nothing more can be done, or `signal` aborts. */
  ended(signal) {
    const { source, onBuffering } = this.#parts;
    return new Promise((resolve) => {
      const over = new AbortController();
      const finish = () => {
        over.abort();
        clearInterval(timer);
        onBuffering(false);
        resolve();
      };
      const timer = setInterval(() => this.#tick() && finish(), POLL_MS);
      signal.addEventListener("abort", finish, { signal: over.signal });
      source.media.addEventListener("ended", finish, { signal: over.signal });
      if (signal.aborted) finish();
    });
  }

  /** True when it is over. */
  #tick() {
    const { source, run, onTime, onEndNear } = this.#parts;
    const now = performance.now();
    if (source.isLost || this.#isRobbed(now)) return true;
    onTime(source.media.currentTime);
    const { utterance } = run.current;
    utterance.load();
    utterance.giveUpMissing(now);
    this.#notice(now);
    if (run.isDrained) {
      const isAwaited = this.#isNextAwaited(now);
      if (this.#left < CLOSE_S && !isAwaited) source.end();
      if (this.#left < NEAR_END_S && !isAwaited && utterance.resumeFrame !== null) {
        onEndNear(utterance.resumeFrame);
      }
      if (this.#left < CLOSE_S && isAwaited) return false;
    }
    return this.#act(this.#observe(now), now);
  }

  // What was to be played is gone, and nobody said so: it is not being appended again.
  #isRobbed(now) {
    const { source, run } = this.#parts;
    const isWhole = run.isRefilling || endOf(source) >= run.end - END_SLACK_S;
    if (isWhole) this.#wholeAt = now;
    return now - this.#wholeAt > ROBBED_AFTER_MS;
  }

  /** s, of what is there to be played. */
  get #left() {
    const { source, run } = this.#parts;
    return Math.min(run.end, endOf(source)) - source.media.currentTime;
  }

  #isNextAwaited(now) {
    return this.#parts.hasNext() && now - this.#movedAt < AWAIT_NEXT_MS;
  }

  #notice(now) {
    const { currentTime, paused } = this.#parts.source.media;
    if (currentTime === this.#time && paused === this.#isPaused) return;
    this.#time = currentTime;
    this.#isPaused = paused;
    this.#movedAt = now;
    if (now - this.#nudgedAt > FORGET_NUDGES_MS) this.#nudges = 0;
  }

  #observe(now) {
    const { source, run, hasFailed } = this.#parts;
    const { media } = source;
    return {
      currentTime: media.currentTime,
      still: (now - this.#movedAt) / 1000,
      paused: media.paused,
      seeking: media.seeking,
      holding: this.#holding,
      buffered: source.buffered,
      drained: run.isDrained || hasFailed(),
      refilling: run.isRefilling,
      selfPaced: source.isSelfPaced,
      nudges: this.#nudges,
    };
  }

  #act(seen, now) {
    const { source, counters, onBuffering, play } = this.#parts;
    const { media } = source;
    const { act, to } = decide(seen);
    if (act === "jump" || act === "nudge") {
      counters[`${act}s`] += 1;
      media.currentTime = to;
      this.#movedAt = now;
      if (act === "nudge") {
        this.#nudges += 1;
        this.#nudgedAt = now;
      }
    } else if (act === "hold") {
      counters.stalls += 1;
      this.#holding = true;
      if (!source.isSelfPaced) media.pause();
      onBuffering(true);
    } else if (act === "resume") {
      this.#holding = false;
      this.#movedAt = now;
      onBuffering(false);
      play();
    } else if (this.#isStoppedByOthers() && now - this.#playedAt > REPLAY_EVERY_MS) {
      this.#playedAt = now;
      play();
    }
    return act === "finish" || act === "recover";
  }

  // A call, a media key, a page that was in the background.
  #isStoppedByOthers() {
    const { media, isSelfPaced } = this.#parts.source;
    const isPausedByUs = this.#holding && !isSelfPaced;
    return media.paused && !media.ended && !isPausedByUs && !document.hidden;
  }
}

function endOf({ buffered }) {
  return buffered.length > 0 ? buffered[buffered.length - 1][1] : 0;
}
