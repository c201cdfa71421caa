// Styles that a page's content security policy lets pass even if it allows none in its markup.

const made = new Map(); // text -> sheet

/** Have what is in `root` (a shadow root) look like `text`, from now on. */
export function wear(root, text) {
  if (!("adoptedStyleSheets" in root)) return wearElement(root, text);
  if (!made.has(text)) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    made.set(text, sheet);
  }
  const worn = root.adoptedStyleSheets;
  if (!worn.includes(made.get(text))) root.adoptedStyleSheets = [...worn, made.get(text)];
}

// Safari before 16.4, Firefox before 101.
function wearElement(root, text) {
  if ([...root.children].some((each) => each.textContent === text)) return;
  root.append(Object.assign(document.createElement("style"), { textContent: text }));
}
