// Speech that is running: looked at ten times a second and kept going until it is over.

import { decide } from "./watchdog.js";

const POLL_MS = 100;
const REPLAY_EVERY_MS = 1000; // how often to insist when somebody else paused us
const FORGET_NUDGES_MS = 2000;
const NEAR_END_S = 0.5;
// Decoders read ahead: what is appended after they were told of the end may never be played. So
// they are told as late as is safe.
const CLOSE_S = 0.25;
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
  #movedAt = performance.now();

  /**
   * `onTime(s)`: where playback is. `hasFailed()`: nothing more can be appended. `hasNext()`: an
   * utterance is announced that is to follow the last one. `play()`: start, aloud if possible.
   * `onEndNear(frame)`: the loop is needed soon, on that cycle frame. `onBuffering(boolean)`:
   * waiting in mid-speech.
   */
  constructor(parts) {
    this.#parts = parts;
    this.#time = parts.video.currentTime;
  }

  /** Resolves when the end is reached, nothing more can be done, or `signal` aborts. */
  ended(signal) {
    const { video, onBuffering } = this.#parts;
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
      video.addEventListener("ended", finish, { signal: over.signal });
      if (signal.aborted) finish();
    });
  }

  /** True when it is over. */
  #tick() {
    const { video, source, run, onTime, onEndNear } = this.#parts;
    const now = performance.now();
    if (source.isLost || this.#isRobbed()) return true;
    onTime(video.currentTime);
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

  // A managed source lets the browser remove what is still to be played, at any time.
  #isRobbed() {
    const { source, run } = this.#parts;
    return endOf(source) < run.end - END_SLACK_S;
  }

  /** s, of what is there to be played. */
  get #left() {
    const { video, source, run } = this.#parts;
    return Math.min(run.end, endOf(source)) - video.currentTime;
  }

  #isNextAwaited(now) {
    return this.#parts.hasNext() && now - this.#movedAt < AWAIT_NEXT_MS;
  }

  #notice(now) {
    const { video } = this.#parts;
    if (video.currentTime === this.#time) return;
    this.#time = video.currentTime;
    this.#movedAt = now;
    if (now - this.#nudgedAt > FORGET_NUDGES_MS) this.#nudges = 0;
  }

  #observe(now) {
    const { video, source, run, hasFailed } = this.#parts;
    return {
      currentTime: video.currentTime,
      still: (now - this.#movedAt) / 1000,
      paused: video.paused,
      seeking: video.seeking,
      holding: this.#holding,
      buffered: source.buffered,
      drained: run.isDrained || hasFailed(),
      nudges: this.#nudges,
    };
  }

  #act(seen, now) {
    const { video, counters, onBuffering, play } = this.#parts;
    const { act, to } = decide(seen);
    if (act === "jump" || act === "nudge") {
      counters[`${act}s`] += 1;
      video.currentTime = to;
      this.#movedAt = now;
      if (act === "nudge") {
        this.#nudges += 1;
        this.#nudgedAt = now;
      }
    } else if (act === "hold") {
      counters.stalls += 1;
      this.#holding = true;
      video.pause();
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
    const { video } = this.#parts;
    return video.paused && !video.ended && !this.#holding && !document.hidden;
  }
}

function endOf({ buffered }) {
  return buffered.length > 0 ? buffered[buffered.length - 1][1] : 0;
}
