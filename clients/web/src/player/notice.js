// What the viewer is told: a quiet hint while waiting, a line when something failed, the tap for
// sound, the end of the session. Texts and visibility; what a button does is the caller's.

const ACTIVITY_AFTER_MS = 400; // shorter waits are not worth a picture

const STATE_TEXT = {
  loading: "Loading",
  idle: "Listening",
  preparing: "About to speak",
  speaking: "Speaking",
  buffering: "Waiting for the network",
  closed: "Session ended",
  unsupported: "Speech can't be played here",
};

const OVER_TEXT = {
  deleted: "This session was closed.",
  expired: "This session has expired.",
  avatar_deleted: "The avatar of this session was deleted.",
  shutdown: "This session ended with its server.",
  unknown: "This session does not exist any more.",
  gone: "This session has ended.",
};

export class Notice {
  #root;
  #parts;
  #activityTimer = 0;

  /** `newSessionUrl`: where a viewer who is alone gets another session. */
  constructor(root, { newSessionUrl }) {
    this.#root = root;
    const part = (id) => root.querySelector(`#${id}`);
    this.#parts = {
      status: part("status"),
      tap: part("tap"),
      tapLabel: part("tap-label"),
      error: part("error"),
      errorText: part("error-text"),
      retry: part("error-retry"),
      dismiss: part("error-dismiss"),
      offline: part("offline"),
      recorded: part("recorded"),
      over: part("over"),
      overText: part("over-text"),
      overReload: part("over-reload"),
      overNew: part("over-new"),
    };
    this.#parts.overNew.href = newSessionUrl;
    this.#parts.dismiss.addEventListener("click", () => this.clearError());
  }

  setState(state) {
    this.#root.dataset.state = state;
    this.#parts.status.textContent = STATE_TEXT[state];
    clearTimeout(this.#activityTimer);
    const isWaiting = ["loading", "preparing", "buffering"].includes(state);
    if (!isWaiting) delete this.#root.dataset.waiting;
    else {
      this.#activityTimer = setTimeout(() => {
        this.#root.dataset.waiting = "";
      }, ACTIVITY_AFTER_MS);
    }
  }

  /** `label` says what a tap is for; null hides it. */
  setTap(label, onTap) {
    const { tap, tapLabel } = this.#parts;
    tap.hidden = label === null;
    tap.onclick = onTap ?? null;
    if (label === null || tapLabel.textContent === label) return;
    tapLabel.textContent = label;
  }

  setOffline(isOffline) {
    this.#parts.offline.hidden = !isOffline;
  }

  /** What is said is kept, and somebody has agreed to that. */
  setRecorded(isRecorded) {
    this.#parts.recorded.hidden = !isRecorded;
  }

  /** `onRetry` null: there is nothing to try again from here. */
  showError(text, onRetry) {
    const { error, errorText, retry } = this.#parts;
    errorText.textContent = text;
    retry.hidden = onRetry === null;
    retry.onclick = () => {
      this.clearError();
      onRetry();
    };
    error.hidden = false;
  }

  clearError() {
    this.#parts.error.hidden = true;
  }

  /** `onReload` null: the same page would only say the same. */
  showOver(reason, { onReload, canStartNew }) {
    const { over, overText, overReload, overNew } = this.#parts;
    this.setTap(null);
    this.setOffline(false);
    this.clearError();
    overText.textContent = OVER_TEXT[reason] ?? OVER_TEXT.gone;
    overReload.onclick = onReload;
    overReload.hidden = onReload === null;
    overNew.hidden = !canStartNew;
    over.hidden = false;
    (canStartNew ? overNew : overReload).focus({ preventScroll: true });
  }
}
