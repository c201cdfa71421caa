// What an app may choose of the player: attributes of the element, query of the page, and fields
// of the command `set` are the same words. docs/player.md has the table. No I/O here.

const COLOUR = /^#[0-9a-f]{6}$/i;
const CROP = "x,y,width,height as fractions of the picture, the last two from 0.05";
const MIN_PART = 0.05; // a picture twenty times as large as the player is all that devices draw
const OFF = ["false", "0"];
const ON = ["", "true", "1"];

const flag = {
  fallback: false,
  read: (text) => (OFF.includes(text) ? false : ON.includes(text) || undefined),
  takes: "true or false",
};

function oneOf(...words) {
  return {
    fallback: words[0],
    read: (text) => (words.includes(text) ? text : undefined),
    takes: words.join(", "),
  };
}

/** `read(text)`: the value that a text means, or undefined; `takes`: the texts that mean one. */
export const OPTIONS = Object.freeze({
  __proto__: null, // what is `in` it is an option
  volume: { fallback: 1, read: readVolume, takes: "a number from 0 to 1" },
  muted: flag,
  captions: flag,
  visualizer: flag,
  controls: flag,
  background: { fallback: null, read: readBackground, takes: "transparent, or #rrggbb" },
  key: { fallback: null, read: readColour, takes: "a colour as #rrggbb" },
  fit: oneOf("auto", "cover", "contain"),
  crop: { fallback: null, read: readCrop, takes: CROP },
  poster: { fallback: null, read: readPoster, takes: "none, or an address" },
});

/** What is so unless an app says otherwise. */
export function defaults() {
  const entries = Object.entries(OPTIONS).map(([name, { fallback }]) => [name, fallback]);
  return Object.fromEntries(entries);
}

/** The value of an option given as text; null means its default. Raises an Error that says why. */
export function readOption(name, text) {
  if (!(name in OPTIONS)) throw new Error(`The player has no option "${name}".`);
  const { fallback, read, takes } = OPTIONS[name];
  const value = text === null ? fallback : read(text.trim());
  if (value === undefined) throw new Error(`${name} takes ${takes}, not "${text.slice(0, 100)}".`);
  return value;
}

function readVolume(text) {
  const volume = text === "" ? NaN : Number(text);
  return volume >= 0 && volume <= 1 ? volume : undefined;
}

function readColour(text) {
  return COLOUR.test(text) ? text.toLowerCase() : undefined;
}

function readBackground(text) {
  return text === "transparent" ? text : readColour(text);
}

function readCrop(text) {
  const { x, y, width, height } = parseCrop(text);
  const isInside = x >= 0 && y >= 0 && x + width <= 1.000001 && y + height <= 1.000001;
  // NaN is greater than nothing.
  return isInside && width >= MIN_PART && height >= MIN_PART ? text : undefined;
}

/** `{x, y, width, height}` of a value of `crop`. */
export function parseCrop(text) {
  const numbers = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const [x, y, width, height, ...more] = numbers;
  return more.length > 0 ? {} : { x, y, width, height };
}

function readPoster(text) {
  try {
    new URL(text, "http://localhost/"); // of whatever page
  } catch {
    return undefined;
  }
  return text || undefined;
}
