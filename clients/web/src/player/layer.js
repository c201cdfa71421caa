// Where extras are shown: at the lower edge of the picture, one above the other, below whatever the
// viewer has to be told.

import { wear } from "./sheets.js";

const STYLE = `
.player {
  container-type: size;
}
.extras {
  position: absolute;
  left: calc(env(safe-area-inset-left, 0px) + 14px);
  right: calc(env(safe-area-inset-right, 0px) + 14px);
  top: 58%; /* the face, and controls, are above that */
  bottom: calc(env(safe-area-inset-bottom, 0px) + 18px);
  display: flex;
  flex-direction: column;
  align-items: center;
  justify-content: flex-end;
  gap: 12px;
  pointer-events: none;
  transition: bottom 160ms;
}
/* Room for the dots of a wait, the label of a tap, a line about an error. */
.player[data-waiting] .extras {
  bottom: calc(env(safe-area-inset-bottom, 0px) + 64px);
}
.player:has(:is(.tap, .error):not([hidden])) .extras {
  bottom: calc(env(safe-area-inset-bottom, 0px) + 92px);
}
/* The face comes first. */
@container (max-height: 320px) {
  .extras .visualizer {
    display: none;
  }
}
`;
const ORDER = ["captions", "visualizer"];

/** An element for the extra `name`, in its place, and what looks like `style`. */
export function place(root, name, style) {
  let layer = root.querySelector(".extras");
  if (layer === null) {
    layer = document.createElement("div");
    layer.className = "extras";
    wear(root.getRootNode(), STYLE);
    root.querySelector("#talk").after(layer);
  }
  const element = document.createElement("div");
  element.className = name;
  wear(root.getRootNode(), style);
  const later = ORDER.slice(ORDER.indexOf(name) + 1).map((other) => `.${other}`);
  layer.insertBefore(element, later.length > 0 ? layer.querySelector(later.join()) : null);
  return element;
}
