// One avatar in the making: chosen, sent, followed, looked at, failed.

import { Approval } from "./approval.js";
import { approveJob, createAvatar, deleteJob } from "./avatars-api.js";
import { draftForm } from "./draft-form.js";
import { fromTemplate } from "./elements.js";
import { failure } from "./failure.js";
import { askForBox } from "./face-box.js";
import { fileProblem } from "./file-check.js";
import { fileSize, jobWords, nameOf } from "./job-words.js";
import { localPicture } from "./local-picture.js";
import { MakingCard } from "./making-card.js";
import { Problem } from "../client/api/problem.js";
import { sentence } from "../client/player/words.js";

const ACTIVE = ["queued", "running", "awaiting_approval"];
const CANT_SHOW =
  "This browser can't show the file, so there is nothing to draw on: " +
  "save it as a JPEG or an MP4 and choose that.";

export class Making {
  #file;
  #fields = {}; // sent with the file
  #limits;
  #on;
  #card;
  #job = null;
  #sending = null; // aborts the upload
  #approval = null; // in sight while there is something to approve, or looked for anew

  /**
   * Of a `file` that was chosen, or of a job that there is. `on`: `job(making)` when it has another
   * job, `done(making, job)`, `failed()`, `over(making)` when nobody wants it any more, `other()` to
   * choose another picture, `say(text)` to who can't see.
   */
  constructor({ file = null, limits, on }) {
    this.#file = file;
    this.#limits = limits;
    this.#on = on;
    this.#card = new MakingCard(() => this.#leave());
    if (file) void this.#card.showFile(file);
  }

  get root() {
    return this.#card.root;
  }

  get jobId() {
    return this.#job?.job_id ?? null;
  }

