// The player: events in, two videos out. Everything is wired here; how each part works is its own.

import { Backdrop } from "./backdrop.js";
import { isEmbedded, makeBridge } from "./bridge.js";
import { EventConnection } from "./events.js";
import { exposeForDebugging } from "./debug.js";
import { Notice } from "./notice.js";
import { Wakeup, nextDisplay, nextFrame } from "./signals.js";
import { MediaFailure, mediaSourceClass } from "./source.js";
import { Stage } from "./stage.js";
import { Talk } from "./talk.js";
import { Utterance } from "./utterance.js";
import { warmUpSound } from "./warm-up.js";
import { sentence } from "./words.js";

const REPORT_EVERY_MS = 5000;
const OFFLINE_AFTER_MS = 3000;
const FINISHED_KEPT = 50;
const ATTEMPTS = 2;
const RELOAD_HELPS = ["playback_failed", "placeholder_failed"];

const OVER_TEXT = {
  deleted: "This session was closed.",
  expired: "This session has expired.",
  avatar_deleted: "The avatar of this session was deleted.",
  unknown: "This session does not exist any more.",
  gone: "This session has ended.",
};

const config = JSON.parse(document.getElementById("config").textContent);
const root = document.getElementById("player");
const post = makeBridge(config.session_id);
const notice = new Notice(root);
const debug = exposeForDebugging(config.session_id);
const { counters } = debug;

const stage = new Stage({
  idle: document.getElementById("idle"),
  talk: document.getElementById("talk"),
  avatar: config.avatar,
  onFrame: (frame) => debug.logFrame(frame, current?.requestId ?? null),
});
const backdrop = new Backdrop({
  root,
  canvas: document.getElementById("backdrop"),
  video: stage.idle,
  picture: config.avatar,
});
const talk = new Talk({
  stage,
  avatar: config.avatar,
  counters,
  onSound: setSoundBlocked,
  onBuffering: (isBuffering) => setState(isBuffering ? "buffering" : "speaking"),
  onAppended: (entry) => debug.logAppend({ request_id: current.requestId, ...entry }),
});
const connection = new EventConnection({
  url: config.events_url,
  sessionUrl: config.session_url,
  onEvent: take,
  onConnected: setConnected,
  onGone: close,
});

let state = "loading";
let current = null; // the utterance being played
let isOver = false;
let isSoundBlocked = false;
let offlineTimer = 0;
const waiting = []; // utterances announced and not yet begun, in order
const finished = []; // ids of the last ones that ended, so that a replay doesn't repeat them
const announced = new Wakeup();

debug.provide({
  state: () => state,
  request_id: () => current?.requestId ?? null,
  buffered: () => talk.buffered,
  current_time: () => stage.talk.currentTime,
  sound_blocked: () => isSoundBlocked,
  idle_frame: () => stage.idleFrame,
  reconnects: () => connection.reconnects,
});

// ---- what the server says ----

function take(event) {
  if (event.event === "state") takeState(event);
  else utteranceFor(event)?.take(event);
  if (event.event === "error") report(event);
}

// The first event of a fresh connection: what the server is doing, and how far viewers have seen.
function takeState(event) {
  for (const utterance of [current, ...waiting]) {
    if (utterance && utterance.requestId !== event.request_id) utterance.cutShort();
  }
  if (event.request_id && event.position > 0) utteranceFor(event, event.position);
}

function utteranceFor({ request_id: requestId, event }, from = 0) {
  const known = [current, ...waiting].find((utterance) => utterance?.requestId === requestId);
  if (known || finished.includes(requestId)) return known;
  // Anything else about an utterance that we don't know is too late, or from a later version.
  if (!["state", "started", "chunk"].includes(event)) return undefined;
  const utterance = new Utterance(requestId, { from, counters });
  waiting.push(utterance);
  announced.notify();
  return utterance;
}

// ---- one utterance after the other ----

async function speakForEver() {
  while (!isOver) {
    if (waiting.length === 0) await announced.wait();
    else {
      await takeTurn(waiting.shift()).catch((error) => {
        debug.logError(error); // the turns of others go on
        current = null;
      });
    }
  }
}

async function takeTurn(utterance) {
  current = utterance;
  const { reason, failure } = await speak(utterance);
  utterance.stop();
  counters.utterances += 1;
  const requestId = utterance.requestId;
  post("speech_ended", { request_id: requestId, reason, played_s: utterance.position });
  if (reason === "lost" || reason === "empty") {
    const message = failure ?? "This could not be played.";
    report({ code: "playback_failed", message, request_id: requestId });
  }
  finished.push(requestId);
  if (finished.length > FINISHED_KEPT) finished.shift();
  current = null;
  if (waiting.length === 0) setState("idle");
  void reportPosition();
}

