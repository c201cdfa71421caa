// When the page is in the WebView, and when it is loaded again.

import { Recovery, codeOf, type LoadErrorCode } from "./recovery.js";

/** From the beginning of loading to the first word of the player. */
const START_TIMEOUT_MS = 30_000;

/** Why the page is not there, and whether it is tried again without being asked for. */
export interface LoadError {
  readonly code: LoadErrorCode;
  readonly message: string;
  /** Of the answer; null where there was none. */
  readonly status: number | null;
  readonly will_retry: boolean;
}

export interface LoaderEvents {
  /** The WebView is to be made anew: one whose process has ended can't be used any more. */
  readonly onLoad: () => void;
  /** Nothing is to be shown until then: else it would be the browser's own page of errors. */
  readonly onUnload: () => void;
  readonly onError: (error: LoadError) => void;
}

type Timer = ReturnType<typeof setTimeout>;

export class Loader {
  private readonly recovery = new Recovery();
  private retryTimer: Timer | null = null;
  private startTimer: Timer | null = null;
  private isWanted = false;
  private isForeground = true;
  private isOver = false;
  private isRefused = false;

  constructor(private readonly events: LoaderEvents) {}

  /** Load the page, whatever went wrong before: now, or when the app is before its user. */
  reload(): void {
    this.stop();
    this.isOver = false;
    this.isRefused = false;
    this.recovery.forget();
    this.events.onUnload();
    if (this.isForeground) this.load();
    else this.isWanted = true;
  }

  /** The page spoke. */
  heard(): void {
    this.clearStartTimer();
  }

  /** The page shows the face. */
  ready(): void {
    this.recovery.ready(Date.now());
  }

  /** The session is over: nothing is loaded any more. */
  over(): void {
    this.isOver = true;
    this.stop();
  }

  /** The page's process ended, by a crash or for want of memory. */
  lost(): void {
    const delayMs = this.isOver ? null : this.recovery.lost(Date.now());
    this.fail({ code: "page_lost", status: null }, "The page of the player ended.", delayMs);
  }

  /** The server answered the page's request with an error. */
  refused(status: number): void {
    const code = codeOf(status);
    this.isRefused = code === "not_allowed";
    const delayMs = this.recovery.failed(code, status);
    this.fail({ code, status }, WORDS[code] ?? `The server answered with ${status}.`, delayMs);
  }

  /** The page's address has another token: true if it is loaded anew, as it had not been let in. */
  admitted(): boolean {
    const wasRefused = this.isRefused;
    if (wasRefused) this.reload();
    return wasRefused;
  }

  /** The page's request was not answered. */
  unreachable(description: string): void {
    const delayMs = this.recovery.failed("unreachable", null);
    const message = `The server can't be reached: ${description}`;
    this.fail({ code: "unreachable", status: null }, message, delayMs);
  }

  /** In the background systems end the pages of WebViews at will; there it is not loaded again. */
  setForeground(isForeground: boolean): void {
    this.isForeground = isForeground;
    if (isForeground && this.isWanted) this.load();
  }

  stop(): void {
    this.isWanted = false;
    this.clearStartTimer();
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.retryTimer = null;
  }

  private load(): void {
    this.stop();
    this.events.onLoad();
    this.startTimer = setTimeout(() => this.silent(), START_TIMEOUT_MS);
  }

  /** Something was loaded, but no player: a network's page of its own, perhaps. */
  private silent(): void {
    const delayMs = this.recovery.failed("no_player", null);
    const message = "The page that was loaded is not the player's.";
    this.fail({ code: "no_player", status: null }, message, delayMs);
  }

  private fail(
    what: { code: LoadErrorCode; status: number | null },
    message: string,
    delayMs: number | null,
  ): void {
    this.stop();
    // A page that says what is wrong stays, where nothing better is to come.
    if (delayMs !== null || what.status === null) this.events.onUnload();
    this.isWanted = delayMs !== null;
    if (delayMs !== null) this.retryTimer = setTimeout(() => this.retry(), delayMs);
    this.events.onError({ ...what, message, will_retry: delayMs !== null });
  }

  private retry(): void {
    this.retryTimer = null;
    if (this.isForeground) this.load();
  }

  private clearStartTimer(): void {
    if (this.startTimer !== null) clearTimeout(this.startTimer);
    this.startTimer = null;
  }
}

const WORDS: { readonly [code in LoadErrorCode]?: string } = {
  session_not_found: "This session does not exist any more.",
  session_gone: "This session is over.",
  not_allowed: "The server does not let this app see the avatar, or no longer.",
};
