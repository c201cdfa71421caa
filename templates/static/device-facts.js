// What a browser says that it has, and what it lets a page do unasked: `[[name, value], …]`.

const SPEECH = 'video/mp4; codecs="avc1.64001F, mp4a.40.2"';
const LIST = "application/vnd.apple.mpegurl";
const PROBE_MS = 2000;
const SILENCE = // 2 ms of it
  "data:audio/wav;base64,UklGRjQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YRAAAACAgICAgICA" +
  "gICAgICAgICA";

/** Ask before the first tap: afterwards, browsers allow more. */
export async function readFacts(server) {
  const video = document.createElement("video");
  return [
    ["Browser", navigator.userAgent],
    ["Screen", `${screen.width} × ${screen.height}, ${devicePixelRatio} pixels per point`],
    ["MediaSource", sourceOf(self.MediaSource)],
    ["Managed MediaSource", sourceOf(self.ManagedMediaSource)],
    ["Plays lists (HLS)", video.canPlayType(LIST) || "no"],
    ["Plays files (MP4)", video.canPlayType(SPEECH) || "no"],
    ["Tells of painted frames", yes("requestVideoFrameCallback" in video)],
    ["Sound before a tap", await playsUnasked(false)],
    ["Muted before a tap", await playsUnasked(true)],
    ["Volume for scripts", yes(canSetVolume(video))],
    ["WebGL", webGl()],
    ["WebSocket", yes("WebSocket" in self)],
    ["EventSource", yes("EventSource" in self)],
    ["WebAudio", yes("AudioContext" in self)],
    ["Motion", matchMedia("(prefers-reduced-motion: reduce)").matches ? "reduced" : "welcome"],
    ["Clock", await clock(server)],
  ];
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
  const audio = new Audio(SILENCE);
  audio.muted = isMuted;
  const later = new Promise((resolve) => setTimeout(() => resolve("no answer"), PROBE_MS));
  const played = audio.play().then(
    () => "allowed",
    ({ name }) => (name === "NotAllowedError" ? "blocked" : name),
  );
  const answer = await Promise.race([played, later]);
  audio.pause();
  return answer;
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
  for (let last = performance.now(); steps.length < 20; ) {
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