/** Resolves to why it ended, and the browser's words for what failed, if there are any. */
async function speak(utterance) {
  let reason = "lost";
  let failure = null;
  for (let attempt = 0; attempt < ATTEMPTS && reason === "lost"; attempt += 1) {
    setState("preparing");
    if (attempt > 0) {
      counters.recoveries += 1;
      utterance.queue.startFrom(utterance.position);
    }
    ({ reason, failure } = await playOnce(utterance));
    await rest(talk.resumeFrame(utterance, reason));
  }
  return { reason, failure };
}

/** Show the loop, and be prepared to speak. */
async function rest(frame) {
  try {
    await stage.showIdle(frame);
    await nextFrame(stage.idle, 100);
    talk.prepare();
  } catch (error) {
    debug.logError(error); // tried again for the next utterance, which says so if it fails
  }
}

async function playOnce(utterance) {
  const onShown = (shown) => void onSpeechShown(utterance, shown);
  try {
    return { reason: await talk.play(utterance, onShown), failure: null };
  } catch (error) {
    debug.logError(error);
    return { reason: "lost", failure: error instanceof MediaFailure ? error.message : null };
  }
}

async function onSpeechShown(utterance, { appendedAt, paintedAt, muted }) {
  setState("speaking");
  const shownAt = await nextDisplay();
  const since = utterance.firstChunkAt;
  const requestId = utterance.requestId;
  debug.logStart({
    request_id: requestId,
    avatar_frame: utterance.avatarFrame,
    shown_at: shownAt,
    appended_ms: appendedAt - since,
    painted_ms: paintedAt - since,
    shown_ms: shownAt - since,
  });
  post("speech_started", { request_id: requestId, delay_ms: Math.round(shownAt - since), muted });
}

// ---- what viewer, app and server are told ----

function setState(next) {
  if (next === state || isOver) return;
  state = next;
  notice.setState(state);
  post("state", { state, request_id: current?.requestId ?? null });
}

function setSoundBlocked(isBlocked) {
  if (isBlocked !== isSoundBlocked) post("sound", { blocked: isBlocked });
  isSoundBlocked = isBlocked;
  if (isBlocked) notice.setTap("Tap for sound", onTap);
  else notice.setTap(null);
}

function onTap() {
  if (!stage.isSpeechShown) void stage.playIdle();
  talk.unblock(state === "speaking");
}

function setConnected(isConnected) {
  clearTimeout(offlineTimer);
  if (isConnected) notice.setOffline(false);
  else offlineTimer = setTimeout(() => notice.setOffline(true), OFFLINE_AFTER_MS);
  post("connection", { connected: isConnected });
}

function report({ code = "error", message, request_id: requestId = null }) {
  // What was said is the app's to say again; otherwise the page can only begin afresh.
  const retryable = isEmbedded() && requestId !== null;
  let onRetry = null;
  if (retryable) onRetry = () => post("retry", { request_id: requestId });
  else if (RELOAD_HELPS.includes(code)) onRetry = () => location.reload();
  notice.showError(sentence(message), onRetry);
  post("error", { code, message, request_id: requestId, retryable });
}

// Where the loop is, so that the server lets speech begin on the frame that will be on screen.
async function reportPosition() {
  if (isOver || stage.isSpeechShown || document.hidden || stage.idle.paused) return;
  try {
    await fetch(config.position_url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ avatar_frame: stage.idleFrame }),
    });
  } catch {
    // Only a hint: without it the server counts on from the last one.
  }
}

function onVisible() {
  if (document.hidden || isOver) return;
  if (!stage.isSpeechShown) void stage.playIdle().then(reportPosition);
}

/** The session is over: speech stops, the face stays, and the viewer is told what can be done. */
function close({ reason }) {
  setState("closed");
  isOver = true;
  connection.close();
  for (const utterance of [current, ...waiting]) utterance?.stop();
  announced.notify();
  notice.showOver(OVER_TEXT[reason] ?? OVER_TEXT.gone, {
    // An unknown session may be a proxy's mistake; one that was ended stays so.
    onReload: reason === "unknown" ? () => location.reload() : null,
    canStartNew: !isEmbedded(),
  });
  post("closed", { reason });
}

async function start() {
  if (mediaSourceClass() === null) {
    setState("unsupported");
    await showPlaceholder();
    report({
      code: "unsupported_browser",
      message: "This browser can't play streamed speech. iPhones need iOS 17.1 or later.",
    });
    return;
  }
  talk.prepare();
  connection.open();
  void speakForEver();
  document.addEventListener("visibilitychange", onVisible);
  window.addEventListener("pageshow", onVisible);
  setInterval(reportPosition, REPORT_EVERY_MS);
  await showPlaceholder();
  warmUpSound();
}

async function showPlaceholder() {
  try {
    await stage.start(() => notice.setTap("Tap to start", onTap));
  } catch {
    report({ code: "placeholder_failed", message: "The avatar could not be loaded." });
    return;
  }
  backdrop.paint();
  if (state === "unsupported") return;
  post("ready", { avatar_id: config.avatar.id });
  if (state === "loading") setState("idle");
  void reportPosition();
}

void start();
