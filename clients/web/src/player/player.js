// The player: events in, two videos out. Everything is wired here; how each part works is its own.

import { Backdrop } from "./backdrop.js";
import { makeDebugHandle } from "./debug.js";
import { EventConnection } from "./events.js";
import { Extras } from "./extras.js";
import { Lineup } from "./lineup.js";
import { PlaybackReports } from "./playback-reports.js";
import { Poster } from "./poster.js";
import { Wakeup, nextDisplay } from "./signals.js";
import { Stage } from "./stage.js";
import { Talk } from "./talk.js";
import { Tracks } from "./tracks.js";
import { Turns } from "./turns.js";
import { Utterance } from "./utterance.js";
import { warmUpSound } from "./warm-up.js";
import { sentence } from "./words.js";

const ANNOUNCED_KEPT = 50;
const REPORT_EVERY_MS = 5000;
const OFFLINE_AFTER_MS = 3000;
const CUT_SHORT = ["interrupted", "cancelled", "lost"];
const RESTART_HELPS = ["playback_failed", "placeholder_failed"];

export class Player {
  #server;
  #access;
  #avatar;
  #url;
  #isAlone;
  #options;
  #post;
  #restart;
  #debug;
  #notice;
  #reports;
  #changed = new Wakeup(); // something about an utterance
  #lineup;
  #stage;
  #backdrop;
  #poster;
  #tracks = new Tracks();
  #extras;
  #talk;
  #turns;
  #connection;
  #state = "loading";
  #isOver = false;
  #isFaceShown = false;
  #isSoundBlocked = false;
  #isRecorded = false;
  #announcedAt = new Map(); // request id -> ms, of utterances whose first frame is to come
  #stalledAt = null; // ms
  #offlineTimer = 0;
  #reportTimer = 0;
  #listeners = new AbortController();

