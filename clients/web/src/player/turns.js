// Whose turn it is: one utterance after the other, played again where the browser took it away.

import { MediaFailure } from "./source.js";

const ATTEMPTS = 2;

export class Turns {
  #parts;
  #isOver = false;

  /**
   * `onState(state)`. `onShown(utterance, {appendedAt, paintedAt, muted})`: its picture is there.
   * `onSilent(utterance, reason)`: its sound is over; `onEnded(utterance, reason, failure)`: so is
   * its turn, `failure`: the browser's words for what failed, or null. `onIdle()`: the loop is
   * back. `onError(error)`: caught on the way.
   */
  constructor(parts) {
    this.#parts = parts;
  }

  async run() {
    const { lineup, changed, onError } = this.#parts;
    while (!this.#isOver) {
      if (lineup.isEmpty) await changed.wait();
      else {
        await this.#take(lineup.begin()).catch((error) => {
          onError(error); // the turns of others go on
          if (lineup.current !== null) lineup.end();
        });
      }
    }
  }

  /** Speech stops, and nobody's turn comes any more. */
  stop() {
    const { lineup, changed } = this.#parts;
    this.#isOver = true;
    lineup.stop();
    changed.notify();
  }

  /** The current utterance has been heard to its end, and `utterance` begins without a pause. */
  moveOnTo(utterance, { muted }) {
    const { lineup, onSilent, onShown } = this.#parts;
    const before = lineup.current;
    const reason = before.error ? "error" : "complete";
    onSilent(before, reason);
    this.#end(reason, null, () => lineup.moveOnTo(utterance));
    onShown(utterance, { appendedAt: utterance.appendedAt, paintedAt: performance.now(), muted });
  }

  async #take(utterance) {
    const { lineup, onIdle, onState } = this.#parts;
    if (utterance.signal.aborted) {
      this.#end(utterance.stoppedBy ?? "cancelled"); // before its turn came
    } else {
      const { reason, failure } = await this.#speak();
      this.#end(reason, failure);
      onIdle();
    }
    if (lineup.isEmpty) onState("idle");
  }

  /**
   * Play the current utterance, and those right behind it. Resolves to why the last one heard,
   * which is then the current one, ended; and to the browser's words for what failed, if there are
   * any.
   */
  async #speak() {
    const { lineup, talk, counters, onState, onSilent } = this.#parts;
    let reason = "lost";
    let failure = null;
    let tried = null;
    let attempts = 0;
    while (reason === "lost") {
      attempts = lineup.current === tried ? attempts + 1 : 1;
      if (attempts > ATTEMPTS) {
        if (!talk.fallBack()) break;
        lineup.fetchAgain();
      }
      if (tried !== null) {
        counters.recoveries += 1;
        lineup.current.queue.startFrom(lineup.current.position);
      }
      tried = lineup.current;
      onState("preparing");
      ({ reason, failure } = await this.#playOnce(lineup.current));
      if (reason !== "lost") onSilent(lineup.current, reason);
      await this.#rest(talk.resumeFrame(lineup.current, reason));
    }
    return { reason, failure };
  }

  async #playOnce(utterance) {
    const { talk, onShown, onError } = this.#parts;
    try {
      const reason = await talk.play(utterance, (shown) => onShown(utterance, shown));
      return { reason, failure: null };
    } catch (error) {
      onError(error);
      return { reason: "lost", failure: error instanceof MediaFailure ? error.message : null };
    }
  }

  /** Show the loop, and be prepared to speak. */
  async #rest(frame) {
    const { stage, talk, onError } = this.#parts;
    try {
      await stage.showIdle(frame);
      await talk.prepare();
    } catch (error) {
      onError(error); // tried again for the next utterance, which says so if it fails
    }
  }

  /** `leave()` takes it off the line. */
  #end(reason, failure = null, leave = () => this.#parts.lineup.end()) {
    const { lineup, counters, onEnded } = this.#parts;
    const { current } = lineup;
    current.stop();
    leave();
    counters.utterances += 1;
    onEnded(current, reason, failure);
  }
}
