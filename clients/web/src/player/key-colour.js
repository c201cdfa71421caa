// The colour to key out: as an app gave it, or as the corners of the picture have it.

const PART = 0.06; // of the picture's width and height, in each corner
const SAME = 40; // of 255: how far corners of one screen, unevenly lit, are apart
const MIN_CHROMA = 45; // of 255: what is less of a colour is in faces, too

/** `#rrggbb` as [r, g, b], 0 … 1. Raises an Error if it is in every face. */
export function parseKey(text) {
  const colour = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  if (isPale(colour)) throw new Error(`${text} is not strong enough a colour to be taken out.`);
  return colour.map((value) => value / 255);
}

/** The colour, [r, g, b], 0 … 1, that most corners of the picture have. Raises an Error. */
export function measureKey(video) {
  const corners = readCorners(video);
  const alike = corners
    .map((corner) => corners.filter((other) => distance(corner, other) < SAME))
    .reduce((most, some) => (some.length > most.length ? some : most));
  const colour = [0, 1, 2].map((c) => alike.reduce((sum, one) => sum + one[c], 0) / alike.length);
  if (alike.length < 2 || isPale(colour)) {
    throw new Error("The picture has no background of one strong colour: name it with key.");
  }
  return colour.map((value) => value / 255);
}

function isPale(colour) {
  return Math.max(...colour) - Math.min(...colour) < MIN_CHROMA;
}

function readCorners(video) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 2;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const [width, height] = [video.videoWidth * PART, video.videoHeight * PART];
  for (const x of [0, 1]) {
    for (const y of [0, 1]) {
      const left = x * (video.videoWidth - width);
      const top = y * (video.videoHeight - height);
      context.drawImage(video, left, top, width, height, x, y, 1, 1);
    }
  }
  const { data } = context.getImageData(0, 0, 2, 2);
  return [0, 4, 8, 12].map((at) => [...data.slice(at, at + 3)]);
}

function distance(a, b) {
  return Math.hypot(...a.map((value, c) => value - b[c]));
}
