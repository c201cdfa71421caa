// An HTTP failure in words: the server's own (RFC 9457) where it sent them.

import { sentence } from "../client/player/words.js";

/** An error to show: `title`, `detail`, `code`, `status` (0: no answer), `retryable`. */
export class Problem extends Error {
  constructor({ title, detail, code = "", status = 0, retryable = false }) {
    super(detail);
    Object.assign(this, { title, detail, code, status, retryable });
  }
}

/** The problem in an answer; `text` is its body, whatever it is. */
export function parseProblem(status, text) {
  try {
    const { title, detail, code, retryable } = JSON.parse(text);
    if (detail) {
      const words = { title: sentence(title), detail: sentence(detail) };
      return new Problem({ ...words, code, status, retryable });
    }
  } catch {
    // Not the server's words: a proxy's page, or nothing.
  }
  return new Problem({
    title: "The server refused.",
    detail: `It answered with status ${status}.`,
    code: `http_${status}`,
    status,
    retryable: status >= 500,
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
