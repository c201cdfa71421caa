// Markup that is there several times: the page's templates.

/** A copy of the template `id`: its root, and by their `data-part` the elements to fill. */
export function fromTemplate(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true);
  return { root, parts: partsOf(root) };
}

export function partsOf(root) {
  const named = [...root.querySelectorAll("[data-part]")];
  return Object.fromEntries(named.map((element) => [element.dataset.part, element]));
}
