// How far a job is, in words.

const STAGES = {
  reading: "Reading the file",
  looking: "Looking for the face",
  animating: "Letting the photo breathe",
  following: "Following the face",
  encoding: "Encoding the loop",
  latents: "Getting ready to speak",
};

/** "Following the face · 42 % · about 12 s left". */
export function jobWords({ state, stage, position, percent, seconds_left: left }) {
  if (state === "awaiting_approval") return "Please have a look";
  if (state === "queued") return position > 1 ? `Waiting, number ${position} in line` : "Next in line";
  const words = [STAGES[stage] ?? "Starting", `${Math.round(percent ?? 0)} %`];
  if (left !== null && left !== undefined) words.push(timeLeft(left));
  return words.join(" · ");
}

/** Rounded as one would say it, so that it does not flicker. */
export function timeLeft(seconds) {
  if (seconds < 5) return "a few seconds left";
  if (seconds < 55) return `about ${5 * Math.round(seconds / 5)} s left`;
  return `about ${Math.max(1, Math.round(seconds / 60))} min left`;
}

/** "grandma_2.JPG" is "Grandma 2". */
export function nameOf(fileName) {
  const words = fileName
    .replace(/\.[^.]*$/, "")
    .replace(/[_\s]+/g, " ")
    .trim();
  return (words.charAt(0).toUpperCase() + words.slice(1)).slice(0, 128) || "Avatar";
}

export function fileSize(bytes) {
  if (bytes < 1e5) return `${Math.ceil(bytes / 1000)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