  /**
   * `root`: what MARKUP was put into, and its `notice`. `session`: what the server says of it, with
   * `session_id` and `avatar`; `server`: the address (URL) that its paths are resolved against;
   * `access`: with which it is asked (access.js). `isAlone`: nobody
   * but the viewer is there to act on what is told. `options`: values of those of options.js;
   * `choose(name, value)`: the viewer wants another. `onMessage(type, fields)`: as in bridge.js.
   * `onRestart()`: the viewer wants all of it to begin anew.
   */
  constructor({ root, notice, session, server, access, isAlone, options, choose, ...told }) {
    const { onMessage, onRestart } = told;
    const part = (id) => root.getElementById(id);
    this.#server = server;
    this.#access = access;
    this.#avatar = { ...session.avatar, video_url: this.#resolve(session.avatar.video_url) };
    this.#url = new URL(`sessions/${session.session_id}`, server).href;
    this.#isAlone = isAlone;
    this.#options = { ...options };
    this.#post = onMessage;
    this.#restart = onRestart;
    this.#debug = makeDebugHandle(session.session_id);
    this.#notice = notice;
    this.#reports = new PlaybackReports(() => this.#address("/playback"));
    const { counters } = this.#debug;
    const changed = this.#changed;
    this.#lineup = new Lineup(
      (requestId, given) =>
        new Utterance(requestId, { ...given, server, loading: this.#talk, changed, counters }),
    );
    this.#stage = new Stage({
      idle: part("idle"),
      talk: part("talk"),
      avatar: this.#avatar,
      timeOf: (mediaTime) => this.#talk.timeOf(mediaTime),
      onFrame: (frame) => this.#takeFrame(frame),
    });
    this.#backdrop = new Backdrop({
      root: part("player"),
      canvas: part("backdrop"),
      picture: this.#avatar,
      options: this.#options,
    });
    this.#poster = new Poster({
      image: part("poster"),
      onPainted: (image) => this.#backdrop.paint(image, this.#avatar),
      onError: (message) => this.#reportOption("invalid_option", message),
    });
    this.#extras = new Extras({
      root: part("player"),
      stage: this.#stage,
      tracks: this.#tracks,
      options: this.#options,
      choose,
      isSoundBlocked: () => this.#isSoundBlocked,
      unblock: this.#onTap,
      onError: (code, message) => this.#reportOption(code, message),
    });
    this.#talk = this.#makeTalk();
    for (const name of ["volume", "muted", "poster"]) this.#apply(name);
    this.#turns = this.#makeTurns();
    this.#connection = new EventConnection({
      url: `${this.#url}/events`,
      sessionUrl: this.#url,
      sign: access.sign,
      onEvent: (event) => this.#take(event),
      onConnected: (isConnected) => this.#setConnected(isConnected),
      onGone: (why) => this.#end(why),
      onRefused: (refusal) => this.#report(refusal),
    });
    this.#debug.provide({
      state: () => this.#state,
      request_id: () => this.#lineup.current?.requestId ?? null,
      position: () => this.#lineup.current?.position ?? null,
      buffered: () => this.#talk.buffered,
      current_time: () => this.#talk.time,
      source: () => this.#talk.kind,
      sound_blocked: () => this.#isSoundBlocked,
      idle_frame: () => this.#stage.idleFrame,
      reconnects: () => this.#connection.reconnects,
    });
  }

  #resolve(path) {
    return this.#access.sign(new URL(path, this.#server));
  }

  /** Of what the session has, with what lets us in now. */
  #address(path) {
    return this.#access.sign(this.#url + path);
  }

  #makeTalk() {
    return new Talk({
      stage: this.#stage,
      avatar: this.#avatar,
      counters: this.#debug.counters,
      access: this.#access,
      listUrl: (requestId) => this.#address(`/live.m3u8?request_id=${requestId}`),
      onSound: (isBlocked) => this.#setSoundBlocked(isBlocked),
      onBuffering: (isBuffering) => this.#setBuffering(isBuffering),
      onAppended: ({ utterance, ...entry }) => {
        utterance.appendedAt ??= performance.now();
        this.#debug.logAppend({ request_id: utterance.requestId, ...entry });
      },
      nextOf: (utterance) => this.#lineup.followerOf(utterance),
      onNext: (utterance, { muted }) => this.#turns.moveOnTo(utterance, { muted }),
    });
  }

  #makeTurns() {
    return new Turns({
      lineup: this.#lineup,
      talk: this.#talk,
      stage: this.#stage,
      changed: this.#changed,
      counters: this.#debug.counters,
      onState: (state) => this.#setState(state),
      onShown: (utterance, shown) => void this.#onSpeechShown(utterance, shown),
      onSilent: (utterance, reason) => this.#onSilent(utterance, reason),
      onEnded: (utterance, reason, failure) => this.#onEnded(utterance, reason, failure),
      onIdle: () => void this.#reportPosition(),
      onError: this.#debug.logError,
    });
  }

  /** Another value of an option, from now on. */
  set(name, value) {
    this.#options[name] = value;
    this.#apply(name);
    this.#extras.changed(name);
    const { volume, muted } = this.#options;
    if (name === "volume" || name === "muted") this.#post("volume", { volume, muted });
  }

  #apply(name) {
    const { volume, muted } = this.#options;
    if (name === "volume") this.#talk.volume = volume;
    else if (name === "muted") this.#talk.isMuted = muted;
    else if (name === "fit" || name === "crop") this.#backdrop.update();
    else if ((name === "poster" || name === "background") && !this.#isFaceShown) {
      const own = this.#avatar.poster_url;
      this.#poster.show(this.#options, own && this.#resolve(own));
    }
  }

  /** There is another token. */
  admit() {
    if (this.#isOver) return;
    this.#notice.clearError();
    this.#connection.reopen();
    if (!this.#isFaceShown) this.#restart();
  }

  /** What the player is doing, to be looked at: docs/player.md, "Debugging". */
  get debug() {
    return this.#debug.player;
  }

  async start() {
    if (this.#talk.kind === null) {
      this.#setState("unsupported");
      await this.#showPlaceholder();
      this.#report({
        code: "unsupported_browser",
        message: "This browser can't play speech: it knows no H.264 video with AAC sound.",
      });
      return;
    }
    const { signal } = this.#listeners;
    this.#talk.prepare().catch(this.#debug.logError); // another attempt is made to speak
    this.#connection.open();
    void this.#turns.run();
    document.addEventListener("visibilitychange", () => this.#onVisible(), { signal });
    window.addEventListener("pageshow", () => this.#onVisible(), { signal });
    this.#reportTimer = setInterval(() => void this.#reportPosition(), REPORT_EVERY_MS);
    await this.#showPlaceholder();
    if (!signal.aborted) warmUpSound();
  }

  /** Silence, and nothing is asked for any more; the session goes on without this viewer. */
  stop() {
    this.#isOver = true;
    this.#post = () => {}; // what ends now is nobody's news
    this.#reports.close();
    this.#listeners.abort();
    clearInterval(this.#reportTimer);
    clearTimeout(this.#offlineTimer);
    this.#connection.close();
    this.#turns.stop();
    this.#talk.close();
    this.#extras.close();
    this.#stage.close();
    this.#backdrop.close();
  }

  /** Asked for by the app around us; the server's answer comes as an event. */
  async interrupt() {
    if ((await this.#isInterrupted()) || this.#isOver || (await this.#isInterrupted())) return;
    const message = "The avatar could not be interrupted.";
    this.#report({ code: "interrupt_failed", message });
  }

  async #isInterrupted() {
    try {
      const response = await fetch(this.#address("/interrupt"), { method: "POST" });
      return response.ok;
    } catch {
      return false; // unreachable for now
    }
  }

  // ---- what the server says ----

  #take(event) {
    this.#tracks.take(event);
    this.#lineup.take(event);
    this.#changed.notify();
    if (event.event === "error") this.#report(event);
    else if (event.event === "queued") this.#announce(event);
    else if (event.event === "state") this.#setRecorded(event.recording === true);
    else if (event.event === "recording") this.#setRecorded(event.on);
  }

  #announce({ request_id: requestId }) {
    const announced = this.#announcedAt;
    if (!announced.has(requestId)) announced.set(requestId, performance.now());
    if (announced.size > ANNOUNCED_KEPT) announced.delete(announced.keys().next().value);
  }

  // ---- what becomes of an utterance ----

  #onSilent({ requestId, position }, reason) {
    const interrupted = CUT_SHORT.includes(reason);
    this.#extras.silent(requestId);
    this.#reports.finished(requestId, { playedS: position, interrupted });
  }

  #onEnded(utterance, reason, failure) {
    const { requestId, position } = utterance;
    const played = { played_s: position, played_ms: Math.round(position * 1000) };
    this.#post("speech_ended", { request_id: requestId, reason, ...played });
    if (reason !== "lost" && reason !== "empty") return;
    this.#onSilent(utterance, reason);
    const message = failure ?? "This could not be played.";
    this.#report({ code: "playback_failed", message, request_id: requestId });
  }

  async #onSpeechShown(utterance, { appendedAt, paintedAt, muted }) {
    this.#setState("speaking");
    const shownAt = await nextDisplay();
    const announcedAt = this.#announcedAt.get(utterance.requestId) ?? null;
    this.#reports.started(utterance.requestId, shownAt, announcedAt);
    const since = utterance.firstChunkAt;
    const requestId = utterance.requestId;
    this.#debug.logStart({
      request_id: requestId,
      avatar_frame: utterance.avatarFrame,
      shown_at: shownAt,
      appended_ms: appendedAt - since,
      painted_ms: paintedAt - since,
      shown_ms: shownAt - since,
    });
    const delayMs = Math.round(shownAt - since);
    this.#post("speech_started", { request_id: requestId, delay_ms: delayMs, muted });
  }

  // ---- what viewer, app and server are told ----

  #takeFrame(frame) {
    const place = frame.video === "talk" ? this.#talk.locate(frame.mediaTime) : null;
    const utterance = place?.utterance ?? this.#lineup.current;
    const requestId = utterance?.requestId ?? null;
    this.#debug.logFrame({ ...frame, ...place }, requestId);
    this.#extras.painted({ ...frame, ...place }, requestId);
  }

  #setState(next) {
    if (next === this.#state || this.#isOver) return;
    this.#state = next;
    this.#notice.setState(next);
    this.#post("state", { state: next, request_id: this.#lineup.current?.requestId ?? null });
  }

  #setBuffering(isBuffering) {
    this.#setState(isBuffering ? "buffering" : "speaking");
    const now = performance.now();
    const { requestId } = this.#lineup.current ?? {};
    if (isBuffering) this.#stalledAt = now;
    else if (this.#stalledAt !== null) {
      const { stalls } = this.#debug.counters;
      if (requestId) this.#reports.stalled(requestId, now - this.#stalledAt, stalls);
      this.#stalledAt = null;
    }
  }

  #setRecorded(isRecorded) {
    if (isRecorded === this.#isRecorded) return;
    this.#isRecorded = isRecorded;
    this.#notice.setRecorded(isRecorded);
    this.#post("recording", { on: isRecorded });
  }

  #setSoundBlocked(isBlocked) {
    if (isBlocked !== this.#isSoundBlocked) this.#post("sound", { blocked: isBlocked });
    this.#isSoundBlocked = isBlocked;
    if (isBlocked) this.#notice.setTap("Tap for sound", this.#onTap);
    else this.#notice.setTap(null);
    this.#extras.changed("sound");
  }

  #onTap = () => {
    if (!this.#stage.isSpeechShown) void this.#stage.playIdle();
    this.#talk.unblock(this.#state === "speaking");
  };

  #setConnected(isConnected) {
    clearTimeout(this.#offlineTimer);
    this.#access.isOpen = isConnected;
    if (isConnected) {
      this.#notice.setOffline(false);
      this.#reports.retry();
    } else {
      this.#offlineTimer = setTimeout(() => this.#notice.setOffline(true), OFFLINE_AFTER_MS);
    }
    this.#post("connection", { connected: isConnected });
  }

  #report({ code = "error", message, request_id: requestId = null }) {
    // What was said is the app's to say again; otherwise the player can only begin afresh.
    const retryable = !this.#isAlone && requestId !== null;
    let onRetry = null;
    if (retryable) onRetry = () => this.#post("retry", { request_id: requestId });
    else if (RESTART_HELPS.includes(code)) onRetry = this.#restart;
    this.#notice.showError(sentence(message), onRetry);
    this.#post("error", { code, message, request_id: requestId, retryable });
  }

  // The app's own mistake, or a wish that this browser can't fulfil: nothing for the viewer.
  #reportOption(code, message) {
    this.#post("error", { code, message, request_id: null, retryable: false });
  }

  // Where the loop is, so that the server lets speech begin on the frame that will be on screen.
  async #reportPosition() {
    const stage = this.#stage;
    if (this.#isOver || stage.isSpeechShown || document.hidden || stage.idle.paused) return;
    try {
      await fetch(this.#address("/position"), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ avatar_frame: stage.idleFrame }),
      });
    } catch {
      // Only a hint: without it the server counts on from the last one.
    }
  }

  #onVisible() {
    if (document.hidden || this.#isOver || this.#stage.isSpeechShown) return;
    void this.#stage.playIdle().then(() => this.#reportPosition());
  }

  /** The session is over: speech stops, the face stays, and the viewer is told what can be done. */
  #end({ reason }) {
    this.#setState("closed");
    this.#isOver = true;
    this.#connection.close();
    this.#turns.stop();
    this.#notice.showOver(reason, {
      // An unknown session may be a proxy's mistake; one that was ended stays so.
      onReload: reason === "unknown" ? this.#restart : null,
      canStartNew: this.#isAlone,
    });
    this.#post("closed", { reason });
  }

  async #showPlaceholder() {
    try {
      await this.#stage.start(() => this.#notice.setTap("Tap to start", this.#onTap));
    } catch {
      if (this.#listeners.signal.aborted) return;
      this.#report({ code: "placeholder_failed", message: "The avatar could not be loaded." });
      return;
    }
    if (this.#listeners.signal.aborted) return;
    const { videoWidth: width, videoHeight: height } = this.#stage.idle;
    this.#backdrop.paint(this.#stage.idle, { width, height });
    this.#isFaceShown = true;
    this.#poster.cover();
    this.#extras.shown();
    if (this.#state === "unsupported") return;
    this.#post("ready", { avatar_id: this.#avatar.id });
    if (this.#state === "loading") this.#setState("idle");
    void this.#reportPosition();
  }
}
