// A file that was chosen, shown before or without the server: a photo, or a video's first picture.

const PATIENCE_MS = 5000; // some phones load no video before it is played

/** An element that shows `file` and its size; null if this browser can't show it. */
export async function localPicture(file) {
  const url = URL.createObjectURL(file);
  const shown = (await load(image(url))) ?? (await load(video(url)));
  if (shown === null) URL.revokeObjectURL(url);
  return shown && { ...shown, release: () => URL.revokeObjectURL(url) };
}

function image(url) {
  const element = Object.assign(new Image(), { src: url, alt: "" });
  const size = () => [element.naturalWidth, element.naturalHeight]; // upright
  return { element, size, loaded: "load" };
}

function video(url) {
  const element = Object.assign(document.createElement("video"), {
    muted: true,
    playsInline: true,
    preload: "auto",
    src: url,
  });
  const size = () => [element.videoWidth, element.videoHeight];
  return { element, size, loaded: "loadeddata" };
}

function load({ element, size, loaded }) {
  return new Promise((resolve) => {
    setTimeout(() => resolve(null), PATIENCE_MS);
    element.addEventListener("error", () => resolve(null));
    element.addEventListener(loaded, () => {
      const [width, height] = size();
      resolve(width > 0 && height > 0 ? { element, width, height } : null);
    });
  });
}
