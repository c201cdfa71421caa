// What was said in a session: of which sound, and what there is to tell of it.

const KEPT = 100;

export class Said {
  #all = new Map(); // by request id, the oldest first

  /** What is known of one, to be read and written: it may be heard of before it is uploaded. */
  of(requestId) {
    let its = this.#all.get(requestId);
    if (its === undefined) {
      its = { file: null, uploadedAt: null, shownAt: null, chunks: null, durationS: null };
      this.#all.set(requestId, its);
      if (this.#all.size > KEPT) this.#all.delete(this.#all.keys().next().value);
    }
    return its;
  }
}

/** The figures of one, in words. */
export function figures({ uploadedAt = null, shownAt = null, chunks = null, durationS = null }) {
  const isSeen = uploadedAt !== null && shownAt !== null;
  return {
    delay: isSeen ? `${Math.round(shownAt - uploadedAt)} ms` : "–",
    chunks: chunks === null ? "–" : String(chunks),
    duration: durationS === null ? "–" : `${durationS.toFixed(1)} s`,
  };
}
