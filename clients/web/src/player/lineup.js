// Which utterances there are: the one being played, those that wait, and those that are over or
// dead. An interruption ends an epoch: nothing of it is ever played again. No I/O here.

const FINISHED_KEPT = 50;
const BEGUN = ["started", "complete", "error", "cancelled"];

export class Lineup {
  #create;
  #waiting = []; // announced and not yet begun, in order
  #finished = []; // ids of the last ones that ended, so that a replay doesn't repeat them
  #deadEpoch = -1;
  #joining = null; // id of the one that others see now; those that begin before it were seen

  /** `create(requestId, {epoch, from})`: a new utterance that begins at `from` (s). */
  constructor(create) {
    this.#create = create;
    this.current = null;
  }

  get #all() {
    return this.current === null ? this.#waiting : [this.current, ...this.#waiting];
  }

  get isEmpty() {
    return this.#waiting.length === 0;
  }

  /** Apply an event of the session, in the order in which they come. */
  take(event) {
    if (event.event === "state") this.#takeState(event);
    else if (event.event === "interrupted") this.#kill(event.epoch);
    else this.#takeOwn(event);
  }

  /** The next one to play, now the current one. */
  begin() {
    this.current = this.#waiting.shift();
    return this.current;
  }

  /** `utterance`, which waits, is heard now, right behind the current one. */
  moveOnTo(utterance) {
    this.end();
    this.#waiting = this.#waiting.filter((other) => other !== utterance);
    this.current = utterance;
  }

  /** What was fetched of those that wait is of no use. */
  fetchAgain() {
    for (const { queue, from } of this.#waiting) queue.startFrom(from);
  }

  /** The current one is over. */
  end() {
    this.#finished.push(this.current.requestId);
    if (this.#finished.length > FINISHED_KEPT) this.#finished.shift();
    this.current = null;
  }

  /** The one that was made to be played right behind `utterance`, or null. */
  followerOf(utterance) {
    const alive = this.#waiting.filter(({ signal }) => !signal.aborted);
    const next = alive[alive.indexOf(utterance) + 1]; // the current one is not among those waiting
    return next?.follows === utterance.requestId ? next : null;
  }

  /** The session is over: nothing goes on. */
  stop() {
    for (const utterance of this.#all) utterance.stop();
  }

  // The first event of a fresh connection: what the server is doing, and how far viewers have seen.
  #takeState(event) {
    const before = (event.epoch ?? 0) - 1;
    // A server that was started anew counts on from elsewhere, and has interrupted nothing.
    if (event.resumed) this.#deadEpoch = Math.max(this.#deadEpoch, before);
    else this.#kill(before);
    for (const utterance of this.#all) {
      // If the server knows it still, its events follow.
      if (utterance.requestId !== event.request_id) utterance.cutShort();
    }
    this.#joining = event.request_id;
    if (event.position > 0 && !this.#known(event.request_id)) this.#announce(event, event.position);
  }

  #takeOwn(event) {
    this.#utteranceOf(event)?.take(event);
    // Utterances begin in their order, each when the one before is over: from here on, those that
    // begin are yet to be seen.
    if (BEGUN.includes(event.event) && event.request_id === this.#joining) this.#joining = null;
  }

  #kill(epoch) {
    if (!(epoch > this.#deadEpoch)) return;
    this.#deadEpoch = epoch;
    this.#joining = null;
    // From the back, so that the one that is heard is not followed by one that goes next.
    for (const utterance of [...this.#all].reverse()) {
      if (utterance.epoch <= epoch) utterance.interrupt();
    }
  }

  /** The one that an event is about: known, or told of for the first time; else undefined. */
  #utteranceOf(event) {
    const known = this.#known(event.request_id);
    // Anything else about an utterance that we don't know is too late, or from a later version.
    if (known !== undefined || event.event !== "started") return known;
    if (this.#joining !== null && this.#joining !== event.request_id) return undefined;
    return this.#announce(event, 0);
  }

  #known(requestId) {
    return this.#all.find((utterance) => utterance.requestId === requestId);
  }

  #announce({ request_id: requestId, epoch = 0 }, from) {
    if (epoch <= this.#deadEpoch || this.#finished.includes(requestId)) return undefined;
    const utterance = this.#create(requestId, { epoch, from });
    this.#waiting.push(utterance);
    return utterance;
  }
}
