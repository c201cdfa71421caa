// Deleting an avatar: asked twice, and once more while somebody looks at it.

import { deleteAvatar } from "./avatars-api.js";

const IN_USE = "It is being looked at right now. Whoever does will lose sight of it.";

export class Deletion {
  #dialog;
  #title;
  #detail;
  #go;
  #onDeleted;
  #avatar = null;
  #force = false;

  /** `onDeleted(avatar)` afterwards. */
  constructor({ dialog, title, detail, keep, go, onDeleted }) {
    this.#dialog = dialog;
    this.#title = title;
    this.#detail = detail;
    this.#go = go;
    this.#onDeleted = onDeleted;
    keep.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => this.#delete());
  }

  ask(avatar) {
    this.#avatar = avatar;
    this.#force = false;
    this.#title.textContent = `Delete ${avatar.name}?`;
    this.#detail.textContent = "It can't be brought back.";
    this.#go.textContent = "Delete";
    this.#go.hidden = this.#go.disabled = false;
    this.#dialog.showModal();
  }

  async #delete() {
    const avatar = this.#avatar;
    this.#go.disabled = true;
    try {
      await deleteAvatar(avatar.id, this.#force);
    } catch (problem) {
      if (problem.status !== 404) {
        this.#tell(problem);
        return;
      }
    }
    this.#dialog.close();
    this.#onDeleted(avatar);
  }

  #tell(problem) {
    this.#force = problem.code === "avatar_in_use";
    this.#detail.textContent = this.#force ? IN_USE : problem.detail;
    this.#go.disabled = false;
    this.#go.hidden = problem.code === "avatar_protected";
    this.#go.textContent = this.#force ? "Delete it anyway" : "Try again";
  }
}
