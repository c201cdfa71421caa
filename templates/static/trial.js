// An avatar that really speaks here, and what was seen and heard of it.

import { createSession } from "../client/api.js";
import { currentKey } from "./key.js";
import { listen } from "./listen.js";

const READY_MS = 20_000;
const SPOKEN_MS = 30_000;
const SECONDS = 3;
const RATE = 16_000;
const MIDDLE_MS = 1000;
const LEAVE_MS = 2000;

/**
 * Resolves to `{rows: [[name, value], …], problems: [text, …], isSpoken}`; never rejects. `stage`:
 * the element that it is shown in. To be called in a tap.
 */
export async function speakOnce(server, stage) {
  const trial = { rows: [], problems: [], isSpoken: false };
  let session = null;
  const leave = () => session?.close().catch(() => {}); // the server ends it soon by itself
  addEventListener("pagehide", leave);
  try {
    session = await createSession({ server, key: currentKey() });
    await watch(session, stage, trial);
  } catch (error) {
    trial.problems.push(`${error.message}${error.detail ? ` (${error.detail})` : ""}`);
  }
  removeEventListener("pagehide", leave);
  stage.replaceChildren();
  await Promise.race([leave(), new Promise((resolve) => setTimeout(resolve, LEAVE_MS))]);
  return trial;
}

async function watch(session, stage, trial) {
  const avatar = document.createElement("musetalk-avatar");
  const ready = next(avatar, "ready", READY_MS);
  const failed = next(avatar, "error", READY_MS).then(() => null);
  avatar.addEventListener("error", ({ detail }) => {
    trial.problems.push(`${detail.message} (${detail.code})`);
  });
  const beganAt = performance.now();
  avatar.session = session;
  stage.replaceChildren(avatar);
  stage.scrollIntoView({ block: "nearest" }); // what is not seen may not be painted
  if ((await Promise.race([ready, failed])) === null) {
    if (trial.problems.length > 0) return;
    throw new Error("The avatar did not appear.");
  }
  trial.rows.push(["Avatar on the screen", `${Math.round(performance.now() - beganAt)} ms`]);

  const started = next(avatar, "speech_started", SPOKEN_MS);
  const ended = next(avatar, "speech_ended", SPOKEN_MS);
  const sentAt = performance.now();
  const { requestId } = await session.sendAudio(new Blob([tone()], { type: "audio/wav" }));
  const shown = await Promise.race([started, ended.then(() => null)]);
  if (shown === null) {
    if (trial.problems.length > 0) return;
    throw new Error("Speech was sent and never began.");
  }
  trial.rows.push(["First frame after sending", `${Math.round(performance.now() - sentAt)} ms`]);
  trial.rows.push(["First frame after its chunk", `${shown.delay_ms} ms`]);
  const stopListening = listen(avatar.shadowRoot.getElementById("talk"));
  let buffered, end, loudness;
  try {
    await new Promise((resolve) => setTimeout(resolve, MIDDLE_MS));
    buffered = avatar.debug.buffered;
    end = await ended;
  } finally {
    loudness = await stopListening();
  }
  if (end === null) throw new Error("Speech began and never ended.");
  trial.isSpoken = end.reason === "complete";
  if (!trial.isSpoken) trial.problems.push(`Speech ended early: ${end.reason}.`);
  describe(avatar.debug, { requestId, shown, end, buffered, loudness }, trial);
}

function describe(debug, { requestId, shown, end, buffered, loudness }, trial) {
  const frames = debug.frames.filter(
    (frame) => frame.video === "talk" && frame.request_id === requestId,
  );
  const gaps = frames.slice(1).map(({ at }, index) => at - frames[index].at);
  const longestMs = Math.round(Math.max(0, ...gaps));
  const { stalls, jumps, nudges, recoveries, skipped } = debug.counters;
  trial.rows.push(
    ["Played by", { mse: "MediaSource", hls: "HLS", chunks: "files" }[debug.source] ?? "unknown"],
    ["Played", `${end.played_s.toFixed(2)} of ${SECONDS.toFixed(2)} s, ${end.reason}`],
    ["Frames painted", `${frames.length}`],
    ["Longest gap between frames", `${longestMs} ms`],
    ["Stalls, jumps, nudges", [stalls, jumps, nudges].join(", ")],
    ["Rebuilt, left out", [recoveries, skipped].join(", ")],
    ["Buffered after a second", rangesText(buffered)],
    ["Sound", shown.muted ? "blocked by the browser" : loudness.text],
  );
  if (debug.errors.length > 0) trial.rows.push(["Caught", debug.errors.join("; ")]);
  if (shown.muted) trial.problems.push("The browser let nothing be heard.");
  else if (loudness.isSilent) trial.problems.push("The sound that was played was silent.");
  if (frames.length < 5 * end.played_s) trial.problems.push("Few pictures were painted.");
  if (stalls > 0) trial.problems.push("Speech had to wait for the network.");
  if (longestMs > 500) trial.problems.push("The picture stood still for a moment.");
}

function rangesText(ranges) {
  return ranges.map(([start, end]) => `${start.toFixed(2)} – ${end.toFixed(2)} s`).join(", ");
}

/** The fields of the next event of that type, or null when it takes too long. */
function next(avatar, type, ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), ms);
    const take = ({ detail }) => {
      clearTimeout(timer);
      resolve(detail);
    };
    avatar.addEventListener(type, take, { once: true });
  });
}

/** A wav file, 16 bit, mono: a tone that swells as syllables do. */
function tone() {
  const count = SECONDS * RATE;
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  for (let i = 0; i < count; i += 1) {
    const t = i / RATE;
    const swell = 0.5 - 0.5 * Math.cos(2 * Math.PI * 3 * t);
    const level = 0.3 * swell * Math.sin(2 * Math.PI * 330 * t);
    view.setInt16(44 + 2 * i, Math.round(32767 * level), true);
  }
  return view.buffer;
}
