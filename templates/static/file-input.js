// How a file gets onto a page: chosen, or dropped anywhere.

/** `onFile(file)` for the file that is chosen in `input`, which `button` opens. */
export function acceptChosen(button, input, onFile) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // the same file may be chosen again
    if (file) onFile(file);
  });
}

/**
 * `onFile(file)` for the first file that is dropped anywhere; `veil` covers the page meanwhile.
 * `show(event)` is what makes it do so.
 */
export function acceptDropped(veil, onFile) {
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  };
  window.addEventListener("dragenter", show);
  window.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  window.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  });
  // The veil covers the page, so leaving it is leaving the page.
  veil.addEventListener("dragleave", () => {
    veil.hidden = true;
  });
  return { show };
}
