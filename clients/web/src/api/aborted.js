// Why a caller's signal was aborted, also where the browser keeps that to itself (Safari before
// 15.4, Chrome before 98).

export function reasonOf(signal) {
  return signal.reason ?? new DOMException("The operation was aborted.", "AbortError");
}

/** Raises that reason. */
export function stopIfAborted(signal) {
  if (signal?.aborted) throw reasonOf(signal);
}
