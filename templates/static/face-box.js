// A box around a face, by hand: dragged anew, moved, pulled at its corners, or typed.

import { fromTemplate } from "./elements.js";

const SIDES = ["left", "top", "right", "bottom"];
const MIN_SIDE = 8; // pixels of the picture; less is a slip of the finger

/**
 * Puts a box into `over`, which lies upon a picture of `width` × `height`, and its form into
 * `place`. `onBox([left, top, right, bottom])` when it is right, `onBack()` when it is not wanted.
 */
export function askForBox({ over, place, width, height, box, onBox, onBack }) {
  const { root: form, parts } = fromTemplate("box-form");
  const frame = new Frame(width, height, box ?? middle(width, height), (sides) => {
    SIDES.forEach((side, i) => {
      form.elements[side].value = String(Math.round(sides[i]));
    });
  });
  for (const side of SIDES) {
    form.elements[side].max = side === "left" || side === "right" ? width : height;
  }
  form.addEventListener("input", () => {
    const typed = SIDES.map((side) => form.elements[side].valueAsNumber);
    if (isBox(typed) && form.checkValidity()) frame.put(typed);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onBox(frame.sides);
  });
  parts.back.addEventListener("click", onBack);
  over.replaceChildren(frame.root);
  place.replaceChildren(form);
  frame.put(frame.sides);
  parts.use.focus({ preventScroll: true }); // a field would bring up a phone's keyboard
}

/** What is drawn and dragged. */
class Frame {
  #width;
  #height;
  #onChange;
  #box = document.createElement("div");
  #drag = null; // of a move: where the pointer is in the box; else the corner that stays

  constructor(width, height, sides, onChange) {
    this.#width = width;
    this.#height = height;
    this.sides = sides;
    this.#onChange = onChange;
    this.root = Object.assign(document.createElement("div"), { className: "box-stage" });
    this.#box.className = "hand-box";
    for (const corner of ["nw", "ne", "sw", "se"]) {
      const grip = document.createElement("i");
      grip.dataset.corner = corner;
      this.#box.append(grip);
    }
    this.root.append(this.#box);
    this.root.addEventListener("pointerdown", (event) => this.#begin(event));
    this.root.addEventListener("pointermove", (event) => this.#drag && this.#pull(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.root.addEventListener(end, () => {
        this.#drag = null;
      });
    }
  }

  put(sides) {
    this.sides = sides.map((value, i) => clamp(value, i % 2 ? this.#height : this.#width));
    const [left, top, right, bottom] = this.sides;
    Object.assign(this.#box.style, {
      left: `${(100 * left) / this.#width}%`,
      top: `${(100 * top) / this.#height}%`,
      width: `${(100 * (right - left)) / this.#width}%`,
      height: `${(100 * (bottom - top)) / this.#height}%`,
    });
    this.#onChange(this.sides);
  }

  #begin(event) {
    event.preventDefault();
    this.root.setPointerCapture(event.pointerId);
    const [x, y] = this.#point(event);
    const [left, top, right, bottom] = this.sides;
    const { corner } = event.target.dataset;
    if (corner) {
      const stays = [corner.includes("w") ? right : left, corner.includes("n") ? bottom : top];
      this.#drag = { stays };
    } else if (event.target === this.#box) this.#drag = { held: [x - left, y - top] };
    else this.#drag = { stays: [clamp(x, this.#width), clamp(y, this.#height)] };
  }

  #pull(event) {
    const point = this.#point(event);
    if (this.#drag.held) this.#moveTo(point);
    else {
      const [x, y] = [clamp(point[0], this.#width), clamp(point[1], this.#height)];
      const [fromX, fromY] = this.#drag.stays;
      const sides = [Math.min(x, fromX), Math.min(y, fromY), Math.max(x, fromX), Math.max(y, fromY)];
      if (isBox(sides)) this.put(sides);
    }
  }

  #moveTo([x, y]) {
    const [left, top, right, bottom] = this.sides;
    const [width, height] = [right - left, bottom - top];
    const toX = clamp(x - this.#drag.held[0], this.#width - width);
    const toY = clamp(y - this.#drag.held[1], this.#height - height);
    this.put([toX, toY, toX + width, toY + height]);
  }

  /** Where the pointer is, in pixels of the picture. */
  #point({ clientX, clientY }) {
    const area = this.root.getBoundingClientRect();
    return [
      ((clientX - area.left) / area.width) * this.#width,
      ((clientY - area.top) / area.height) * this.#height,
    ];
  }
}

function isBox([left, top, right, bottom]) {
  return right - left >= MIN_SIDE && bottom - top >= MIN_SIDE;
}

function clamp(value, limit) {
  return Math.min(Math.max(value, 0), limit);
}

function middle(width, height) {
  const side = Math.min(width, height) / 2;
  const [x, y] = [width / 2, height * 0.4];
  const top = Math.max(0, y - side * 0.6);
  return [x - side / 2, top, x + side / 2, Math.min(height, top + side * 1.2)];
}
