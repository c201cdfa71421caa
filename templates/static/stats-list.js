// A nested record as a flat list of names and values.

/** Writes only what changed, so that a selection of the rest stays. */
export function showFigures(list, record) {
  const figures = flatten(record);
  const names = [...list.querySelectorAll("dt")].map((term) => term.textContent);
  if (names.join() !== figures.map(([name]) => name).join()) {
    list.replaceChildren(...figures.map(([name]) => row(name)));
  }
  const places = list.querySelectorAll("dd");
  figures.forEach(([, value], i) => {
    if (places[i].textContent !== value) places[i].textContent = value;
  });
}

function row(name) {
  const pair = document.createElement("div");
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  pair.append(term, document.createElement("dd"));
  return pair;
}

/** `[["config: batch size", "2"], …]`; null is a dash. */
export function flatten(record, prefix = "") {
  return Object.entries(record).flatMap(([key, value]) => {
    const name = prefix + key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      return flatten(value, `${name}: `);
    }
    return [[name, format(value)]];
  });
}

function format(value) {
  if (value === null) return "–";
  if (typeof value === "number" && !Number.isInteger(value)) return value.toFixed(3);
  return Array.isArray(value) ? JSON.stringify(value) : String(value);
}
