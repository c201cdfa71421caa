// What to do when playback does not move: a decision from what was observed, by polling, because
// neither readyState nor the "waiting" event can be trusted. No I/O here.

const EDGE_S = 0.1; // closer than this to the end of a range counts as being at its end
const AT_END_S = 0.01; // nothing of a picture is left
const GAP_AFTER_S = 0.15;
const FINISH_AFTER_S = 0.3;
const NUDGE_AFTER_S = 1;
const NUDGE_S = 0.1;
const MAX_NUDGES = 3;
const SEEK_LOST_AFTER_S = 2;
const RESUME_WITH_S = 0.5;
const WAITING_AFTER_S = 0.5;
const GIVE_UP_AFTER_S = 15; // as a fetch of ours

/**
 * Chunks are appended in order, so a hole with something behind it will never be filled, unless it
 * was the browser who made it.
 *
 * @param {object} seen
 *   currentTime  s
 *   still        s since currentTime last changed, or playback went on
 *   paused       by anyone but us
 *   seeking
 *   holding      we paused because nothing was left to play; or, selfPaced, it waits for more
 *   buffered     [[start, end], …] s
 *   drained      nothing more will be appended
 *   selfPaced    the browser fetches by itself, and plays on as soon as there is anything
 *   refilling    what the browser removed is appended again
 *   nudges       already tried at this place
 * @returns {{act: "none"|"finish"|"jump"|"nudge"|"hold"|"resume"|"recover", to?: number}}
 */
export function decide(seen) {
  if (seen.selfPaced) return look(seen);
  const { currentTime, still, buffered, drained, holding } = seen;
  const here = buffered.find(([start, end]) => start <= currentTime + 0.01 && currentTime < end);
  const lead = here ? here[1] - currentTime : 0;
  const behind = buffered.find(([start]) => start > currentTime + 0.01);
  const next = seen.refilling ? undefined : behind;

  if (holding) {
    if (next && lead < EDGE_S) return { act: "jump", to: next[0] + 0.01 };
    // Played at its very end, a video begins again (HTML, "internal play steps").
    if (drained && lead < AT_END_S) return { act: "finish" };
    return lead >= RESUME_WITH_S || drained ? { act: "resume" } : { act: "none" };
  }
  // A seek into what is there takes a moment; WebKitGTK never ends some.
  const isSeekLost = here !== undefined && still >= SEEK_LOST_AFTER_S;
  if (seen.paused || (seen.seeking && !isSeekLost)) return { act: "none" };
  if (lead < EDGE_S) {
    if (next) return still >= GAP_AFTER_S ? { act: "jump", to: next[0] + 0.01 } : { act: "none" };
    if (drained) return still >= FINISH_AFTER_S ? { act: "finish" } : { act: "none" };
    return still >= GAP_AFTER_S ? { act: "hold" } : { act: "none" };
  }
  if (still < NUDGE_AFTER_S) return { act: "none" };
  if (seen.nudges < MAX_NUDGES) return { act: "nudge", to: currentTime + NUDGE_S };
  return { act: "recover" };
}

/** What a browser that does all of it by itself is up to; `buffered` is what it could have. */
function look({ currentTime, still, paused, seeking, holding, buffered, drained }) {
  const end = buffered[buffered.length - 1]?.[1] ?? 0;
  const isAtEnd = drained && end - currentTime < EDGE_S;
  if (isAtEnd) return still >= FINISH_AFTER_S ? { act: "finish" } : { act: "none" };
  if (paused) return { act: "none" };
  if (still >= GIVE_UP_AFTER_S) return { act: "recover" };
  if (holding) return still < GAP_AFTER_S ? { act: "resume" } : { act: "none" };
  if (seeking) return { act: "none" };
  return still >= WAITING_AFTER_S ? { act: "hold" } : { act: "none" };
}
