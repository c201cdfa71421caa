// The list of events, as they come: the server's own, and what the player says.

import { counted } from "../client/player/words.js";

const MAX_ROWS = 300;
const OWN_WORDS = {
  started: (e) =>
    `${e.duration === null ? "still arriving," : seconds(e.duration)} at ${e.fps} fps, from avatar frame ${e.avatar_frame}${e.follows ? ", without a pause" : ""}`,
  chunk: (e) => `${seconds(e.start)} + ${seconds(e.duration)}`,
  complete: (e) => `${counted(e.total_chunks, "chunk")}, ${seconds(e.duration)}`,
  error: (e) => `${e.message} (${e.code})`,
  cancelled: () => "",
  queued: (e) => (e.position === 0 ? "next" : `after ${counted(e.position, "other")}`),
  first_frame: () => "",
  interrupted: (e) => `${counted(e.request_ids.length, "utterance")} of epoch ${e.epoch}`,
  playback_started: () => "",
  playback_finished: (e) => `${seconds(e.played_ms / 1000)} heard${e.interrupted ? ", interrupted" : ""}`,
  accepted: () => "",
  ended: (e) => seconds(e.duration),
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
  #stop = null; // the one row that Tab stops at; arrow keys lead to the others

  constructor(list, count) {
    this.#list = list;
    this.#count = count;
    list.addEventListener("keydown", (event) => this.#move(event));
    list.addEventListener("focusin", ({ target }) => {
      this.#stopAt(target.closest("li").querySelector("summary"));
    });
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
    const row = this.#row(from, name, event);
    this.#list.append(row);
    if (!this.#list.contains(document.activeElement)) this.#stopAt(row.querySelector("summary"));
    while (this.#list.children.length > MAX_ROWS) this.#list.firstElementChild.remove();
    this.#total += 1;
    this.#count.textContent = String(this.#total);
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #stopAt(summary) {
    if (this.#stop) this.#stop.tabIndex = -1;
    this.#stop = summary;
    summary.tabIndex = 0;
  }

  #move(event) {
    const row = event.target.closest("li");
    const to = {
      ArrowDown: row.nextElementSibling?.querySelector("summary"),
      ArrowUp: row.previousElementSibling?.querySelector("summary"),
      Home: this.#list.querySelector("summary"),
      End: this.#list.lastElementChild.querySelector("summary"),
      ArrowRight: row.querySelector("a"),
      ArrowLeft: row.querySelector("summary"),
    }[event.key];
    if (!to) return;
    event.preventDefault();
    to.focus();
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < 30;
  }

  #row(from, name, event) {
    const row = element("li", { className: from });
    const details = element("details");
    const summary = element("summary", { tabIndex: -1 });
    const at = ((performance.now() - this.#began) / 1000).toFixed(3);
    summary.append(
      element("time", { textContent: at }),
      element("small", { textContent: from }),
      element("b", { textContent: name }),
    );
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
    textContent: event.url.replace(/[?].*/, "").split("/").pop(),
    title: "Play this chunk alone",
    tabIndex: -1,
  });
}

function seconds(value) {
  return value === undefined || value === null ? "?" : `${Number(value).toFixed(2)} s`;
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
