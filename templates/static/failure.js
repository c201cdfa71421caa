// What went wrong with an avatar in the making, and the ways on from there.

import { fromTemplate } from "./elements.js";

// A person may see what a face finder doesn't.
const BY_HAND = ["no_face", "face_finder_missing"];
// Of the second video, by how the detail begins: the codes are those of the first one, too.
const OF_IDLE = /^(in the )?idle\b/i;

/**
 * An element that tells `problem`. Its ways on: `onRetry()` (null: it is of no use), `onHand()`,
 * `onIdle()` to choose another second video, `onAlone()` to go without, `onOther()`; without the
 * file, only the last.
 */
export function failure(problem, { hasFile, onRetry, onHand, onIdle, onAlone, onOther }) {
  const { root, parts } = fromTemplate("failure");
  parts.title.textContent = problem.title;
  parts.detail.textContent = problem.detail;
  parts.code.textContent = problem.code;
  const isOfIdle = OF_IDLE.test(problem.detail);
  const canMark = !isOfIdle && BY_HAND.includes(problem.code);
  parts.hint.hidden = !(canMark || isOfIdle);
  parts.hint.textContent = isOfIdle ? ofIdle(hasFile) : byHand(hasFile);
  parts.retry.hidden = !(problem.retryable && hasFile && onRetry);
  parts.hand.hidden = !(canMark && hasFile);
  parts.idle.hidden = parts.alone.hidden = !(isOfIdle && hasFile);
  parts.other.hidden = !parts.idle.hidden;
  const ways = { retry: onRetry, hand: onHand, idle: onIdle, alone: onAlone, other: onOther };
  const shown = Object.keys(ways).filter((way) => !parts[way].hidden);
  parts[shown[0]].classList.add("primary");
  for (const way of shown) parts[way].addEventListener("click", () => ways[way]());
  return root;
}

function byHand(hasFile) {
  return hasFile
    ? "You can show where the face is."
    : "Choose the file again, and you can show where the face is.";
}

function ofIdle(hasFile) {
  return hasFile
    ? "Choose another second video, or leave it out."
    : "Choose the first video again, with another second one or without.";
}
