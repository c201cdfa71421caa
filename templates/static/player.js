// The player: events in, two videos out. Everything is wired here; how each part works is its own.

import { Backdrop } from "./backdrop.js";
import { isEmbedded, makeBridge } from "./bridge.js";
import { takeCommands } from "./commands.js";
import { EventConnection } from "./events.js";
import { exposeForDebugging } from "./debug.js";
import { Lineup } from "./lineup.js";
import { Notice } from "./notice.js";
import { PlaybackReports } from "./playback-reports.js";
import { Wakeup, nextDisplay } from "./signals.js";
import { mediaSourceClass } from "./source.js";
import { Stage } from "./stage.js";
import { Talk } from "./talk.js";
import { Turns } from "./turns.js";
import { Utterance } from "./utterance.js";
import { warmUpSound } from "./warm-up.js";
import { sentence } from "./words.js";

const REPORT_EVERY_MS = 5000;
const OFFLINE_AFTER_MS = 3000;
const CUT_SHORT = ["interrupted", "cancelled", "lost"];
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
const reports = new PlaybackReports(config.playback_url);
const changed = new Wakeup(); // something about an utterance
const lineup = new Lineup(
  (requestId, given) => new Utterance(requestId, { ...given, changed, counters }),
);

const stage = new Stage({
  idle: document.getElementById("idle"),
  talk: document.getElementById("talk"),
  avatar: config.avatar,
  onFrame: takeFrame,
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
  onAppended: ({ utterance, ...entry }) => {
    utterance.appendedAt ??= performance.now();
    debug.logAppend({ request_id: utterance.requestId, ...entry });
  },
  nextOf: (utterance) => lineup.followerOf(utterance),
  onNext: (utterance, { muted }) => turns.moveOnTo(utterance, { muted }),
});
const turns = new Turns({
  lineup,
  talk,
  stage,
  changed,
  counters,
  onState: setState,
  onShown: onSpeechShown,
  onSilent,
  onEnded,
  onIdle: reportPosition,
  onError: debug.logError,
});
const connection = new EventConnection({
  url: config.events_url,
  sessionUrl: config.session_url,
  onEvent: take,
  onConnected: setConnected,
  onGone: close,
});

let state = "loading";
let isOver = false;
let isSoundBlocked = false;
let offlineTimer = 0;

debug.provide({
  state: () => state,
  request_id: () => lineup.current?.requestId ?? null,
  position: () => lineup.current?.position ?? null,
  buffered: () => talk.buffered,
  current_time: () => stage.talk.currentTime,
  sound_blocked: () => isSoundBlocked,
  idle_frame: () => stage.idleFrame,
  reconnects: () => connection.reconnects,
});

// ---- what the server says ----

function take(event) {
  lineup.take(event);
  changed.notify();
  if (event.event === "error") report(event);
}

// ---- what becomes of an utterance ----

function onSilent({ requestId, position }, reason) {
  reports.finished(requestId, { playedS: position, interrupted: CUT_SHORT.includes(reason) });
}

function onEnded(utterance, reason, failure) {
  const { requestId, position } = utterance;
  const played = { played_s: position, played_ms: Math.round(position * 1000) };
  post("speech_ended", { request_id: requestId, reason, ...played });
  if (reason !== "lost" && reason !== "empty") return;
  onSilent(utterance, reason);
  const message = failure ?? "This could not be played.";
  report({ code: "playback_failed", message, request_id: requestId });
}

async function onSpeechShown(utterance, { appendedAt, paintedAt, muted }) {
  setState("speaking");
  const shownAt = await nextDisplay();
  reports.started(utterance.requestId, shownAt);
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

function takeFrame(frame) {
  const place = frame.video === "talk" ? talk.locate(frame.mediaTime) : null;
  const utterance = place?.utterance ?? lineup.current;
  debug.logFrame({ ...frame, ...place }, utterance?.requestId ?? null);
}

function setState(next) {
  if (next === state || isOver) return;
  state = next;
  notice.setState(state);
  post("state", { state, request_id: lineup.current?.requestId ?? null });
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
  if (isConnected) {
    notice.setOffline(false);
    reports.retry();
  } else offlineTimer = setTimeout(() => notice.setOffline(true), OFFLINE_AFTER_MS);
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

// Asked for by the app around us; the server's answer comes as an event.
async function interrupt() {
  if ((await isInterrupted()) || isOver || (await isInterrupted())) return;
  const message = "The avatar could not be interrupted.";
  report({ code: "interrupt_failed", message });
}

async function isInterrupted() {
  try {
    const response = await fetch(config.interrupt_url, { method: "POST" });
    return response.ok;
  } catch {
    return false; // unreachable for now
  }
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
  turns.stop();
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
  void turns.run();
  takeCommands({ interrupt });
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
