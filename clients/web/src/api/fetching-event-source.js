// An EventSource for where there is none: as much of it as EventConnection needs. It does not
// reconnect, as that does.

/** The class, asking by that `fetch`. */
export function fetchingEventSource(fetch = globalThis.fetch) {
  return class FetchingEventSource {
    static CLOSED = 2;

    readyState = 0;
    #over = new AbortController();
    #lastEventId = "";
    #data = [];

    constructor(url) {
      void this.#run(url);
    }

    close() {
      this.readyState = FetchingEventSource.CLOSED;
      this.#over.abort();
    }

    async #run(url) {
      const lines = await this.#ask(url);
      if (lines !== null) {
        this.readyState = 1;
        this.onopen();
        for (;;) {
          const { done, value } = await lines.read().catch(() => ({ done: true })); // cut off
          if (done || this.readyState === FetchingEventSource.CLOSED) break;
          this.#take(value);
        }
      }
      if (this.readyState === FetchingEventSource.CLOSED) return;
      this.close();
      this.onerror();
    }

    /** A reader of the answer's lines, or null: there is none. */
    async #ask(url) {
      const options = { cache: "no-store", headers: { Accept: "text/event-stream" } };
      try {
        const response = await fetch(url, { ...options, signal: this.#over.signal });
        if (!response.ok) return null;
        return response.body
          .pipeThrough(new TextDecoderStream())
          .pipeThrough(intoLines())
          .getReader();
      } catch {
        return null; // unreachable, or closed
      }
    }

    // WHATWG HTML 9.2.6, without names of events.
    #take(line) {
      const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (name === "data") this.#data.push(value);
      else if (name === "id") this.#lastEventId = value;
      else if (line === "" && this.#data.length > 0) {
        const data = this.#data.join("\n");
        this.#data = [];
        this.onmessage({ data, lastEventId: this.#lastEventId });
      }
    }
  };
}

function intoLines() {
  let rest = "";
  return new TransformStream({
    transform(text, controller) {
      const lines = (rest + text).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) controller.enqueue(line);
    },
  });
}
