// All avatars in the making, and how the page knows how far they are.
//
// One job is followed by its events, the others are asked for: a browser has six connections for a
// server, for all of its tabs.

import { address } from "./address.js";
import { listJobs } from "./avatars-api.js";
import { EventConnection } from "../client/player/events.js";
import { listening } from "./key.js";
import { Making } from "./making.js";

const POLL_MS = 3000;
const OLD_FAILURES = 3; // of which a page that comes later tells

export class JobBoard {
  #section;
  #list;
  #limits;
  #on;
  #cards = new Set();
  #followed = null; // { jobId, events, isConnected }
  #isLost = false; // nothing answers
  #timer = 0;
  #changes = 0; // an answer to an older question is old

  /**
   * `on`: `done(job)`, `failed()`, `other()` to choose another picture, `lost()` when the server
   * has stopped answering, `say(text)` to the blind.
   */
  constructor({ section, list, limits, on }) {
    this.#section = section;
    this.#list = list;
    this.#limits = limits;
    this.#on = on;
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** A file was chosen. */
  begin(file) {
    this.#add({ file }).draft();
  }

  /** Ask for all jobs; those that this page hasn't seen get a card. */
  async refresh() {
    const before = this.#changes;
    let jobs;
    try {
      jobs = await listJobs();
    } catch {
      this.#lose();
      this.#schedule();
      return;
    }
    this.#isLost = false;
    if (before !== this.#changes) this.#schedule();
    else this.#takeAll(jobs);
  }

  #takeAll(jobs) {
    const known = new Map([...this.#cards].map((card) => [card.jobId, card]));
    const listed = new Set(jobs.map((job) => job.job_id));
    const failed = jobs.filter((job) => job.state === "failed").slice(0, OLD_FAILURES);
    for (const job of jobs.toReversed()) {
      const card = known.get(job.job_id);
      if (card) {
        // Its events are newer than any answer.
        if (card.isActive && !this.#hears(card)) card.take(job);
      } else if (["queued", "running", "awaiting_approval"].includes(job.state)) {
        this.#add({}).take(job);
      } else if (failed.includes(job)) this.#add({}).take(job);
    }
    for (const card of this.#cards) if (card.isActive && !listed.has(card.jobId)) card.lose();
    this.#follow();
  }

  #add({ file = null }) {
    const card = new Making({
      file,
      limits: this.#limits,
      on: {
        job: () => {
          this.#changes += 1;
          this.#follow();
        },
        done: (making, job) => {
          this.#remove(making);
          this.#on.done(job);
        },
        failed: this.#on.failed,
        over: (making) => this.#remove(making),
        other: this.#on.other,
        say: this.#on.say,
      },
    });
    this.#cards.add(card);
    this.#list.prepend(card.root);
    this.#section.hidden = false;
    return card;
  }

  #remove(card) {
    this.#changes += 1;
    this.#cards.delete(card);
    card.close();
    this.#section.hidden = this.#cards.size === 0;
    this.#follow();
  }

  /** Listen to the job that runs, or else to the one that is next. */
  #follow() {
    const waiting = [...this.#cards].filter((card) => card.state === "queued");
    waiting.sort((a, b) => a.position - b.position);
    const next = [...this.#cards].find((card) => card.state === "running") ?? waiting[0];
    if ((next?.jobId ?? null) !== (this.#followed?.jobId ?? null)) {
      this.#followed?.events.close();
      this.#followed = next ? this.#listen(next) : null;
    }
    this.#schedule();
  }

  #listen(card) {
    const { jobId } = card;
    const followed = { jobId, events: null, isConnected: false };
    followed.events = new EventConnection({
      ...listening(),
      url: address(`jobs/${jobId}/events`),
      sessionUrl: address(`jobs/${jobId}`),
      onEvent: (event) => {
        if (event.event !== "job") return;
        card.take(event);
        // A job that ends or waits makes room for another.
        if (event.state !== "running") this.#follow();
      },
      onConnected: (isConnected) => {
        followed.isConnected = isConnected;
        if (!isConnected) this.#lose();
        void this.refresh(); // is it the server, or the connection alone? And what is with the others?
      },
      onGone: () => {
        this.#followed = null;
        void this.refresh();
      },
    });
    followed.events.open();
    return followed;
  }

  #hears(card) {
    return card.jobId === this.#followed?.jobId && this.#followed.isConnected;
  }

  #lose() {
    for (const card of this.#cards) card.wait();
    if (!this.#isLost) this.#on.lost();
    this.#isLost = true;
  }

  #schedule() {
    clearTimeout(this.#timer);
    const others = [...this.#cards].some((card) => card.isActive && !this.#hears(card));
    if ((others || this.#isLost) && !document.hidden)
      this.#timer = setTimeout(() => this.refresh(), POLL_MS);
  }
}
