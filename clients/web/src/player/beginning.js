// How speech begins: when enough of it is there, in phase with the loop, and aloud if it may.

import { delay, nextFrame } from "./signals.js";

const FIRST_PAINT_MS = 200;
const MAX_START_LAG_S = 0.2;
const PAINT_AFTER_PLAY_MS = 1000;
const VERDICT_MS = 100;
const SETTLE_MS = 100;

export class Beginning {
  #stage;
  #sound;
  #onSound;
  #startLag = 0.08; // s

  /** `onSound(blocked)`: whether the browser lets speech be heard. */
  constructor({ stage, sound, onSound }) {
    this.#stage = stage;
    this.#sound = sound;
    this.#onSound = onSound;
  }

  /** Until as much is there as it takes to begin, or nothing will be. */
  async appended(utterance, signal, hasFailed) {
    const { queue, changed } = utterance;
    while (queue.appendedEnd === 0 && !queue.isDrained && !hasFailed() && !signal.aborted) {
      await changed.wait(signal, 500);
      utterance.giveUpMissing(performance.now());
    }
    const enough = queue.appendedEnd + utterance.prebuffer;
    const until = performance.now() + utterance.prebuffer * 1000;
    while (queue.appendedEnd < enough && !queue.isDrained && !hasFailed() && !signal.aborted) {
      const left = until - performance.now();
      if (left <= 0) break;
      await changed.wait(signal, left);
    }
  }

  /** From the first appended chunk to the swap: painted, held until the loop is in phase, played. */
  async begin(source, utterance, signal, onShown) {
    const video = this.#stage.talk;
    const appendedAt = performance.now();
    const { media } = source;
    // Sought while it takes in its first samples, WebKitGTK 2.50 may stand still for good.
    if (utterance.position > 0.01) await delay(SETTLE_MS, signal);
    if (signal.aborted || source.buffered.length === 0) return;
    const [[first, end]] = source.buffered.slice(-1);
    const start = Math.min(Math.max(utterance.position, first), end - 0.01);
    if (start > 0.01) {
      this.#stage.expectSpeech(start - 1 / utterance.fps);
      media.currentTime = start;
    }
    this.#sound.restore();
    const isPainted = await this.#stage.speechPainted(FIRST_PAINT_MS, signal);
    const paintedAt = performance.now();
    const target = isPainted && start <= 0.01 ? utterance.avatarFrame : null;
    if (target !== null) await this.#stage.reach(target, { early: this.#startLag, signal });
    if (signal.aborted) return;
    const allowed = this.playAloud(media);
    const moving = this.#measureStart(source, start, signal);
    if (target !== null) await Promise.race([this.#stage.reach(target, { signal }), moving]);
    // Some browsers paint nothing before they play; a hidden page paints nothing at all.
    else if (!isPainted) await this.#stage.speechPainted(PAINT_AFTER_PLAY_MS, signal);
    if (signal.aborted) return;
    this.#stage.showSpeech();
    await Promise.race([allowed, delay(VERDICT_MS, signal)]); // Firefox refuses a moment later
    onShown({ appendedAt, paintedAt, muted: video.muted });
  }

  /**
   * Resolves when the picture starts to move, and learns how long that takes from `play()` on:
   * sound has to be started first. The next utterance is played that much earlier.
   */
  async #measureStart(source, start, signal) {
    const calledAt = performance.now();
    const frame = await nextFrame(this.#stage.talk, 500, signal);
    const moved = frame === null ? 0 : source.timeOf(frame.mediaTime) - start;
    if (moved <= 0) return;
    const lag = (frame.at - calledAt) / 1000 - moved;
    this.#startLag = (this.#startLag + Math.min(Math.max(lag, 0), MAX_START_LAG_S)) / 2;
  }

  /** Play a source's `media` with sound; where that is not allowed, play muted and say so. */
  async playAloud(media) {
    const video = this.#stage.talk;
    try {
      await media.play();
      if (!video.muted || this.#sound.isMuted) this.#onSound(false);
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // paused or replaced meanwhile
      video.muted = true;
      this.#onSound(true);
      media.play().catch(() => {}); // not even muted: the overlay's gesture starts it
    }
  }

  /** To be called in a gesture: sound from now on, also in later utterances. */
  unblock(media, isSpeaking) {
    this.#sound.restore();
    media.play().catch(() => {}); // interrupted by the pause below, or by the next source
    if (!isSpeaking) media.pause();
    this.#onSound(false);
  }
}
