// What the server tells of utterances besides their chunks: captions, and how loud each frame is.
// Both may come before the utterance begins, and captions after it began. No I/O here.

const UTTERANCES_KEPT = 50;
const CUES_AT_ONCE = 3;

export class Tracks {
  #known = new Map(); // request id -> {cues, chunks}, the last one told of at the end

  take({ event, request_id: requestId, cues, levels, index, start, duration }) {
    if (event === "captions") this.#of(requestId).cues = cues ?? [];
    else if (event === "chunk" && levels?.length > 0) {
      this.#of(requestId).chunks[index] = { start, duration, levels };
    }
  }

  #of(requestId) {
    const known = this.#known.get(requestId) ?? { cues: [], chunks: [] };
    this.#known.delete(requestId);
    this.#known.set(requestId, known);
    if (this.#known.size > UTTERANCES_KEPT) this.#known.delete(this.#known.keys().next().value);
    return known;
  }

  /** The texts to be read `seconds` after the beginning of an utterance, three at most. */
  captionsAt(requestId, seconds) {
    const cues = this.#known.get(requestId)?.cues ?? [];
    const now = cues.filter(({ start, end }) => start <= seconds && seconds < end);
    return now.slice(-CUES_AT_ONCE).map(({ text }) => text);
  }

  /** How loud an utterance is there (dB of full scale, -90 … 0), or null where that isn't known. */
  levelAt(requestId, seconds) {
    const chunks = this.#known.get(requestId)?.chunks ?? [];
    const [chunk] = chunks.filter((each) => each && each.start <= seconds + 1e-3).slice(-1);
    if (chunk === undefined) return null;
    const frame = ((seconds - chunk.start + 1e-3) / chunk.duration) * chunk.levels.length;
    return chunk.levels[Math.floor(frame)] ?? null;
  }
}
