// What a browser says that it has, and what it lets a page do unasked: `[[name, value], …]`.

const SPEECH = 'video/mp4; codecs="avc1.64001F, mp4a.40.2"';
const LIST = "application/vnd.apple.mpegurl";
const ANSWER_MS = 2000;
const CLOCK_MS = 100; // some browsers blur it as far as that
const SILENCE = // 2 ms of it, as a wav file
  "UklGRjQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YRAAAACAgICAgICAgICAgICAgICA";

const FACTS = {
  Browser: () => navigator.userAgent,
  Screen: () => `${screen.width} × ${screen.height}, ${devicePixelRatio} pixels per point`,
  MediaSource: () => sourceOf(self.MediaSource),
  "Managed MediaSource": () => sourceOf(self.ManagedMediaSource),
  "Plays lists (HLS)": () => makeVideo().canPlayType(LIST) || "no",
  "Plays files (MP4)": () => makeVideo().canPlayType(SPEECH) || "no",
  "Tells of painted frames": () => yes("requestVideoFrameCallback" in makeVideo()),
  "Sound before a tap": () => playsUnasked(false),
  "Muted before a tap": () => playsUnasked(true),
  "Volume for scripts": () => yes(canSetVolume(makeVideo())),
  WebGL: webGl,
  WebSocket: () => yes("WebSocket" in self),
  EventSource: () => yes("EventSource" in self),
  WebAudio: () => yes("AudioContext" in self),
  Motion: () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "reduced" : "welcome"),
  Clock: clock,
};

/** Never rejects. Ask before the first tap: afterwards, browsers allow more. */
export function readFacts(server) {
  const facts = Object.entries(FACTS);
  return Promise.all(facts.map(async ([name, ask]) => [name, await answer(ask, server)]));
}

// Here, things fail: what one of them does is no reason to hear nothing of the others.
async function answer(ask, server) {
  const late = new Promise((resolve) => setTimeout(resolve, ANSWER_MS, "no answer"));
  try {
    return await Promise.race([ask(server), late]);
  } catch ({ message }) {
    return `could not be asked: ${message}`;
  }
}

function makeVideo() {
  return document.createElement("video");
}

function yes(has) {
  return has ? "yes" : "no";
}

function sourceOf(SourceClass) {
  if (!SourceClass) return "no";
  const isEnough = SourceClass.isTypeSupported(SPEECH);
  return isEnough ? "yes, with H.264 and AAC" : "yes, without H.264 or AAC";
}

function canSetVolume(video) {
  video.volume = 0.5;
  return video.volume === 0.5;
}

async function playsUnasked(isMuted) {
  const bytes = Uint8Array.from(atob(SILENCE), (letter) => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
  const audio = new Audio(url);
  audio.muted = isMuted;
  try {
    await audio.play();
    audio.pause();
    return "allowed";
  } catch ({ name }) {
    return name === "NotAllowedError" ? "blocked" : name;
  } finally {
    URL.revokeObjectURL(url);
  }
}

function webGl() {
  const context = document.createElement("canvas").getContext("webgl");
  if (context === null) return "no";
  const name = context.getParameter(context.VERSION);
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return name;
}

async function clock(server) {
  const steps = [];
  const beganAt = performance.now();
  for (let last = beganAt; steps.length < 20 && last < beganAt + CLOCK_MS; ) {
    const now = performance.now();
    if (now > last) steps.push(now - last);
    last = now;
  }
  const step = `steps of ${Math.min(...steps).toFixed(3)} ms`;
  try {
    const { headers } = await fetch(new URL("healthz", server), { cache: "no-store" });
    const aheadS = (Date.now() - Date.parse(headers.get("Date"))) / 1000;
    return `${step}, ${Math.round(aheadS)} s ahead of the server's`;
  } catch {
    return `${step}, the server can't be asked`;
  }
}
