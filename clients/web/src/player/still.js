// The last picture of a video, over it while it is given another film.

export class Still {
  #video;
  #canvas = null;

  constructor(video) {
    this.#video = video;
  }

  show() {
    const video = this.#video;
    const { objectFit, objectPosition, opacity, transform, maskImage } = getComputedStyle(video);
    if (Number(opacity) === 0 || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    this.#canvas ??= document.createElement("canvas");
    const canvas = this.#canvas;
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const place = "inset: 0; width: 100%; height: 100%; filter: none; transition: none;";
    canvas.style.cssText = place;
    Object.assign(canvas.style, { objectFit, objectPosition, opacity, transform, maskImage });
    video.after(canvas);
  }

  hide() {
    this.#canvas?.remove();
  }
}
