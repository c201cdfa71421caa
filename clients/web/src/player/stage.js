// The two stacked videos: the placeholder loop below, speech above, and the swaps between them.
// Nothing is ever shown before it was painted, and the loop stays underneath, so nothing is black.

import { cycleFrame, frameAfter, framesAhead, holdSeconds, seekTime } from "./phase.js";
import { delay, nextFrame, watchFrames } from "./signals.js";

const FIRST_PAINT_TIMEOUT_MS = 10_000;
const PAINT_TIMEOUT_MS = 250;
const SUDDEN_END_MS = 50;
const WAIT_MS = 400;
const DISSOLVE_MS = 110; // as long as player.css says, and a moment
const MAX_STEP = 2; // cycle frames; a larger one is seen as a jump
// The loop may be a picture late, and timers are: what is added to a hold before it is given up.
const HOLD_SLACK_S = 0.08;
// Nothing dissolves where motion is unwelcome, and a loop that was covered is not drawn at once.
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Stage {
  #avatar;
  #seen = { frame: 0, at: 0 };
  #onIdleFrame = new Set();
  #parked = null; // {frame, painted: Promise}
  #isSpeechPainted = false;
  #stopWatching = [];
  #over = new AbortController();
  #speechFrom = 0; // s; what is painted of the time before is gone before it is shown

  /**
   * `onFrame({video, mediaTime, at})` is told of the painted frames of both videos, those of speech
   * with `timeOf(mediaTime)` instead.
   */
  constructor({ idle, talk, avatar, timeOf, onFrame }) {
    this.idle = idle;
    this.talk = talk;
    this.#avatar = avatar;
    const watch = (video, tell) => this.#stopWatching.push(watchFrames(video, tell));
    watch(idle, ({ mediaTime, at }) => {
      this.#seen = { frame: cycleFrame(mediaTime, avatar.fps, avatar.cycle_length), at };
      onFrame({ video: "idle", mediaTime, at });
      for (const tell of this.#onIdleFrame) tell(this.#seen.frame);
    });
    watch(talk, ({ mediaTime, at }) => {
      const time = timeOf(mediaTime);
      if (time < this.#speechFrom) return;
      this.#isSpeechPainted = true;
      onFrame({ video: "talk", mediaTime: time, at });
    });
  }

  /**
   * Load the loop and show it with its first painted frame. `onBlocked()`: it may not even play
   * muted without a gesture. Rejects if it can't be loaded, or paints nothing for ten seconds.
   */
  async start(onBlocked) {
    const { idle } = this;
    const { signal } = this.#over;
    const failed = new Promise((_, reject) => {
      const fail = () => reject(new Error("placeholder"));
      idle.addEventListener("error", fail, { once: true, signal });
    });
    let isBlocked = false;
    let frame = null;
    let painted = nextFrame(idle, FIRST_PAINT_TIMEOUT_MS, signal);
    idle.src = this.#avatar.video_url;
    void this.playIdle().then((isAllowed) => {
      isBlocked = !isAllowed;
      if (isBlocked) onBlocked();
    });
    while ((frame = await Promise.race([painted, failed])) === null) {
      // A hidden page paints nothing, and one that waits for a tap perhaps nothing yet.
      if (document.hidden && idle.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) break;
      const isHopeless = !document.hidden && !isBlocked;
      if (isHopeless || signal.aborted) throw new Error("nothing was painted");
      painted = nextFrame(idle, FIRST_PAINT_TIMEOUT_MS, signal);
    }
    idle.classList.add("shown");
  }

  /** Resolves to false if the browser allows no playback at all without a gesture. */
  async playIdle() {
    if (this.#over.signal.aborted) return true;
    try {
      this.idle.muted = true;
      await this.idle.play();
      return true;
    } catch (error) {
      return error.name !== "NotAllowedError";
    }
  }

  /** Let go of both videos. */
  close() {
    this.#over.abort();
    for (const stop of this.#stopWatching) stop();
    for (const video of [this.idle, this.talk]) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
  }

  get isSpeechShown() {
    return this.talk.classList.contains("shown");
  }

  /** The cycle frame that the loop shows now. */
  get idleFrame() {
    const { frame, at } = this.#seen;
    if (this.idle.paused) return frame;
    const { fps, cycle_length } = this.#avatar;
    return frameAfter(frame, (performance.now() - at) / 1000, fps, cycle_length);
  }

  /** Resolves `early` seconds before the loop paints frame `target`; at once if it is past that. */
  async reach(target, { early = 0, signal }) {
    const { fps, cycle_length: length } = this.#avatar;
    const goal = frameAfter(target, -early, fps, length);
    const wait = holdSeconds(this.#seen.frame, goal, fps, length);
    if (wait === 0 || this.idle.paused || document.hidden) return;
    let tell;
    const reached = new Promise((resolve) => {
      tell = (frame) => {
        const ahead = framesAhead(frame, goal, length);
        if (ahead === 0 || ahead > length / 2) resolve();
      };
      this.#onIdleFrame.add(tell);
    });
    await Promise.race([reached, delay((wait + HOLD_SLACK_S) * 1000, signal)]);
    this.#onIdleFrame.delete(tell);
  }

  /**
   * Should the loop come to `frame`, where speech is about to begin, before speech is there: it
   * waits, for a moment at most. A still picture is less than a jump.
   */
  waitAt(frame, signal) {
    const look = async (shown) => {
      if (framesAhead(frame, shown, this.#avatar.cycle_length) > MAX_STEP) return;
      this.#onIdleFrame.delete(look);
      if (this.isSpeechShown || signal.aborted) return;
      this.idle.pause();
      await delay(WAIT_MS, signal);
      if (!this.isSpeechShown) void this.playIdle();
    };
    this.#onIdleFrame.add(look);
    signal.addEventListener("abort", () => this.#onIdleFrame.delete(look), { once: true });
  }

  /** Show speech, whose current frame has been painted. The loop goes on until it is covered. */
  showSpeech() {
    this.talk.classList.remove("ending");
    this.talk.classList.add("shown");
    void delay(DISSOLVE_MS).then(() => {
      if (this.isSpeechShown) this.idle.pause();
    });
  }

  /** There is more speech, after all: the loop is not needed yet. */
  unpark() {
    this.talk.classList.remove("ending");
    this.#parked = null;
  }

  /** Have the loop stand on `frame`, painted, under the speech that is about to end. */
  park(frame) {
    // Browsers stop drawing what is fully covered, and need a moment to begin again: for that
    // moment the speech covers it only almost.
    this.talk.classList.add("ending");
    if (this.#parked?.frame === frame) return;
    this.idle.pause();
    const painted = nextFrame(this.idle, PAINT_TIMEOUT_MS);
    this.idle.currentTime = seekTime(frame, this.#avatar.fps);
    this.#parked = { frame, painted };
  }

  /** Swap back to the loop, on `frame` if it is known, else where the loop was left. */
  async showIdle(frame) {
    let dissolved = null;
    if (this.isSpeechShown) {
      const isSudden = !this.talk.classList.contains("ending");
      if (frame !== null) this.park(frame);
      else this.talk.classList.add("ending");
      await this.#parked?.painted;
      if (isSudden && STILL.matches) await delay(SUDDEN_END_MS);
      dissolved = delay(DISSOLVE_MS);
    }
    this.talk.classList.remove("shown", "ending");
    this.#parked = null;
    await Promise.race([this.playIdle(), delay(PAINT_TIMEOUT_MS)]);
    await dissolved; // speech shows its last picture until then
  }

  /**
   * Forget what speech has painted: it has been given other pictures, or a place to seek. Of what is
   * painted before `from` (s) nothing counts: it is the place that is left.
   */
  expectSpeech(from = 0) {
    this.#isSpeechPainted = false;
    this.#speechFrom = from;
  }

  /** Whether a picture of speech has been painted since `expectSpeech`; waits up to `ms` for it. */
  async speechPainted(ms, signal) {
    const end = performance.now() + ms;
    while (!this.#isSpeechPainted && !document.hidden && !signal?.aborted) {
      const left = end - performance.now();
      if (left <= 0) break;
      await nextFrame(this.talk, left, signal);
    }
    return this.#isSpeechPainted;
  }
}
