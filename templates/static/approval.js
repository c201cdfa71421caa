// Somebody looks at the face that was found: it is right, it is another one, or it is drawn by hand.

import { fromTemplate } from "./elements.js";
import { askForBox } from "./face-box.js";
import { drawCloseUp, drawFinding, faceButtons } from "./face-overlay.js";
import { pictureAddress } from "./key.js";

const EXPLANATION = "The lips will move within the shaded area.";
const SEVERAL = "Tap another face to take that one.";

export class Approval {
  #parts;
  #onAnswer;
  #job = null;
  #looks = 0;

  /**
   * `onAnswer(hint)`: an empty one is a yes, another (`face_point`, `face_box`) asks for another
   * look, and resolves to a problem or to null. `onOther()` when it must be another picture.
   * `onShown()` when it has the size that it will have.
   */
  constructor({ onAnswer, onOther, onShown }) {
    const { root, parts } = fromTemplate("approval");
    this.root = root;
    this.#parts = parts;
    this.#onAnswer = onAnswer;
    parts.yes.addEventListener("click", () => this.#answer({}));
    parts.draw.addEventListener("click", () => this.#draw());
    parts.other.addEventListener("click", onOther);
    parts.picture.addEventListener("load", onShown);
  }

  /** A finding, or the next one. */
  show(job) {
    const { preview } = job;
    this.#job = job;
    this.#looks += 1;
    // The same address may be another frame after another look.
    void this.#showPicture(preview, `${preview.picture_url}?look=${this.#looks}`);
    const [count, isMarked] = [preview.faces.length, preview.landmarks?.length > 0];
    this.#parts.question.textContent = isMarked ? "Is this the face?" : "Which face is it?";
    this.#parts.explanation.textContent = count > 1 ? `${EXPLANATION} ${SEVERAL}` : EXPLANATION;
    this.#parts.notes.replaceChildren(
      ...job.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
    );
    this.#tell(null);
    this.#showFinding();
    this.setBusy(false);
  }

  async #showPicture(preview, url) {
    const look = this.#looks;
    const shown = await pictureAddress(url).catch(() => url);
    const isOld = look !== this.#looks;
    URL.revokeObjectURL(isOld ? shown : this.#parts.picture.src); // if it is one
    if (isOld) return;
    this.#parts.picture.src = shown;
    this.#parts.close.replaceChildren(...drawCloseUp(preview, shown));
  }

  /** Nothing can be pressed while an answer is under way. */
  setBusy(isBusy) {
    this.root.setAttribute("aria-busy", String(isBusy));
    for (const button of this.root.querySelectorAll("button")) button.disabled = isBusy;
  }

  focus() {
    this.#parts.yes.focus({ preventScroll: true });
  }

  #showFinding() {
    const { preview } = this.#job;
    const buttons = faceButtons(preview, (face) => {
      const [left, top, right, bottom] = face.box;
      const [x, y] = this.#toOriginal([(left + right) / 2, (top + bottom) / 2]);
      void this.#answer({ face_point: `${x},${y}` });
    });
    this.#parts.over.replaceChildren(drawFinding(preview), ...buttons);
    this.#parts.finding.hidden = false;
    this.#parts.drawing.hidden = true;
  }

  #draw() {
    const { preview } = this.#job;
    this.#parts.finding.hidden = true;
    this.#parts.drawing.hidden = false;
    askForBox({
      over: this.#parts.over,
      place: this.#parts.drawing,
      width: preview.width,
      height: preview.height,
      box: preview.faces.find((face) => face.chosen)?.box,
      onBox: (box) => this.#answer({ face_box: this.#toOriginal(box).join(",") }),
      onBack: () => {
        this.#showFinding();
        this.#parts.draw.focus({ preventScroll: true });
      },
    });
  }

  async #answer(hint) {
    this.setBusy(true);
    const problem = await this.#onAnswer(hint);
    if (problem === null) return;
    this.setBusy(false);
    this.#tell(problem);
  }

  #tell(problem) {
    this.#parts.problem.hidden = problem === null;
    this.#parts.problem.textContent = problem === null ? "" : `${problem.title} ${problem.detail}`;
  }

  /** Coordinates of the preview, x and y by turns, in whole pixels of the upright original. */
  #toOriginal(coordinates) {
    const { width, height, original_width: fullWidth, original_height: fullHeight } =
      this.#job.preview;
    return coordinates.map((value, i) =>
      Math.round(i % 2 ? (value * fullHeight) / height : (value * fullWidth) / width),
    );
  }
}
