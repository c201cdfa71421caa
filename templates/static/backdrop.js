// How the picture fills the viewport: cropped where that costs little, else whole, before a
// blurred copy of itself.

// A face fills the middle of a portrait: its sides can go, its top and bottom can not.
const MIN_VISIBLE_WIDTH = 0.4;
const MIN_VISIBLE_HEIGHT = 0.8;

/** "cover" or "contain" for a picture in a viewport; both arguments are `{width, height}`. */
export function fit(picture, viewport) {
  const ratio = viewport.width / viewport.height / (picture.width / picture.height);
  const isCovered = ratio < 1 ? ratio >= MIN_VISIBLE_WIDTH : 1 / ratio >= MIN_VISIBLE_HEIGHT;
  return isCovered ? "cover" : "contain";
}

/** Keep `root.dataset.fit` right while the viewport changes. */
export function keepFit(root, picture) {
  const update = () => {
    root.dataset.fit = fit(picture, { width: root.clientWidth, height: root.clientHeight });
  };
  new ResizeObserver(update).observe(root);
  update();
}

/** Paint the blurred copy once; `video` has a picture. */
export function paintBackdrop(canvas, video) {
  // A few pixels are enough: the browser smooths them, and the style blurs the rest.
  canvas.width = 32;
  canvas.height = 32;
  canvas.getContext("2d").drawImage(video, 0, 0, 32, 32);
  canvas.classList.add("shown");
}
