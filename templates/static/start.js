// The start page: a session with a face, sounds in, and everything that happens in sight.

import { address } from "./address.js";
import { curlLines, showCurlLines } from "./curl-lines.js";
import { EventLog } from "./event-log.js";
import { currentKey, enter } from "./key.js";
import { Problem, createSession } from "../client/api.js";
import { toWire } from "../client/api/names.js";
import { LiveInput } from "./live-input.js";
import { Said, figures } from "./said.js";
import { SettingsForm } from "./settings-form.js";
import { acceptSounds } from "./sound-input.js";
import { showFigures } from "./stats-list.js";

const POLL_MS = 2000;
const SPEAKING = ["preparing", "speaking", "buffering"];
const OVER_TEXT = {
  deleted: "This session was deleted.",
  expired: "This session has expired.",
  avatar_deleted: "Its avatar was deleted.",
};

const config = JSON.parse(document.getElementById("config").textContent);
const part = (id) => document.getElementById(id);
if (config.is_closed) config.avatars = await enter();
const frame = part("player");
const log = new EventLog(part("log"), part("log-count"));
// The page of avatars links to `/?avatar=…`.
const wanted = new URLSearchParams(location.search).get("avatar") || config.default_avatar;
const form = new SettingsForm(
  part("settings"),
  { avatar: part("avatar"), options: part("options"), summary: part("settings-summary") },
  { ...config, default_avatar: wanted },
);

let session = null;
let settings = null; // those that it was created with
let opening = null; // the promise of the session that is being opened
let following = null; // ends this page's own connection to the events; the player has another
let said = new Said();
let heard = null; // request id of the one that is heard, or was last

// ---- the session ----

/** A new session in place of the one there is; asked again meanwhile, it is the same new one. */
function openSession() {
  opening ??= replaceSession().finally(() => {
    opening = null;
  });
  return opening;
}

async function replaceSession() {
  showProblem(null);
  await closeSession();
  showNoSession(null);
  try {
    settings = form.values;
    session = await createSession({ server: address(""), key: currentKey(), ...settings });
  } catch (problem) {
    endSession("No session could be opened.");
    showProblem(problem, openSession);
    return;
  }
  frame.src = session.playerUrl;
  part("open-player").href = session.playerUrl;
  part("open-player").hidden = false;
  part("delete").disabled = false;
  showCurl();
  void follow(session);
  void pollStats();
}

/** The player's token is used up; who has a key makes another. */
async function admitPlayer() {
  const its = session;
  try {
    const { token, playerUrl } = await its.createToken({ rights: ["view", "interrupt"] });
    if (its !== session) return;
    part("open-player").href = playerUrl;
    const command = { target: "musetalk-player", type: "set", token };
    frame.contentWindow.postMessage(command, location.origin);
  } catch (problem) {
    showProblem(problem, admitPlayer);
  }
}

async function closeSession() {
  following?.abort();
  const closing = session;
  session = null;
  part("interrupt").disabled = true;
  if (!closing) return;
  try {
    await closing.close();
  } catch (problem) {
    log.add("page", "problem", { ...problem });
  }
}

async function follow(its) {
  log.clear();
  said = new Said();
  heard = null;
  showFiguresOf(heard);
  const onConnected = (isConnected) => isConnected || log.add("page", "disconnected", {});
  following = new AbortController();
  for await (const event of its.events({ onConnected, signal: following.signal })) {
    log.add("server", event.event, event);
    if (event.request_id) learn(event);
    if (event.event === "closed" && event.reason !== "shutdown") onSessionOver(event.reason);
  }
}

function learn(event) {
  const its = said.of(event.request_id);
  if (event.event === "started" || event.event === "complete") its.durationS = event.duration;
  else if (event.event === "chunk") its.chunks = event.index + 1;
  else if (event.type === "speech_started") {
    its.shownAt = performance.now();
    heard = event.request_id;
  }
  showFiguresOf(heard);
}

function onSessionOver(reason) {
  following.abort();
  session = null;
  showProblem(null);
  endSession(OVER_TEXT[reason] ?? "This session has ended.");
}

/** Nothing of a session that isn't there stays in sight, but the log. */
function endSession(text) {
  setState("closed");
  part("open-player").hidden = true;
  part("delete").disabled = true;
  part("stats").replaceChildren();
  part("curl").replaceChildren();
  showNoSession(text);
}

/** Cover the player with a reason and a way on; null uncovers it. */
function showNoSession(text) {
  part("no-session").hidden = text === null;
  part("no-session-text").textContent = text ?? "";
  frame.hidden = text !== null;
  if (text !== null) frame.removeAttribute("src");
}

// ---- speaking ----

