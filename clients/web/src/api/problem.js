// An HTTP failure in words: the server's own (RFC 9457) where it sent them.

import { sentence } from "../player/words.js";

/**
 * What every function of the library throws, unless its `signal` aborted: `title` and `detail` to
 * show; `code` (docs/protocol.md), `status` (0: no answer), `retryable`, and `retryAfterS` (s, or
 * null) to act on.
 */
export class Problem extends Error {
  name = "Problem";

  constructor({ title, detail, code = "", status = 0, retryable = false, retryAfterS = null }) {
    super(detail);
    Object.assign(this, { title, detail, code, status, retryable, retryAfterS });
  }
}

/** The problem in an answer; `text` is its body, whatever it is, `retryAfter` its header. */
export function parseProblem(status, text, retryAfter = null) {
  const seconds = parseInt(retryAfter, 10); // a date has none: nobody sends one for seconds
  const retryAfterS = Number.isNaN(seconds) ? null : seconds;
  try {
    const { title, detail, code, retryable } = JSON.parse(text);
    if (detail) {
      const words = { title: sentence(title), detail: sentence(detail) };
      return new Problem({ ...words, code, status, retryable, retryAfterS });
    }
  } catch {
    // Not the server's words: a proxy's page, or nothing.
  }
  return new Problem({
    title: "The server refused.",
    detail: `It answered with status ${status}.`,
    code: `http_${status}`,
    status,
    retryable: status >= 500 || status === 429,
    retryAfterS,
  });
}

export function notJson() {
  return new Problem({
    title: "No answer of the server.",
    detail: "Something else answered: a proxy, or a network that wants a login first.",
    code: "not_json",
    retryable: true,
  });
}

export function unreachable() {
  return new Problem({
    title: "No answer.",
    detail: "The server can't be reached.",
    code: "unreachable",
    retryable: true,
  });
}
