// What a server's refusal says: its own words (RFC 9457) where it sent some.

interface Words {
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly status?: number;
  readonly retryable?: boolean;
  readonly retryAfterS?: number | null;
}

/**
 * Why a request failed. `code` is of the table in docs/protocol.md, `http_…`, `unreachable` or
 * `not_json`.
 */
export class Problem extends Error {
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  /** Of the answer; 0 where there was none. */
  readonly status: number;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** When, in seconds, where the server says so. */
  readonly retryAfterS: number | null;

  constructor(words: Words) {
    super(words.detail);
    this.name = "Problem";
    this.title = words.title;
    this.detail = words.detail;
    this.code = words.code;
    this.status = words.status ?? 0;
    this.retryable = words.retryable ?? false;
    this.retryAfterS = words.retryAfterS ?? null;
  }
}

/** The problem in an answer; `text` is its body, whatever it is, `retryAfter` its header. */
export function parseProblem(status: number, text: string, retryAfter: string | null): Problem {
  const seconds = parseInt(retryAfter ?? "", 10); // a date has none: nobody sends one for seconds
  const retryAfterS = Number.isNaN(seconds) ? null : seconds;
  const words = parseWords(text) ?? {
    title: "The server refused.",
    detail: `It answered with status ${status}.`,
    code: `http_${status}`,
    retryable: status >= 500 || status === 429,
  };
  return new Problem({ ...words, status, retryAfterS });
}

/** `why`: a part of a sentence. */
export function unreachable(server: string, why: string): Problem {
  return new Problem({
    title: "No answer.",
    detail: `${server} can't be reached${why && `: ${why}`}.`,
    code: "unreachable",
    retryable: true,
  });
}

/** An answer that says yes, and not what was asked for. */
export function notJson(): Problem {
  return new Problem({
    title: "No answer of the server.",
    detail: "Something else answered: a proxy, or a network that wants a login first.",
    code: "not_json",
    retryable: true,
  });
}

function parseWords(text: string): Words | null {
  try {
    const { title, detail, code, retryable } = JSON.parse(text) as Record<string, unknown>;
    if (typeof detail !== "string" || typeof code !== "string") return null;
    const itsTitle = typeof title === "string" ? title : "The server refused.";
    return { title: itsTitle, detail, code, retryable: retryable === true };
  } catch {
    return null; // not the server's words: a proxy's page, or nothing
  }
}