async function speak(file) {
  showProblem(null);
  const limit = config.limits.max_upload_bytes;
  if (file.size > limit) {
    const detail = `${megabytes(file.size)} is more than the ${megabytes(limit)} that are taken here.`;
    showProblem(new Problem({ title: "Upload too large.", detail, code: "upload_too_large" }));
    return;
  }
  if (session === null) await openSession();
  if (session === null) return;
  const uploadedAt = performance.now();
  showProgress(0);
  try {
    const options = { ...Object.fromEntries(form.uploadQuery), onProgress: showProgress };
    const accepted = await session.sendAudio(file, options);
    Object.assign(said.of(accepted.requestId), { file, uploadedAt });
    showFiguresOf(heard);
    log.add("page", "uploaded", { ...toWire(accepted), name: file.name, bytes: file.size });
  } catch (problem) {
    log.add("page", "problem", { ...problem });
    showProblem(problem, problem.retryable ? () => speak(file) : null);
  }
  showProgress(null);
}

/** Where the microphone's sound goes, or null: there is no session. */
async function openWriter(format) {
  if (session === null) await openSession();
  return session && session.streamAudio({ ...Object.fromEntries(form.uploadQuery), format });
}

async function interrupt() {
  if (session === null) return;
  try {
    log.add("page", "interrupt", toWire(await session.interrupt()));
  } catch (problem) {
    log.add("page", "problem", { ...problem });
    showProblem(problem);
  }
}

function sayAgain(requestId) {
  const { file } = said.of(requestId);
  if (file !== null) void speak(file);
  else {
    const detail = "Live sound is not kept: say it again.";
    showProblem(new Problem({ title: "Can't be repeated.", detail, code: "not_kept" }));
  }
}

window.addEventListener("message", ({ data, source }) => {
  if (source !== frame.contentWindow || data?.source !== "musetalk-player") return;
  log.add("player", data.type, data);
  if (data.type === "speech_started") learn(data);
  if (data.type === "state") setState(data.state);
  if (data.type === "closed" && data.session_id === session?.sessionId) onSessionOver(data.reason);
  if (data.type === "retry") sayAgain(data.request_id);
  if (data.type === "error" && data.code === "token_expired") void admitPlayer();
});

// ---- what is shown ----

async function pollStats() {
  const polled = session;
  if (polled === null || document.hidden || !part("stats-details").open) return;
  try {
    const record = await polled.describe();
    if (polled === session) showFigures(part("stats"), record);
  } catch {
    // The event stream says what is wrong; the next poll may answer again.
  }
}

function showCurl() {
  if (session === null) return;
  const says = config.is_closed ? ` -H "Authorization: Bearer $KEY"` : "";
  const lines = curlLines(address(""), session, settings, form.uploadQuery, says);
  showCurlLines(part("curl"), lines);
}

function setState(state) {
  part("state").textContent = state;
  part("state").dataset.state = state;
  part("interrupt").disabled = !SPEAKING.includes(state);
}

/** The figures of one utterance; null: of none. */
function showFiguresOf(requestId) {
  const shown = requestId === null ? figures({}) : figures(said.of(requestId));
  for (const [name, words] of Object.entries(shown)) part(`figure-${name}`).textContent = words;
}

/** `fraction` of the upload that is done; null hides the bar. */
function showProgress(fraction) {
  part("progress").hidden = fraction === null;
  if (fraction === null) return;
  part("progress").setAttribute("aria-valuenow", String(Math.round(fraction * 100)));
  part("progress-bar").style.width = `${fraction * 100}%`;
}

function showProblem(problem, onRetry = null) {
  part("problem").hidden = problem === null;
  if (problem === null) return;
  part("problem-title").textContent = problem.title;
  part("problem-detail").textContent = problem.detail;
  part("problem-code").textContent = problem.code;
  part("problem-retry").hidden = onRetry === null;
  part("problem-retry").onclick = () => {
    showProblem(null);
    onRetry();
  };
  part("problem").scrollIntoView({ block: "nearest" });
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

// ---- wiring ----

acceptSounds({
  parts: {
    choose: part("choose"),
    file: part("file"),
    drop: part("drop"),
    record: part("record"),
    recordLabel: part("record-label"),
  },
  frame,
  onSound: speak,
  onRecord: () => showProblem(null),
  onProblem: showProblem,
});
new LiveInput(part("live"), {
  openWriter,
  onStart: () => showProblem(null),
  onEvent: (name, event) => log.add("socket", name, toWire(event)),
  onProblem: showProblem,
});
part("interrupt").addEventListener("click", interrupt);
part("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.isValid) void openSession();
});
part("no-session-new").addEventListener("click", openSession);
part("delete").addEventListener("click", async () => {
  part("delete").disabled = true;
  await closeSession();
  if (session === null && opening === null) onSessionOver("deleted");
});
form.onChange(showCurl);
part("stats-details").addEventListener("toggle", pollStats);
part("log-clear").addEventListener("click", () => log.clear());
part("problem-dismiss").addEventListener("click", () => showProblem(null));
window.addEventListener("pagehide", (event) => {
  if (!event.persisted && session) void session.close().catch(() => {});
});
document.addEventListener("visibilitychange", pollStats);
setInterval(pollStats, POLL_MS);
void openSession();
