// What went wrong with an avatar in the making, and the ways on from there.

import { fromTemplate } from "./elements.js";

// A person may see what a face finder doesn't.
const BY_HAND = ["no_face", "face_finder_missing"];

/**
 * An element that tells `problem`. `onRetry()` (null: it is of no use), `onHand()` and `onOther()`
 * are its ways on; without the file, only the last.
 */
export function failure(problem, { hasFile, onRetry, onHand, onOther }) {
  const { root, parts } = fromTemplate("failure");
  parts.title.textContent = problem.title;
  parts.detail.textContent = problem.detail;
  parts.code.textContent = problem.code;
  const canMark = BY_HAND.includes(problem.code);
  parts.hint.hidden = !canMark;
  parts.hint.textContent = hasFile
    ? "You can show where the face is."
    : "Choose the file again, and you can show where the face is.";
  parts.retry.hidden = !(problem.retryable && hasFile && onRetry);
  parts.hand.hidden = !(canMark && hasFile);
  const main = [parts.retry, parts.hand, parts.other].find((button) => !button.hidden);
  main.classList.add("primary");
  parts.retry.addEventListener("click", () => onRetry());
  parts.hand.addEventListener("click", onHand);
  parts.other.addEventListener("click", onOther);
  return root;
}
