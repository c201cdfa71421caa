// How soon a page that was lost is loaded again, and when that is given up. No timers here.

/** Before the page is loaded after its process ended for the first, second … time in a row. */
export const LOST_DELAYS_MS = [0, 1000, 2000, 4000, 8000] as const;
/** Before it is loaded after that failed for the first, second … time in a row; the last, on and on. */
export const FAILED_DELAYS_MS = [1000, 2000, 4000, 8000, 15_000] as const;
/** A page that has shown the face for so long has not died in a row. */
export const STEADY_AFTER_MS = 30_000;

/** Why a page is not there. */
export type LoadErrorCode =
  | "unreachable"
  | "http_error"
  | "not_allowed"
  | "session_not_found"
  | "session_gone"
  | "no_player"
  | "page_lost";

export class Recovery {
  private numLost = 0;
  private numFailed = 0;
  private readyAtMs: number | null = null;

  ready(nowMs: number): void {
    this.numFailed = 0;
    this.readyAtMs = nowMs;
  }

  /** The page's process ended. How long to wait, or null: it would only end again. */
  lost(nowMs: number): number | null {
    if (this.readyAtMs !== null && nowMs - this.readyAtMs >= STEADY_AFTER_MS) this.numLost = 0;
    this.readyAtMs = null;
    const delayMs = LOST_DELAYS_MS[this.numLost];
    this.numLost += 1;
    return delayMs ?? null;
  }

  /** The page could not be loaded. How long to wait, or null: it will not be there later either. */
  failed(code: LoadErrorCode, status: number | null): number | null {
    if (!isPassing(code, status)) return null;
    const last = FAILED_DELAYS_MS.length - 1;
    const delayMs = FAILED_DELAYS_MS[Math.min(this.numFailed, last)] ?? null;
    this.numFailed += 1;
    return delayMs;
  }

  /** Somebody asked for the page anew. */
  forget(): void {
    this.numLost = 0;
    this.numFailed = 0;
    this.readyAtMs = null;
  }
}

/** What an answer's status says about the page. */
export function codeOf(status: number): LoadErrorCode {
  if (status === 401 || status === 403) return "not_allowed";
  if (status === 404) return "session_not_found";
  if (status === 410) return "session_gone";
  return "http_error";
}

function isPassing(code: LoadErrorCode, status: number | null): boolean {
  if (code === "http_error") return status === null || status >= 500 || status === 429;
  return code === "unreachable" || code === "no_player";
}
