// Styles that a page's content security policy lets pass even if it allows none in its markup.

const made = new Map(); // text -> sheet, or its address

/** Have what is in `root` (a shadow root) look like `text`, from now on. */
export function wear(root, text) {
  if (!("adoptedStyleSheets" in root)) return link(root, text);
  if (!made.has(text)) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    made.set(text, sheet);
  }
  const worn = root.adoptedStyleSheets;
  if (!worn.includes(made.get(text))) root.adoptedStyleSheets = [...worn, made.get(text)];
}

// Safari before 16.4, Firefox before 101: a file that is in memory.
function link(root, text) {
  if (!made.has(text)) made.set(text, URL.createObjectURL(new Blob([text], { type: "text/css" })));
  const href = made.get(text);
  if (root.querySelector(`link[href="${href}"]`)) return;
  root.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
}
