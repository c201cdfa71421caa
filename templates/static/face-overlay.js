// What was found in a picture, drawn over it in the picture's own pixels.

const SVG = "http://www.w3.org/2000/svg";
// Runs of the 68 points (iBUG 300-W), and whether each closes.
const LINES = [
  [0, 16, false], // jaw
  [17, 21, false], // brows
  [22, 26, false],
  [27, 30, false], // nose
  [31, 35, false],
  [36, 41, true], // eyes
  [42, 47, true],
];
const LIPS = [
  [48, 59, true],
  [60, 67, true],
];

/** The chosen face: what will be painted anew, its box, its lines and points. */
export function drawFinding(preview) {
  const svg = canvas([0, 0, preview.width, preview.height]);
  svg.append(...marks(preview));
  const chosen = chosenBox(preview);
  if (chosen) svg.append(make("rect", { ...rectangle(chosen), class: "box" }));
  return svg;
}

/** The same, with the face as large as it gets; nothing if there is none. */
export function drawCloseUp(preview, pictureUrl) {
  const chosen = chosenBox(preview);
  if (!chosen) return [];
  const { x, y, width, height } = rectangle(chosen);
  const side = 1.5 * Math.max(width, height);
  const svg = canvas([x + (width - side) / 2, y + (height - side) / 2, side, side]);
  const size = { width: preview.width, height: preview.height };
  svg.append(make("image", { href: pictureUrl, ...size }), ...marks(preview));
  return [svg];
}

function marks({ faces, landmarks, mask }) {
  const found = [];
  const area = (mask ?? []).filter((polygon) => polygon.length > 2);
  const d = area.map((polygon) => path(polygon, true)).join("");
  if (d) found.push(make("path", { d, class: "mask", "fill-rule": "evenodd" }));
  if (landmarks?.length !== 68) return found;
  const chosen = chosenBox({ faces });
  // Strokes are as wide as the face wants them: the picture may be shown at any size.
  const unit = (chosen ? chosen[2] - chosen[0] : 100) / 100;
  const dots = landmarks.map((point) => `M${at(point)}h0`).join(""); // round ends make a dot
  found.push(make("path", { d: runs(landmarks, LINES), class: "lines", "stroke-width": unit }));
  found.push(make("path", { d: dots, class: "dots", "stroke-width": 2 * unit }));
  found.push(make("path", { d: runs(landmarks, LIPS), class: "lips", "stroke-width": 1.6 * unit }));
  return found;
}

function chosenBox({ faces }) {
  return faces.find((face) => face.chosen)?.box;
}

function canvas(viewBox) {
  return make("svg", { viewBox: viewBox.join(" "), "aria-hidden": "true" });
}

/** A button over each face when there are several; `onChoose(face)` for one that isn't chosen. */
export function faceButtons({ width, height, faces }, onChoose) {
  if (faces.length < 2) return [];
  return faces.map((face, number) => {
    const [left, top, right, bottom] = face.box;
    const button = Object.assign(document.createElement("button"), {
      type: "button",
      className: "face",
      ariaLabel: `Face ${number + 1} of ${faces.length}${face.chosen ? ", chosen" : ""}`,
      ariaPressed: String(face.chosen),
    });
    Object.assign(button.style, {
      left: `${(100 * left) / width}%`,
      top: `${(100 * top) / height}%`,
      width: `${(100 * (right - left)) / width}%`,
      height: `${(100 * (bottom - top)) / height}%`,
    });
    button.addEventListener("click", () => face.chosen || onChoose(face));
    return button;
  });
}

function rectangle([left, top, right, bottom]) {
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function runs(points, lines) {
  return lines.map(([from, to, closes]) => path(points.slice(from, to + 1), closes)).join("");
}

function path(points, closes) {
  return `M${points.map(at).join("L")}${closes ? "Z" : ""}`;
}

function at([x, y]) {
  return `${Number(x).toFixed(1)} ${Number(y).toFixed(1)}`;
}

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
