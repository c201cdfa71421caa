// One utterance played from its first chunk to its last frame.

import { speechFrame } from "./phase.js";
import { END_SLACK_S, Playback } from "./playback.js";
import { delay, nextFrame } from "./signals.js";
import { MediaFailure, Source } from "./source.js";

const FIRST_PAINT_MS = 200;
const FEED_END_MS = 500;
const MAX_START_LAG_S = 0.2;
const PAINT_AFTER_PLAY_MS = 1000;

export class Talk {
  #stage;
  #avatar;
  #counters;
  #onSound;
  #onBuffering;
  #onAppended;
  #source = null;
  #startLag = 0.08; // s

  /**
   * `onSound(blocked)`: whether the browser lets speech be heard. `onBuffering(boolean)`: waiting
   * for the server in mid-speech. `onAppended({index, buffered})`: after each chunk.
   */
  constructor({ stage, avatar, counters, onSound, onBuffering, onAppended }) {
    this.#stage = stage;
    this.#avatar = avatar;
    this.#counters = counters;
    this.#onSound = onSound;
    this.#onBuffering = onBuffering;
    this.#onAppended = onAppended;
  }

  get #video() {
    return this.#stage.talk;
  }

  get buffered() {
    return this.#source?.buffered ?? [];
  }

  /** Open a source before there is anything to play, so that the first chunk is not kept waiting. */
  prepare() {
    this.#source?.close();
    this.#source = null;
    this.#source = new Source(this.#video, this.#counters);
    this.#source.opened().catch(() => {}); // asked for again, and answered for, in play()
  }

  /**
   * Play `utterance` from `utterance.position` on. Resolves to why it ended: "complete", "error"
   * (the server's), "cancelled", "empty" (nothing of it could be had) or "lost" (the browser
   * took the player away; worth another attempt). Raises MediaFailure if it can't be played at all.
   */
  async play(utterance, onShown) {
    const over = new AbortController();
    const abort = () => over.abort();
    utterance.signal.addEventListener("abort", abort);
    if (utterance.signal.aborted) abort();
    try {
      const source = await this.#openSource(utterance);
      if (utterance.mime === null) return endWithoutSpeech(utterance);
      this.#stage.expectSpeech();
      utterance.load();
      let failure = null;
      const feeding = this.#feed(source, utterance, over.signal).catch((error) => {
        failure = error;
        utterance.changed.notify();
      });
      while (source.buffered.length === 0 && !utterance.queue.isDrained && !failure) {
        if (over.signal.aborted) return "cancelled";
        await utterance.changed.wait(over.signal, 500);
        utterance.giveUpMissing(performance.now());
      }
      if (source.buffered.length > 0) {
        await this.#begin(source, utterance, over.signal, onShown);
        await this.#playback(source, utterance, () => failure !== null).ended(over.signal);
      }
      const reason = this.#verdict(source, utterance, failure);
      over.abort();
      await Promise.race([feeding, delay(FEED_END_MS)]);
      return reason;
    } finally {
      utterance.signal.removeEventListener("abort", abort);
      over.abort();
      this.#video.pause();
    }
  }

  /** The cycle frame to go on with after what was played. */
  resumeFrame(utterance, reason) {
    if (reason === "complete" && utterance.resumeFrame !== null) return utterance.resumeFrame;
    if (utterance.avatarFrame === null || utterance.fps === null) return null;
    const played = utterance.position + (reason === "cancelled" ? 1 / utterance.fps : 0);
    const { fps, cycle_length } = this.#avatar;
    return speechFrame(utterance.avatarFrame, played, utterance.fps, fps, cycle_length);
  }

  /** To be called in a gesture: sound from now on, also in later utterances. */
  unblock(isSpeaking) {
    this.#video.muted = false;
    const played = this.#video.play();
    played.catch(() => {}); // interrupted by the pause below, or by the next source
    if (!isSpeaking) this.#video.pause();
    this.#onSound(false);
  }

  async #openSource(utterance) {
    if (!this.#source || this.#source.isLost || this.#source.isStarted) this.prepare();
    try {
      await this.#source.opened();
    } catch {
      this.prepare(); // some browsers fail to open the first one; the second attempt counts
      await this.#source.opened();
    }
    const { queue, signal } = utterance;
    while (utterance.mime === null && !signal.aborted && !queue.isFinished) {
      await utterance.changed.wait(signal);
    }
    if (utterance.mime !== null && !signal.aborted) this.#source.start(utterance.mime);
    return this.#source;
  }

  /** Append chunks in order, one at a time, until everything is in or `signal` aborts. */
  async #feed(source, utterance, signal) {
    const { queue } = utterance;
    while (!signal.aborted) {
      const chunk = queue.ready;
      if (chunk === null) {
        if (queue.isDrained) source.end();
        await utterance.changed.wait(signal);
      } else if (await source.append(chunk.bytes)) {
        if (signal.aborted) return;
        queue.markAppended(chunk);
        this.#counters.appended += 1;
        this.#onAppended({ index: chunk.index, buffered: source.buffered });
        utterance.changed.notify();
      } else await delay(500, signal); // full: playback makes room
    }
  }

  /** From the first appended chunk to the swap: painted, held until the loop is in phase, played. */
  async #begin(source, utterance, signal, onShown) {
    const video = this.#video;
    const appendedAt = performance.now();
    const [first, end] = source.buffered[0];
    const start = Math.min(Math.max(utterance.position, first), end - 0.01);
    if (start > 0.01) {
      this.#stage.expectSpeech(start - 1 / utterance.fps);
      video.currentTime = start;
    }
    video.muted = false;
    const isPainted = await this.#stage.speechPainted(FIRST_PAINT_MS, signal);
    const paintedAt = performance.now();
    const target = isPainted && start <= 0.01 ? utterance.avatarFrame : null;
    if (target !== null) await this.#stage.reach(target, { early: this.#startLag, signal });
    if (signal.aborted) return;
    void this.#playAloud();
    const moving = this.#measureStart(start, signal);
    if (target !== null) await Promise.race([this.#stage.reach(target, { signal }), moving]);
    // Some browsers paint nothing before they play; a hidden page paints nothing at all.
    else if (!isPainted) await this.#stage.speechPainted(PAINT_AFTER_PLAY_MS, signal);
    if (signal.aborted) return;
    this.#stage.showSpeech();
    onShown({ appendedAt, paintedAt, muted: video.muted });
  }

  /**
   * Resolves when the picture starts to move, and learns how long that takes from `play()` on:
   * sound has to be started first. The next utterance is played that much earlier.
   */
  async #measureStart(start, signal) {
    const calledAt = performance.now();
    const frame = await nextFrame(this.#video, 500, signal);
    if (frame === null || frame.mediaTime <= start) return;
    const lag = (frame.at - calledAt) / 1000 - (frame.mediaTime - start);
    this.#startLag = (this.#startLag + Math.min(Math.max(lag, 0), MAX_START_LAG_S)) / 2;
  }

  /** Play with sound; where that is not allowed, play muted and say so. */
  async #playAloud() {
    const video = this.#video;
    try {
      await video.play();
      if (!video.muted) this.#onSound(false);
    } catch (error) {
      if (error.name !== "NotAllowedError") return; // paused or replaced meanwhile
      video.muted = true;
      this.#onSound(true);
      video.play().catch(() => {}); // not even muted: the overlay's gesture starts it
    }
  }

  #playback(source, utterance, hasFailed) {
    return new Playback({
      video: this.#video,
      source,
      utterance,
      counters: this.#counters,
      hasFailed,
      onBuffering: this.#onBuffering,
      play: () => void this.#playAloud(),
      onEndNear: (frame) => this.#stage.park(frame),
    });
  }

  #verdict(source, utterance, failure) {
    const { queue } = utterance;
    if (!source.isLost) utterance.position = this.#video.currentTime;
    if (utterance.signal.aborted) return "cancelled";
    if (failure instanceof MediaFailure || source.isLost) return "lost";
    // Not the end of what is buffered: the browser may have taken some of that away.
    const end = queue.appendedEnd - END_SLACK_S;
    const isPlayedOut = queue.isDrained && this.#video.currentTime >= end;
    if (!isPlayedOut) return "lost";
    if (utterance.error) return "error";
    return queue.appended > 0 ? "complete" : "empty";
  }
}

function endWithoutSpeech(utterance) {
  if (utterance.signal.aborted) return "cancelled";
  return utterance.error ? "error" : "empty";
}
