// Silence within a moment, and without a click.

import { delay } from "./signals.js";

/** How long it takes at most, unless the machine is very busy. */
export const FADE_S = 0.05;
const FADE_MS = 30;
const STEP_MS = 5;

/** Speech gets quieter until it is silent, muted and paused. */
export async function fadeOut(video) {
  const began = performance.now();
  const volume = video.volume;
  let left = 1;
  while (left > 0 && !video.paused && !video.muted && !document.hidden) {
    left = Math.max(0, 1 - (performance.now() - began + STEP_MS) / FADE_MS);
    video.volume = volume * left;
    if (Math.abs(video.volume - volume * left) > 0.01) break; // phones keep scripts from that
    await delay(STEP_MS);
  }
  video.muted = true;
  video.pause();
}
