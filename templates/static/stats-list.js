// A nested record as a flat list of names and values.

export function showFigures(list, record) {
  const rows = flatten(record).map(([name, value]) => {
    const row = document.createElement("div");
    const term = Object.assign(document.createElement("dt"), { textContent: name });
    const figure = Object.assign(document.createElement("dd"), { textContent: value });
    row.append(term, figure);
    return row;
  });
  list.replaceChildren(...rows);
}

/** `[["config.fps", "25"], …]`; null is a dash. */
export function flatten(record, prefix = "") {
  return Object.entries(record).flatMap(([key, value]) => {
    const name = prefix + key.replaceAll("_", " ");
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
