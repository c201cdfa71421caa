// Utterances that share one source, one right behind the other: which is where on its time line.
// Times are seconds of the source. No I/O here.

const BORDER_S = 0.002; // time stamps are rounded to microseconds on their way through the browser
const HOLE_S = 0.1; // sound and picture of a chunk begin and end a moment apart

export class Run {
  #places; // {utterance, offset}, offset: where on the time line the utterance begins
  #at = 0;
  #cutFrom = null;

  constructor(first) {
    this.#places = [{ utterance: first, offset: 0 }];
  }

  get current() {
    return this.#places[this.#at];
  }

  /** The place behind the current one, or null. */
  get next() {
    return this.#places[this.#at + 1] ?? null;
  }

  get last() {
    return this.#places[this.#places.length - 1];
  }

  /** Utterances that have been appended and not been reached. */
  get ahead() {
    return this.#places.slice(this.#at + 1).map(({ utterance }) => utterance);
  }

  get #ahead() {
    return this.#places.slice(this.#at);
  }

  /** The place to append to: the last one, unless an earlier one has to be made whole again. */
  get appending() {
    return this.#ahead.find(({ utterance }) => utterance.queue.isRefilling) ?? this.last;
  }

  /** Something that was appended is gone, and comes again. */
  get isRefilling() {
    return this.appending.utterance.queue.isRefilling;
  }

  /** The end of everything that was appended. */
  get end() {
    const { utterance, offset } = this.last;
    return offset + utterance.queue.appendedEnd;
  }

  /** Everything that will ever come of these utterances has been appended or skipped. */
  get isDrained() {
    return !this.isRefilling && this.last.utterance.queue.isDrained;
  }

  /**
   * Of what is to be played from `time` on, what is not `buffered` any more, `[[start, end], …]`,
   * is to be appended again. False: nothing of it is missing.
   */
  refill(buffered, time) {
    const isThere = (from, to) =>
      buffered.some(([start, end]) => start <= from + HOLE_S && end >= to - HOLE_S);
    const refills = this.#ahead.map(({ utterance, offset }) =>
      utterance.queue.refill(({ start, duration }) => {
        const end = offset + start + duration;
        return end > time + HOLE_S && !isThere(Math.max(offset + start, time), end);
      }),
    );
    return refills.includes(true);
  }

  /**
   * `utterance` comes right behind the last one's sound: within its last frame, so that no more is
   * to be heard of the border than of one between two words.
   */
  add(utterance) {
    const { utterance: before, offset } = this.last;
    this.#places.push({ utterance, offset: offset + before.soundEnd });
  }

  has(utterance) {
    return this.#indexOf(utterance) >= 0;
  }

  /**
   * `utterance`, not reached yet, is not wanted any more, and what is behind it not here: those
   * that leave.
   */
  drop(utterance) {
    const index = this.#indexOf(utterance);
    if (index <= this.#at) return [];
    const dropped = this.#places.splice(index);
    this.#cutFrom = Math.min(this.#cutFrom ?? Infinity, dropped[0].offset);
    return dropped.map((place) => place.utterance);
  }

  #indexOf(utterance) {
    return this.#places.findIndex((place) => place.utterance === utterance);
  }

  /** From where on the source holds what is not wanted, once; null: nowhere. */
  takeCut() {
    const from = this.#cutFrom;
    this.#cutFrom = null;
    return from;
  }

  /** The place that `time` belongs to. */
  placeAt(time) {
    const entered = this.#places.filter(({ offset }) => offset <= time + BORDER_S);
    return entered[entered.length - 1] ?? this.#places[0];
  }

  /**
   * Playback has come to `time`: the utterances entered since the last call, in order. Of those
   * left, the last one is kept: pictures of it are still told of.
   */
  moveTo(time) {
    const entered = [];
    while (this.next !== null && this.next.offset <= time + BORDER_S) {
      this.#at += 1;
      entered.push(this.current.utterance);
    }
    while (this.#at > 1) {
      this.#places.shift();
      this.#at -= 1;
    }
    return entered;
  }
}
