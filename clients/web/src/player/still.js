// The last picture of a video, over it while it is given another film.

// Also where of the picture only a part is shown.
const PLACE = ["left", "top", "width", "height", "transform"];
const LOOK = [...PLACE, "objectFit", "objectPosition", "opacity", "clipPath", "maskImage"];

export class Still {
  #video;
  #canvas = null;

  constructor(video) {
    this.#video = video;
  }

  show() {
    const video = this.#video;
    const look = getComputedStyle(video);
    if (Number(look.opacity) === 0 || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    this.#canvas ??= document.createElement("canvas");
    const canvas = this.#canvas;
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.style.cssText = "inset: auto; filter: none; transition: none;";
    for (const name of LOOK) canvas.style[name] = look[name];
    video.after(canvas);
  }

  hide() {
    this.#canvas?.remove();
  }
}
