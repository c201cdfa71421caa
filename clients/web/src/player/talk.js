// Speech played from its first chunk to its last frame: one utterance, and those right behind it.

import { Beginning } from "./beginning.js";
import { FADE_S } from "./fade.js";
import { feed } from "./feed.js";
import { speechFrame } from "./phase.js";
import { END_SLACK_S, Playback } from "./playback.js";
import { Run } from "./run.js";
import { delay } from "./signals.js";
import { Sound } from "./sound.js";
import { MediaFailure } from "./source.js";
import { SourceKind } from "./source-kinds.js";

const FEED_END_MS = 500;
const AHEAD_S = 10; // before there is a source that says so

export class Talk {
  #stage;
  #avatar;
  #counters;
  #access;
  #listUrl;
  #sound;
  #beginning;
  #onSound;
  #onBuffering;
  #onAppended;
  #onNext;
  #nextOf;
  #kind = new SourceKind();
  #source = null;
  #run = null; // what is played, or was last
  #isPlaying = false;
  #isProven = false; // something was played in the way in use
  #isClosed = false;

  /**
   * `access`: see access.js. `listUrl(requestId)`: the address of its playlist. `onSound(blocked)`: whether the browser lets
   * speech be heard. `onBuffering(boolean)`: waiting for the server in mid-speech.
   * `onAppended({utterance, index, offset, buffered})`: after each chunk. `nextOf(utterance)`: the
   * one to be played right behind it, or null; `onNext(utterance, {muted})`: that one is heard now,
   * and the one before is over.
   */
  constructor({ stage, avatar, counters, access, listUrl, ...told }) {
    const { onSound, onBuffering, onAppended, nextOf, onNext } = told;
    this.#stage = stage;
    this.#avatar = avatar;
    this.#counters = counters;
    this.#access = access;
    this.#listUrl = listUrl;
    this.#sound = new Sound(stage.talk);
    this.#beginning = new Beginning({ stage, sound: this.#sound, onSound });
    this.#onSound = onSound;
    this.#onBuffering = onBuffering;
    this.#onAppended = onAppended;
    this.#nextOf = nextOf;
    this.#onNext = onNext;
  }

