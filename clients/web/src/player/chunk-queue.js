// Which chunk of an utterance is fetched next and which is appended next. Strictly by index, each
// once; a chunk that can't be had is skipped and the queue goes on. No I/O here.

const PARALLEL = 3;

// A chunk moves waiting -> fetching -> ready -> appended, or ends as skipped; what the browser
// removes begins again.
export class ChunkQueue {
  #chunks = new Map();
  #next = 0;
  #total = null;
  #from = 0;
  #reached = 0; // one more than the highest index appended

  constructor() {
    this.appended = 0;
    this.appendedEnd = 0; // s
  }

  /** Take an announced chunk `{index, url, start, duration}`; false if it is known already. */
  add({ index, url, start, duration }) {
    if (this.#chunks.has(index)) return false;
    const isOver = start + duration <= this.#from;
    this.#chunks.set(index, {
      index,
      url,
      start,
      duration,
      bytes: null,
      state: isOver ? "skipped" : "waiting",
    });
    this.#advance();
    return true;
  }

  /** No chunk with an index of `total` or more will come; without it: none beyond those known. */
  finish(total = this.known) {
    this.#total = total;
  }

  /** More may come, after all. */
  reopen() {
    this.#total = null;
  }

  /** One more than the highest index announced. */
  get known() {
    return Math.max(-1, ...this.#chunks.keys()) + 1;
  }

  get isFinished() {
    return this.#total !== null;
  }

  /** Begin (again) at `seconds`: chunks that end before it are not needed. */
  startFrom(seconds) {
    this.#from = seconds;
    this.#next = 0;
    this.#reached = 0;
    this.appendedEnd = 0;
    for (const chunk of this.#chunks.values()) {
      if (chunk.state === "fetching") continue;
      chunk.bytes = null;
      chunk.state = chunk.start + chunk.duration <= seconds ? "skipped" : "waiting";
    }
    this.#advance();
  }

  /** Chunks whose fetch should begin now; those that start after `horizon` (s) can wait. */
  takeWanted(horizon) {
    const chunks = [...this.#chunks.values()].sort((a, b) => a.index - b.index);
    let free = PARALLEL - chunks.filter((chunk) => chunk.state === "fetching").length;
    const wanted = chunks.filter(
      (chunk) => chunk.state === "waiting" && chunk.start <= horizon && free-- > 0,
    );
    for (const chunk of wanted) chunk.state = "fetching";
    return wanted;
  }

  arrived(chunk, bytes) {
    if (chunk.state !== "fetching") return;
    chunk.bytes = bytes;
    chunk.state = "ready";
  }

  /** This chunk can't be had: leave it out and go on with the next. */
  skip(chunk) {
    chunk.state = "skipped";
    chunk.bytes = null;
    this.#advance();
  }

  /** The chunk to append now, or null. It stays here until `markAppended`. */
  get ready() {
    const chunk = this.#chunks.get(this.#next);
    return chunk?.state === "ready" ? chunk : null;
  }

  markAppended(chunk) {
    chunk.state = "appended";
    chunk.bytes = null;
    this.appended += 1;
    this.#reached = Math.max(this.#reached, chunk.index + 1);
    this.appendedEnd = Math.max(this.appendedEnd, chunk.start + chunk.duration);
    this.#advance();
  }

  /** Appended chunks that are gone, says `isGone(chunk)`, come again; false: there are none. */
  refill(isGone) {
    const gone = [...this.#chunks.values()].filter(
      (chunk) => chunk.state === "appended" && isGone(chunk),
    );
    for (const chunk of gone) {
      chunk.state = "waiting";
      this.#next = Math.min(this.#next, chunk.index);
    }
    return gone.length > 0;
  }

  get isRefilling() {
    return this.#next < this.#reached;
  }

  /** The index that was never announced although later ones are known, or null. */
  get missing() {
    const last = this.#total ?? this.known;
    return this.#next < last && !this.#chunks.has(this.#next) ? this.#next : null;
  }

  skipMissing() {
    if (this.missing === null) return;
    this.#chunks.set(this.#next, { index: this.#next, start: 0, duration: 0, state: "skipped" });
    this.#advance();
  }

  /** Everything that will ever come has been appended or skipped. */
  get isDrained() {
    return this.#total !== null && this.#next >= this.#total;
  }

  #advance() {
    while (["appended", "skipped"].includes(this.#chunks.get(this.#next)?.state)) this.#next += 1;
  }
}
