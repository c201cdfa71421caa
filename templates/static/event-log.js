// The list of events, as they come: the server's own, and what the player says.

const MAX_ROWS = 300;
const OWN_WORDS = {
  started: (e) => `${seconds(e.duration)} at ${e.fps} fps, from avatar frame ${e.avatar_frame}`,
  chunk: (e) => `${seconds(e.start)} + ${seconds(e.duration)}`,
  complete: (e) => `${e.total_chunks} chunks, ${seconds(e.duration)}`,
  error: (e) => `${e.message} (${e.code})`,
  cancelled: () => "",
  state: (e) => e.state ?? "",
  speech_started: (e) => `${e.delay_ms} ms after the first chunk`,
  speech_ended: (e) => `${e.reason}, ${seconds(e.played_s)} played`,
  closed: (e) => e.reason,
  uploaded: (e) => `${e.name}, ${Math.ceil(e.bytes / 1000)} kB`,
  problem: (e) => e.detail,
  ping: () => "",
};

export class EventLog {
  #list;
  #count;
  #began = performance.now();
  #total = 0;

  constructor(list, count) {
    this.#list = list;
    this.#count = count;
  }

  clear() {
    this.#list.replaceChildren();
    this.#began = performance.now();
    this.#total = 0;
    this.#count.textContent = "";
  }

  /** `from`: "server", "player" or "page". */
  add(from, name, event) {
    const isAtEnd = this.#isAtEnd();
    this.#list.append(this.#row(from, name, event));
    while (this.#list.children.length > MAX_ROWS) this.#list.firstElementChild.remove();
    this.#total += 1;
    this.#count.textContent = String(this.#total);
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < 30;
  }

  #row(from, name, event) {
    const row = element("li", { className: from, title: `from the ${from}` });
    const details = element("details");
    const summary = element("summary");
    const at = ((performance.now() - this.#began) / 1000).toFixed(3);
    summary.append(element("time", { textContent: at }), element("b", { textContent: name }));
    if (event.url) summary.append(chunkLink(event));
    const words = OWN_WORDS[name]?.(event) ?? "";
    if (words) summary.append(element("span", { textContent: words }));
    details.append(summary, element("pre", { textContent: JSON.stringify(event, null, 2) }));
    row.append(details);
    return row;
  }
}

// A chunk is a whole file: it plays alone, by its address.
function chunkLink(event) {
  return element("a", {
    href: event.url,
    target: "_blank",
    rel: "noopener",
    textContent: event.url.split("/").pop(),
    title: "Play this chunk alone",
  });
}

function seconds(value) {
  return value === undefined || value === null ? "?" : `${Number(value).toFixed(2)} s`;
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
