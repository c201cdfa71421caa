// The avatars that are there: moving, to try, to delete.

import { address } from "./address.js";
import { listAvatars } from "./avatars-api.js";
import { fromTemplate, partsOf } from "./elements.js";
import { Thumbnails } from "./thumbnails.js";

const POLL_MS = 3000;

export class Gallery {
  #list;
  #count;
  #problem;
  #problemParts;
  #onDelete;
  #thumbnails = new Thumbnails();
  #cards = new Map(); // id -> { root, parts, text of the avatar }
  #timer = 0;
  #asked = 0; // an answer to an older question is old

  /** `onDelete(avatar)` when somebody wants to. */
  constructor({ list, count, problem, onDelete }) {
    this.#list = list;
    this.#count = count;
    this.#problem = problem;
    this.#problemParts = partsOf(problem);
    this.#onDelete = onDelete;
    this.#problemParts.retry.addEventListener("click", () => this.refresh());
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  async refresh() {
    const mine = ++this.#asked;
    clearTimeout(this.#timer);
    let avatars;
    try {
      avatars = await listAvatars();
    } catch (problem) {
      if (mine !== this.#asked) return;
      this.#tell(problem);
      this.#schedule();
      return;
    }
    if (mine !== this.#asked) return;
    this.#tell(null);
    this.#show(avatars);
    if (avatars.some(({ prepared, progress }) => !prepared && progress !== undefined))
      this.#schedule();
  }

  #schedule() {
    if (!document.hidden) this.#timer = setTimeout(() => this.refresh(), POLL_MS);
  }

  /** Bring an avatar into sight, with what comes next under the keyboard. */
  present(avatarId) {
    const card = this.#cards.get(avatarId);
    if (!card) return;
    card.root.classList.add("new");
    card.root.scrollIntoView({ block: "nearest" });
    card.parts.try.focus({ preventScroll: true });
  }

  /** The keyboard goes on where a card was. */
  focus() {
    this.#list.querySelector("a")?.focus();
  }

  #show(avatars) {
    this.#count.textContent = String(avatars.length);
    const wanted = new Map(avatars.map((avatar) => [avatar.id, JSON.stringify(lasting(avatar))]));
    for (const [id, { root, parts, text }] of this.#cards) {
      if (wanted.get(id) === text) continue;
      this.#thumbnails.remove(parts.video);
      root.remove();
      this.#cards.delete(id);
    }
    avatars.forEach((avatar, place) => {
      const card = this.#cards.get(avatar.id) ?? this.#add(avatar, wanted.get(avatar.id));
      showState(card.parts.state, avatar);
      const there = this.#list.children[place];
      if (there !== card.root) this.#list.insertBefore(card.root, there ?? null);
      if (!card.isMoving) this.#thumbnails.add(card.parts.video, avatar.video_url);
      card.isMoving = true;
    });
  }

  #add(avatar, text) {
    const { root, parts } = fromTemplate("avatar-card");
    root.dataset.id = avatar.id;
    parts.name.textContent = avatar.name;
    parts.name.title = `${avatar.name} (${avatar.id})`;
    parts.initial.textContent = avatar.name.trim().charAt(0).toUpperCase();
    parts.figures.textContent = figures(avatar);
    parts.try.href = address(`?avatar=${encodeURIComponent(avatar.id)}`);
    parts.try.ariaLabel = `Try it: ${avatar.name}`;
    parts.delete.ariaLabel = `Delete ${avatar.name}`;
    parts.delete.title = "Delete";
    parts.delete.hidden = Boolean(avatar.protected);
    parts.delete.addEventListener("click", () => this.#onDelete(avatar));
    const card = { root, parts, text, isMoving: false };
    this.#cards.set(avatar.id, card);
    return card;
  }

  #tell(problem) {
    this.#problem.hidden = problem === null;
    if (problem === null) return;
    const { title, detail } = this.#problemParts;
    // What is written anew is read out anew.
    if (title.textContent !== problem.title) title.textContent = problem.title;
    if (detail.textContent !== problem.detail) detail.textContent = problem.detail;
  }
}

/** What stays as it is for as long as the avatar does. */
function lasting({ prepared: _prepared, progress: _progress, ...rest }) {
  return rest;
}

function showState(chip, { prepared, progress }) {
  chip.hidden = prepared;
  const share = progress === undefined ? "" : ` ${Math.round(100 * progress)} %`;
  chip.textContent = progress === undefined ? "Not prepared yet" : `Getting ready${share}`;
}

function figures({ width, height, cycle_length: length, fps }) {
  return `${width} × ${height} · ${(length / fps).toFixed(1)} s`;
}
