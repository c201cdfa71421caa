// Words of the server on a page.

/** "1 chunk", "2 chunks". */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** `text` as a sentence: with a capital letter, unless it begins with a name, and a full stop. */
export function sentence(text) {
  if (!text) return "";
  const start = /^\w+:/.test(text) ? text[0] : text[0].toUpperCase();
  return start + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