  get #video() {
    return this.#stage.talk;
  }

  get buffered() {
    return this.#source?.buffered ?? [];
  }

  /** How loud speech is, 0 … 1. */
  set volume(volume) {
    this.#sound.volume = volume;
  }

  /** Whether speech is silent because somebody wants it to be. */
  set isMuted(isMuted) {
    const isHeard = this.#isPlaying && !this.#video.paused;
    this.#sound.isMuted = isMuted;
    if (isMuted) this.#onSound(false);
    // Browsers may pause it instead.
    else if (isHeard) void this.#beginning.playAloud(this.#source.media);
  }

  /** s, on the time line of `buffered`. */
  get time() {
    return this.#source?.media.currentTime ?? 0;
  }

  /** How speech is played here: "mse", "hls", "chunks"; null: not at all. */
  get kind() {
    return this.#kind.name;
  }

  /** How far ahead of what is played chunks are fetched (s). */
  get aheadS() {
    return this.#source?.aheadS ?? AHEAD_S;
  }

  /** As fetchChunk does. */
  fetch(url, options) {
    return this.#kind.fetch(url, { ...options, access: this.#access });
  }

  /** Open a source before there is anything to play: the first chunk is not kept waiting. */
  async prepare() {
    this.#closeSource();
    if (this.#isClosed) return;
    await this.#make();
    this.#source?.opened().catch(() => {}); // asked for again, and answered for, in play()
  }

  async #open() {
    await this.#make();
    if (this.#source === null) throw new MediaFailure("closed");
    await this.#source.opened();
  }

  async #make() {
    if (!this.#kind.isLoaded) await this.#kind.load();
    if (this.#isClosed) return;
    this.#source ??= this.#kind.make({
      video: this.#video,
      counters: this.#counters,
      listUrl: this.#listUrl,
      onRemoved: () => this.#refill(),
      onRefused: () => this.#onSound(true),
    });
  }

  #closeSource() {
    this.#source?.close();
    this.#source = null;
  }

  // The browser has made room, perhaps of what is still to be played.
  #refill() {
    if (!this.#isPlaying || !this.#run.refill(this.buffered, this.time)) return;
    const { utterance } = this.#run.appending;
    this.#counters.refills += 1;
    utterance.load();
    utterance.changed.notify();
  }

  /** Nothing is played any more. */
  close() {
    this.#isClosed = true;
    this.#closeSource();
  }

  /**
   * Play `first` from `first.position` on, and then those right behind it. Resolves to why the last
   * one heard ended: "complete", "error" (the server's), "interrupted", "cancelled", "empty"
   * (nothing of it could be had) or "lost" (the browser took the player away; worth another
   * attempt). Raises MediaFailure if it can't be played at all.
   */
  async play(first, onShown) {
    const over = new AbortController();
    const run = new Run(first);
    this.#watch(first, run, over);
    let feeding = null;
    try {
      const source = await this.#openSource(first);
      if (first.mime === null) return endWithoutSpeech(first);
      this.#run = run;
      this.#isPlaying = true;
      this.#stage.expectSpeech(Math.max(0, first.position - 1 / first.fps));
      if (first.position === 0 && first.avatarFrame !== null) {
        this.#stage.waitAt(first.avatarFrame, over.signal);
      }
      first.load();
      let failure = null;
      feeding = this.#feed(source, run, over).catch((error) => {
        failure = error;
        first.changed.notify();
      });
      await this.#beginning.appended(first, over.signal, () => failure !== null);
      if (source.buffered.length > 0 && !over.signal.aborted) {
        this.#isProven = true;
        await this.#beginning.begin(source, first, over.signal, onShown);
        await this.#playback(source, run, () => failure !== null).ended(over.signal);
      }
      if (over.signal.aborted) await this.#sound.fadeOut();
      return this.#verdict(source, run, failure);
    } finally {
      this.#isPlaying = false; // but pictures of it may still be told of
      over.abort();
      (this.#source?.media ?? this.#video).pause();
      await Promise.race([feeding, delay(FEED_END_MS)]);
      run.ahead.forEach(beginAfresh);
    }
  }

  /** Nothing could ever be played in this way: true, from now on it is tried in another. */
  fallBack() {
    if (this.#isProven || !this.#kind.fallBack()) return false;
    this.#closeSource();
    return true;
  }

  /** The time in the run of a picture that was painted at `mediaTime`. */
  timeOf(mediaTime) {
    return this.#source?.timeOf(mediaTime) ?? mediaTime;
  }

  /** Whose a speech frame painted at `mediaTime` (of the run) is, and when in it. */
  locate(mediaTime) {
    if (this.#run === null) return null;
    if (this.#isPlaying) this.#moveTo(this.#run, mediaTime);
    const { utterance, offset } = this.#run.placeAt(mediaTime);
    return { utterance, mediaTime: mediaTime - offset };
  }

  // The current utterance's end is the end of it all; another's only that of what is behind it.
  #watch(utterance, run, over) {
    const act = () => {
      if (over.signal.aborted) return;
      if (this.#run === run) this.#moveTo(run, this.time);
      if (run.current.utterance !== utterance) run.drop(utterance).forEach(beginAfresh);
      // What is over before it could fade ends by itself, for the next one to go on.
      else if (run.next === null || run.next.offset > this.time + FADE_S) over.abort();
    };
    utterance.signal.addEventListener("abort", act, { once: true });
    if (utterance.signal.aborted) act();
  }

  #feed(source, run, over) {
    return feed({
      source,
      run,
      changed: run.current.utterance.changed,
      signal: over.signal,
      nextOf: this.#nextOf,
      onNext: (utterance) => {
        run.add(utterance);
        this.#watch(utterance, run, over);
        this.#stage.unpark();
      },
      onAppended: ({ utterance, offset, chunk }) => {
        this.#counters.appended += 1;
        this.#onAppended({ utterance, index: chunk.index, offset, buffered: source.buffered });
      },
    });
  }

  #moveTo(run, time) {
    let before = run.current.utterance;
    for (const utterance of run.moveTo(time)) {
      before.position = before.queue.appendedEnd;
      before = utterance;
      this.#onNext(utterance, { muted: this.#video.muted });
    }
    const { utterance, offset } = run.current;
    // Sound goes on for a moment after the last frame.
    const played = Math.min(time - offset, utterance.queue.appendedEnd);
    utterance.position = Math.max(utterance.position, played);
  }

  /** The cycle frame to go on with after what was played. */
  resumeFrame(utterance, reason) {
    if (reason === "complete" && utterance.resumeFrame !== null) return utterance.resumeFrame;
    const isCut = utterance.stoppedBy === reason;
    return this.#cycleFrame(utterance, utterance.position + (isCut ? 1 / utterance.fps : 0));
  }

  /** To be called in a gesture: sound from now on, also in later utterances. */
  unblock(isSpeaking) {
    this.#beginning.unblock(this.#source?.media ?? this.#video, isSpeaking);
  }

  async #openSource(utterance) {
    if (this.#source?.isLost || this.#source?.isStarted) this.#closeSource();
    try {
      await this.#open();
    } catch {
      this.#closeSource(); // some browsers fail to open the first one; the second attempt counts
      await this.#open();
    }
    const { queue, signal } = utterance;
    while (utterance.mime === null && !signal.aborted && !queue.isFinished) {
      await utterance.changed.wait(signal);
    }
    if (utterance.mime === null || signal.aborted) return this.#source;
    if (this.#kind.changeFor(utterance.mime)) {
      this.#closeSource();
      await this.#open();
    }
    this.#source.start(utterance);
    return this.#source;
  }

  /** The cycle frame that `utterance` shows `played` seconds after its first. */
  #cycleFrame(utterance, played) {
    if (utterance.avatarFrame === null || utterance.fps === null) return null;
    const { fps, cycle_length } = this.#avatar;
    return speechFrame(utterance.avatarFrame, played, utterance.fps, fps, cycle_length);
  }

  #playback(source, run, hasFailed) {
    return new Playback({
      source,
      run,
      onTime: (time) => this.#moveTo(run, time),
      hasNext: () => source.takesMore && this.#nextOf(run.last.utterance) !== null,
      counters: this.#counters,
      hasFailed,
      onBuffering: this.#onBuffering,
      play: () => void this.#beginning.playAloud(source.media),
      onEndNear: (frame) => this.#stage.park(frame),
    });
  }

  #verdict(source, run, failure) {
    if (!source.isLost) this.#moveTo(run, source.media.currentTime);
    const { utterance } = run.current;
    const { queue } = utterance;
    if (utterance.signal.aborted) return utterance.stoppedBy ?? "cancelled";
    if (failure instanceof MediaFailure || source.isLost) return "lost";
    // Not the end of what is buffered: the browser may have taken some of that away.
    const isPlayedOut = queue.isDrained && utterance.position >= queue.appendedEnd - END_SLACK_S;
    if (!isPlayedOut) return "lost";
    if (utterance.error) return "error";
    return queue.appended > 0 ? "complete" : "empty";
  }
}

// What was appended and not reached is to be played by another source.
function beginAfresh({ queue, from }) {
  queue.startFrom(from);
}

function endWithoutSpeech(utterance) {
  if (utterance.signal.aborted) return utterance.stoppedBy ?? "cancelled";
  return utterance.error ? "error" : "empty";
}
