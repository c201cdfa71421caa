// What lets a player in: its token, in every address that it asks for, as media have no headers;
// and while it is not let in, or nobody answers, whom to wait for.

import { Wakeup } from "./signals.js";

const PATIENCE_MS = 60_000;
const WORDS = {
  token_expired: "The time for which this avatar may be watched is over.",
};

export class Access {
  #token;
  #changed = new Wakeup();
  #isOpen = true;

  /** `token()`: the one that counts now, or null. */
  constructor(token) {
    this.#token = token;
  }

  /** An address of the server, with the token that counts now in place of any other. */
  sign = (address) => {
    const signed = new URL(address);
    const token = this.#token();
    if (token !== null) signed.searchParams.set("token", token);
    return signed.href;
  };

  /** Whether the server can be asked, as far as is known. */
  set isOpen(isOpen) {
    this.#isOpen = isOpen;
    this.#changed.notify();
  }

  /** Resolves to true if it could not be asked and can be now, which is waited for, for a while. */
  async isReopened(signal) {
    const until = performance.now() + PATIENCE_MS;
    if (this.#isOpen) return false;
    while (!this.#isOpen && !signal.aborted) {
      const left = until - performance.now();
      if (left <= 0) return false;
      await this.#changed.wait(signal, left);
    }
    return this.#isOpen;
  }
}

/** What is wrong with who asks: `{status, code, message}`; null if an answer says nothing of that. */
export async function refusalIn(response) {
  const { status } = response;
  if (status !== 401 && status !== 403) return null;
  const { code = "unauthorized" } = await response.json().catch(() => ({}));
  return { status, code, message: WORDS[code] ?? "This avatar may not be watched from here." };
}
