// What the player is doing, for tests and for a developer's console.
// Read-only; the logs are bounded. docs/player.md describes each field.

const MAX_FRAMES = 4000;
const MAX_ENTRIES = 1000;

export function makeDebugHandle(sessionId) {
  const frames = [];
  const appends = [];
  const starts = [];
  const errors = [];
  const counters = {
    chunks: 0,
    duplicates: 0,
    retries: 0,
    skipped: 0,
    appended: 0,
    jumps: 0,
    nudges: 0,
    stalls: 0,
    evictions: 0,
    quota_hits: 0,
    refills: 0,
    recoveries: 0,
    utterances: 0,
  };
  const player = {
    session_id: sessionId,
    get frames() {
      return frames.map((frame) => ({ ...frame }));
    },
    get appends() {
      return appends.map((entry) => ({ ...entry }));
    },
    get starts() {
      return starts.map((entry) => ({ ...entry }));
    },
    get errors() {
      return [...errors];
    },
    get counters() {
      return { ...counters };
    },
  };
  return {
    player,
    counters,
    /** Add live values: functions that read them, by name. */
    provide(getters) {
      for (const [name, get] of Object.entries(getters)) {
        Object.defineProperty(player, name, { get, enumerable: true });
      }
      Object.freeze(player);
    },
    logFrame({ video, mediaTime, at }, requestId) {
      push(frames, { video, media_time: mediaTime, at, request_id: requestId }, MAX_FRAMES);
    },
    logAppend: (entry) => push(appends, entry, MAX_ENTRIES),
    logStart: (entry) => push(starts, entry, MAX_ENTRIES),
    logError: (error) => push(errors, String(error), MAX_ENTRIES),
  };
}

function push(log, entry, limit) {
  log.push(entry);
  if (log.length > limit) log.splice(0, log.length - limit);
}
