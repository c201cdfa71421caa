// Arithmetic on the avatar's cycle: which frame is where in time, and how far it is to another.
// Frames are whole numbers in [0, length), times are seconds, rates are frames per second.

/** The cycle frame that a placeholder shows at `mediaTime`, the time stamp of a painted frame. */
export function cycleFrame(mediaTime, fps, length) {
  return mod(Math.round(mediaTime * fps), length);
}

/** Where to seek the placeholder so that it shows `frame`: its middle, safe from rounding. */
export function seekTime(frame, fps) {
  return (frame + 0.5) / fps;
}

/** How many frames the loop has to move on from `from` until it shows `to`. */
export function framesAhead(from, to, length) {
  return mod(to - from, length);
}

/**
 * How long speech that is ready waits for the placeholder to reach `target`.
 * Zero when the placeholder shows it now, is past it, or would need longer than `limit`.
 */
export function holdSeconds(current, target, fps, length, limit = 0.4) {
  const seconds = framesAhead(current, target, length) / fps;
  return seconds <= limit ? seconds : 0;
}

/** The cycle frame that speech which began on frame `start` shows after `seconds`. */
export function speechFrame(start, seconds, speechFps, avatarFps, length) {
  // A painted time stamp is a multiple of 1/fps, stored in binary: keep it from falling below.
  const frame = Math.floor(seconds * speechFps + 1e-3);
  return mod(start + Math.floor((frame * avatarFps) / speechFps + 1e-9), length);
}

/** The cycle frame shown now by a loop that showed `frame` `elapsed` seconds ago. */
export function frameAfter(frame, elapsed, fps, length) {
  return mod(frame + Math.floor(elapsed * fps), length);
}

function mod(a, n) {
  return ((a % n) + n) % n;
}
