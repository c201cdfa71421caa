// Waiting: for a time, for an event, for a painted frame; each ends early when its signal aborts.

/** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
export function delay(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
  });
}

/** Resolves to the time (ms) of the next display frame; at once on a hidden page, which has none. */
export function nextDisplay() {
  return new Promise((resolve) => {
    if (document.hidden) return resolve(performance.now());
    const timer = setTimeout(() => resolve(performance.now()), 100);
    requestAnimationFrame((at) => {
      clearTimeout(timer);
      resolve(at);
    });
  });
}

/** A condition variable: `wait` resolves at the next `notify`, after `ms`, or on abort. */
export class Wakeup {
  #waiters = new Set();

  notify() {
    for (const wake of [...this.#waiters]) wake();
  }

  wait(signal, ms = Infinity) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = ms < Infinity ? setTimeout(wake, ms) : 0;
      const waiters = this.#waiters;
      function wake() {
        clearTimeout(timer);
        waiters.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve();
      }
      waiters.add(wake);
      signal?.addEventListener("abort", wake);
    });
  }
}

/**
 * Calls `onFrame({mediaTime, at})` for every frame that `video` paints; returns a function that
 * stops it. `at` is in milliseconds on the clock of `performance.now()`.
 */
export function watchFrames(video, onFrame) {
  if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) return pollFrames(video, onFrame);
  let handle = 0;
  let stopped = false;
  const next = (now, metadata) => {
    if (stopped) return;
    handle = video.requestVideoFrameCallback(next);
    onFrame({ mediaTime: metadata.mediaTime, at: now });
  };
  handle = video.requestVideoFrameCallback(next);
  return () => {
    stopped = true;
    video.cancelVideoFrameCallback(handle);
  };
}

// Firefox before 132: the clock of the element stands for the frame, seen once per display frame.
function pollFrames(video, onFrame) {
  let last = -1;
  let handle = 0;
  const tick = (now) => {
    handle = requestAnimationFrame(tick);
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.seeking) return;
    if (video.currentTime === last) return;
    last = video.currentTime;
    onFrame({ mediaTime: last, at: now });
  };
  handle = requestAnimationFrame(tick);
  return () => cancelAnimationFrame(handle);
}

/**
 * Resolves to the next frame that `video` paints, or to null after `ms` or when `signal` aborts:
 * a hidden page paints nothing, so painting is always raced by a timer.
 */
export async function nextFrame(video, ms, signal) {
  let stop = () => {};
  const painted = new Promise((resolve) => {
    stop = watchFrames(video, resolve);
  });
  const over = new AbortController();
  const abort = () => over.abort();
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) over.abort();
  const frame = await Promise.race([painted, delay(ms, over.signal).then(() => null)]);
  signal?.removeEventListener("abort", abort);
  over.abort();
  stop();
  return frame;
}
