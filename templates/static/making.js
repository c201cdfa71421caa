// One avatar in the making, as a card: chosen, sent, followed, looked at, failed.

import { Approval } from "./approval.js";
import { approveJob, createAvatar, deleteJob } from "./avatars-api.js";
import { fromTemplate } from "./elements.js";
import { failure } from "./failure.js";
import { askForBox } from "./face-box.js";
import { jobWords, megabytes, nameOf } from "./job-words.js";
import { localPicture } from "./local-picture.js";
import { Problem } from "./problem.js";
import { sentence } from "./words.js";

const ACTIVE = ["queued", "running", "awaiting_approval"];
const TOO_LARGE = { title: "File too large.", code: "upload_too_large", status: 413 };
const CANT_SHOW =
  "This browser can't show the file, so there is nothing to draw on: " +
  "save it as a JPEG or an MP4 and choose that.";

export class Making {
  #file;
  #fields = {}; // sent with the file
  #limits;
  #on;
  #parts;
  #job = null;
  #sending = null; // aborts the upload
  #approval = null; // in sight while there is something to approve, or looked for anew
  #picture = null; // local ones are released with the card

  /**
   * Of a `file` that was chosen, or of a job that there is. `on`: `job(making)` when it has another
   * job, `done(making, job)`, `failed()`, `over(making)` when nobody wants it any more, `other()` to
   * choose another picture, `say(text)` to who can't see.
   */
  constructor({ file = null, limits, on }) {
    this.#file = file;
    this.#limits = limits;
    this.#on = on;
    const { root, parts } = fromTemplate("making-card");
    this.root = root;
    this.#parts = parts;
    parts.leave.addEventListener("click", () => this.#leave());
    if (file) void this.#showThumbnail(file);
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

  /** Ask for the name. */
  draft() {
    this.#label(nameOf(this.#file.name), `${this.#file.name} · ${megabytes(this.#file.size)}`);
    if (this.#file.size > this.#limits.max_avatar_bytes) {
      const [size, limit] = [this.#file.size, this.#limits.max_avatar_bytes].map(megabytes);
      const detail = `${size} is more than the ${limit} that are taken here.`;
      this.#fail(new Problem({ ...TOO_LARGE, detail }));
      return;
    }
    const { root: form, parts } = fromTemplate("draft-form");
    parts.name.value = nameOf(this.#file.name);
    parts.options.hidden = this.#file.type.startsWith("image/") && this.#file.type !== "image/gif";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = parts.name.value.trim();
      this.#fields = { name: name || nameOf(this.#file.name), loop: parts.loop.value };
      this.root.focus({ preventScroll: true }); // the form goes
      void this.#send();
    });
    this.#parts.body.replaceChildren(form);
    // A field under the cursor brings up a phone's keyboard, and the name may well be right.
    if (matchMedia("(pointer: fine)").matches) parts.name.select();
    else parts.make.focus({ preventScroll: true });
    this.#bringIntoSight();
  }

  async #send(hint = {}) {
    const before = this.#job;
    this.#job = null;
    this.#sending = new AbortController();
    this.#parts.body.replaceChildren();
    this.#label(this.#fields.name, "");
    const show = (fraction) => {
      const words = `Sending the file · ${Math.floor(100 * fraction)} %`;
      this.#showProgress(fraction < 1 ? words : "Checking the file", 100 * fraction);
    };
    show(0);
    let job;
    try {
      const fields = { ...this.#fields, ...hint, approve: "true" };
      job = await createAvatar(this.#file, fields, show, this.#sending.signal);
    } catch (problem) {
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
    this.#label(job.name, jobWords(job));
    if (job.preview && !this.#file) this.#showPreview(job.preview);
    if (job.state === "awaiting_approval") {
      const isNews = last?.state !== job.state || !this.#approval;
      if (isNews) this.#askForApproval(job);
    } else if (job.state === "failed") {
      if (last?.state !== job.state || last === job) this.#failJob(job);
    } else if (job.state === "done") {
      this.#on.done(this, job);
    } else if (job.state === "cancelled") {
      this.#on.say([`${job.name} was cancelled.`, ...job.notes].join(" "));
      this.#on.over(this);
    } else {
      this.#goOn(job);
    }
  }

  /** The server doesn't know the job any more. */
  lose() {
    this.#job = null;
    const detail = "The server does not know of it any more.";
    this.#fail(new Problem({ title: "It is gone.", detail, code: "job_not_found", status: 404 }));
  }

  #goOn(job) {
    const looksAgain = this.#approval?.isLookedForAgain && isBeforeApproval(job);
    if (this.#approval && !looksAgain) this.#closeApproval();
    if (!this.#approval) this.#parts.body.replaceChildren();
    this.#showProgress(jobWords(job), job.state === "queued" ? 0 : job.percent);
  }

  #askForApproval(job) {
    const isFirst = this.#approval === null;
    // Where somebody waits for it, but not where they do something else meanwhile.
    const { activeElement } = document;
    const isWaited =
      this.#file !== null &&
      (activeElement === document.body || this.root.contains(activeElement));
    if (isFirst) {
      const view = new Approval({
        onAnswer: (hint) => this.#approve(hint),
        onOther: () => this.#replace(),
        onShown: () => isWaited && this.#bringIntoSight(),
      });
      this.#approval = { view, isLookedForAgain: false };
      this.#parts.body.replaceChildren(view.root);
    }
    this.#approval.isLookedForAgain = false;
    this.#hideProgress();
    this.#approval.view.show(job);
    this.#on.say(`${job.name}: please look at the face that was found.`);
    if (isWaited) this.#approval.view.focus();
  }

  /** The problem, if the server doesn't take the answer; else null. */
  async #approve(hint) {
    const isAnotherLook = Object.keys(hint).length > 0;
    this.root.focus({ preventScroll: true }); // its buttons go
    this.#approval.isLookedForAgain = isAnotherLook;
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

  #closeApproval() {
    this.#approval.view.root.remove();
    this.#approval = null;
  }

  #failJob(job) {
    const { title, detail, code, status, retryable } = job.error;
    const words = { title: sentence(title), detail: sentence(detail) };
    this.#fail(new Problem({ ...words, code, status, retryable }), () => this.#send());
    this.#on.failed();
  }

  // ---- what does not work ----

  #fail(problem, onRetry = null) {
    if (this.#approval) this.#closeApproval();
    this.#hideProgress();
    this.#label(null, this.#file?.name ?? this.#job?.file_name ?? "");
    this.#parts.leave.textContent = "Dismiss";
    const view = failure(problem, {
      hasFile: this.#file !== null && this.#file.size <= this.#limits.max_avatar_bytes,
      onRetry,
      onHand: () => this.#markByHand(problem, onRetry),
      onOther: () => this.#replace(),
    });
    this.#parts.body.replaceChildren(view);
    this.#bringIntoSight();
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
    this.#parts.body.replaceChildren(root);
    askForBox({
      over: parts.over,
      place: parts.drawing,
      width: shown.width,
      height: shown.height,
      onBox: (box) => {
        shown.release();
        void this.#send({ face_box: box.map(Math.round).join(",") });
      },
      onBack: () => {
        shown.release();
        this.#fail(problem, onRetry);
      },
    });
    this.#bringIntoSight();
  }

  // ---- the end ----

  async #leave() {
    this.#sending?.abort();
    if (this.#job) {
      this.#parts.leave.disabled = true;
      try {
        await deleteJob(this.jobId);
      } catch (problem) {
        this.#parts.leave.disabled = false;
        this.#parts.words.textContent = `${problem.title} ${problem.detail}`;
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
    this.#picture?.release();
    this.root.remove();
  }

  // ---- what is shown ----

  #label(name, words) {
    if (name !== null) this.#parts.name.textContent = name;
    if (this.#parts.words.textContent !== words) this.#parts.words.textContent = words;
    this.#parts.leave.textContent = "Cancel";
  }

  #showProgress(words, percent) {
    const value = Math.min(100, Math.max(0, percent ?? 0));
    // Forward it glides; from the end of the upload to the beginning of the job it jumps.
    const isBack = value < Number(this.#parts.progress.getAttribute("aria-valuenow"));
    this.#parts.bar.style.transitionDuration = isBack ? "0s" : "";
    this.#parts.words.textContent = words;
    this.#parts.progress.hidden = false;
    this.#parts.progress.ariaLabel = `Making ${this.#parts.name.textContent}`;
    this.#parts.progress.setAttribute("aria-valuenow", String(Math.round(value)));
    this.#parts.progress.setAttribute("aria-valuetext", words);
    this.#parts.bar.style.width = `${value}%`;
  }

  #bringIntoSight() {
    const fits = this.root.offsetHeight < window.innerHeight;
    this.root.scrollIntoView({ block: fits ? "nearest" : "start" });
  }

  #hideProgress() {
    this.#parts.progress.hidden = true;
  }

  async #showThumbnail(file) {
    this.#picture = await localPicture(file);
    if (this.#picture) this.#parts.thumbnail.replaceChildren(this.#picture.element);
  }

  #showPreview({ picture_url: url }) {
    if (this.#parts.thumbnail.firstChild) return;
    this.#parts.thumbnail.append(Object.assign(new Image(), { src: url, alt: "" }));
  }
}

function isBeforeApproval({ state, stage }) {
  return state === "queued" || stage === null || ["reading", "looking"].includes(stage);
}
