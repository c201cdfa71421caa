// What a server's refusal says: its own words (RFC 9457) where it sent some.

interface Words {
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
}

/** Why a request failed. `code` is of the table in docs/protocol.md, `http_…` or `unreachable`. */
export class Problem extends Error {
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  /** Of the answer; 0 where there was none. */
  readonly status: number;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(words: Words) {
    super(words.detail);
    this.name = "Problem";
    this.title = words.title;
    this.detail = words.detail;
    this.code = words.code;
    this.status = words.status;
    this.retryable = words.retryable;
  }
}

/** The problem in an answer; `text` is its body, whatever it is. */
export function parseProblem(status: number, text: string): Problem {
  const own = parseWords(text);
  if (own) return new Problem({ ...own, status });
  return new Problem({
    title: "The server refused",
    detail: `The server answered with status ${status}.`,
    code: `http_${status}`,
    status,
    retryable: status >= 500 || status === 429,
  });
}

export function unreachable(server: string, cause: unknown): Problem {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new Problem({
    title: "No answer",
    detail: `${server} can't be reached${why}.`,
    code: "unreachable",
    status: 0,
    retryable: true,
  });
}

function parseWords(text: string): Omit<Words, "status"> | null {
  try {
    const { title, detail, code, retryable } = JSON.parse(text) as Record<string, unknown>;
    if (typeof detail !== "string" || typeof code !== "string") return null;
    return { title: String(title), detail, code, retryable: retryable === true };
  } catch {
    return null; // not the server's words: a proxy's page, or nothing
  }
}