  /** The job goes on, or waits for somebody. */
  get isActive() {
    return ACTIVE.includes(this.#job?.state);
  }

  get state() {
    return this.#job?.state ?? null;
  }

  get position() {
    return this.#job?.position ?? 0;
  }

  // ---- before there is a job ----

  /** Ask for the name and the like; `answers`: those given before. */
  draft(answers = null) {
    this.#card.name = answers?.name ?? nameOf(this.#file.name);
    this.#card.words = `${this.#file.name} · ${fileSize(this.#file.size)}`;
    this.#card.leaving = "Cancel";
    const problem = fileProblem(this.#file, this.#limits);
    if (problem) {
      this.#fail(problem);
      return;
    }
    const onSubmit = (fields) => {
      this.#fields = fields;
      this.#card.focus();
      void this.#send();
    };
    const form = draftForm(this.#file, { limits: this.#limits, answers, onSubmit });
    this.#card.show(form.root);
    form.focus();
    this.#card.bringIntoSight();
  }

  async #send(hint = {}) {
    const before = this.#job;
    this.#job = null;
    this.#sending = new AbortController();
    this.#card.show();
    this.#card.name = this.#fields.name;
    this.#card.leaving = "Cancel";
    const show = (fraction) => {
      const words = `Sending the file · ${Math.floor(100 * fraction)} %`;
      this.#card.showProgress(fraction < 1 ? words : "Checking the file", 100 * fraction);
    };
    show(0);
    let job;
    try {
      const fields = { ...this.#fields, ...hint, approve: "true" };
      job = await createAvatar(this.#file, fields, show, this.#sending.signal);
    } catch (problem) {
      if (this.#sending.signal.aborted) return; // left meanwhile
      this.#job = before;
      this.#fail(problem, () => this.#send(hint));
      return;
    } finally {
      this.#sending = null;
    }
    // The one that failed is no news any more; nor is it if it can't be forgotten.
    if (before) deleteJob(before.job_id).catch(() => {});
    this.#job = job;
    this.#on.job(this);
    this.take(job);
  }

  // ---- the job ----

  /** What the server says of it now. */
  take(job) {
    const last = this.#job;
    this.#job = job;
    this.#card.name = job.name;
    this.#card.leaving = "Cancel";
    if (job.preview && !this.#file) this.#card.showPicture(job.preview.picture_url);
    const isNews = last === job || last?.state !== job.state;
    if (job.state === "awaiting_approval") {
      if (isNews || !this.#approval) this.#askForApproval(job);
      else this.#card.showProgress(jobWords(job), null);
    } else if (job.state === "failed") {
      if (isNews) this.#failJob(job);
    } else if (job.state === "done") {
      this.#on.done(this, job);
    } else if (job.state === "cancelled") {
      this.#on.say([`${job.name} was cancelled.`, ...job.notes].join(" "));
      this.#on.over(this);
    } else {
      this.#goOn(job);
    }
  }

  /** The server doesn't answer: how far the job is by now is not known. */
  wait() {
    if (this.isActive) this.#card.words = "No answer from the server; trying again…";
  }

  /** The server doesn't know the job any more. */
  lose() {
    this.#job = null;
    const detail = "The server does not know of it any more.";
    this.#fail(new Problem({ title: "It is gone.", detail, code: "job_not_found", status: 404 }));
  }

  #goOn(job) {
    const looksAgain = this.#approval?.isLookedForAgain && isBeforeApproval(job);
    if (!looksAgain) {
      this.#approval = null;
      this.#card.show();
    }
    this.#card.showProgress(jobWords(job), job.state === "queued" ? 0 : job.percent);
  }

  #askForApproval(job) {
    const isWaitedFor = this.#file !== null && this.#card.isWaitedFor;
    if (this.#approval === null) {
      const view = new Approval({
        onAnswer: (hint) => this.#approve(hint),
        onOther: () => this.#replace(),
        onShown: () => isWaitedFor && this.#card.bringIntoSight(),
      });
      this.#approval = { view, isLookedForAgain: false };
      this.#card.show(view.root);
    }
    this.#approval.isLookedForAgain = false;
    this.#card.showProgress(jobWords(job), null);
    this.#approval.view.show(job);
    this.#on.say(`${job.name}: please look at the face that was found.`);
    if (isWaitedFor) this.#approval.view.focus();
  }

  /** The problem, if the server doesn't take the answer; else null. */
  async #approve(hint) {
    this.#card.focus();
    this.#approval.isLookedForAgain = Object.keys(hint).length > 0;
    let job;
    try {
      job = await approveJob(this.jobId, hint);
    } catch (problem) {
      if (this.#approval) this.#approval.isLookedForAgain = false;
      return problem;
    }
    this.#job = { ...this.#job, state: "queued" }; // so that what it is now is news
    this.#on.job(this);
    this.take(job);
    return null;
  }

  #failJob(job) {
    const { title, detail, code, status, retryable } = job.error;
    const words = { title: sentence(title), detail: sentence(detail) };
    this.#fail(new Problem({ ...words, code, status, retryable }), () => this.#send());
    this.#on.failed();
  }

  // ---- what does not work ----

  #fail(problem, onRetry = null) {
    this.#approval = null;
    this.#card.showProgress(this.#file?.name ?? this.#job?.file_name ?? "", null);
    this.#card.leaving = "Dismiss";
    const view = failure(problem, {
      hasFile: this.#file !== null && !fileProblem(this.#file, this.#limits),
      onRetry,
      onHand: () => this.#markByHand(problem, onRetry),
      onIdle: () => this.draft(this.#fields),
      onAlone: () => {
        const { idle: _idle, ...fields } = this.#fields;
        this.#fields = fields;
        this.#card.focus();
        void this.#send();
      },
      onOther: () => this.#replace(),
    });
    this.#card.show(view);
    this.#card.bringIntoSight();
  }

  /** On the file itself: the server has found nothing to show. */
  async #markByHand(problem, onRetry) {
    const shown = await localPicture(this.#file);
    if (shown === null) {
      this.#fail(new Problem({ ...problem, detail: CANT_SHOW }), onRetry);
      return;
    }
    const { root, parts } = fromTemplate("by-hand");
    parts.picture.append(shown.element);
    this.#card.show(root);
    askForBox({
      over: parts.over,
      place: parts.drawing,
      width: shown.width,
      height: shown.height,
      onBox: (box) => {
        shown.release();
        this.#card.focus();
        void this.#send({ face_box: box.map(Math.round).join(",") });
      },
      onBack: () => {
        shown.release();
        this.#fail(problem, onRetry);
      },
    });
    this.#card.bringIntoSight();
  }

  // ---- the end ----

  async #leave() {
    this.#sending?.abort();
    if (this.#job) {
      this.#card.leaving = null;
      try {
        await deleteJob(this.jobId);
      } catch (problem) {
        this.#card.leaving = "Try again";
        this.#card.words = `${problem.title} ${problem.detail}`;
        return;
      }
    }
    this.#on.over(this);
  }

  #replace() {
    this.#on.other();
    void this.#leave();
  }

  /** Remove the card. */
  close() {
    this.#card.close();
  }
}

function isBeforeApproval({ state, stage }) {
  return state === "queued" || stage === null || ["reading", "looking"].includes(stage);
}
