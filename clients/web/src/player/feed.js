// Appends the chunks of a run: strictly in order, one at a time, each utterance behind the last.

import { delay } from "./signals.js";

const FULL_MS = 500;

/**
 * Until `signal` aborts. `changed`: notified when there is more to append. `nextOf(utterance)`: the
 * one that is to follow it, or null. `onAppended({utterance, offset, chunk})`. Raises MediaFailure.
 */
export async function feed({ source, run, changed, signal, nextOf, onNext, onAppended }) {
  while (!signal.aborted) {
    const cutFrom = run.takeCut();
    if (cutFrom !== null) await source.cut(cutFrom);
    const { utterance, offset } = run.appending;
    const chunk = utterance.queue.ready;
    if (chunk === null) {
      const next = nextToAppend(source, utterance, nextOf(utterance));
      if (next !== null) onNext(next);
      else await changed.wait(signal);
    } else if (await source.append(chunk, offset, signal)) {
      if (signal.aborted) return;
      if (!run.has(utterance)) continue; // dropped meanwhile: it is cut out again
      utterance.queue.markAppended(chunk);
      onAppended({ utterance, offset, chunk });
      changed.notify();
    } else await delay(FULL_MS, signal); // full: playback makes room
  }
}

/** `next`, if it can go behind `utterance` now: that one is whole, and this one has begun. */
function nextToAppend(source, utterance, next) {
  if (next === null || !utterance.queue.isFinished) return null;
  next.load();
  const canFollow = source.takesMore && next.mime === utterance.mime && next.queue.ready !== null;
  return utterance.queue.isDrained && canFollow ? next : null;
}
