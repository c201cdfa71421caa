// What is being said, to be read. Not a text track of the video: its speech buffer holds many
// utterances one behind the other, browsers put the text of a track where the whole picture ends
// and not what is seen of it, and few let it be styled.

import { place } from "./layer.js";

const STYLE = `
/* What is too long loses its end. */
.captions {
  min-height: 0;
  overflow: hidden;
}
.captions p {
  max-width: min(100%, 38em);
  margin: 0 auto;
  font-size: 18px;
  font-size: clamp(15px, 5cqmin, 28px);
  font-weight: 550;
  line-height: 1.5;
  text-align: center;
  text-wrap: balance;
  white-space: pre-line;
  overflow-wrap: anywhere;
}
.captions p:empty {
  display: none;
}
/* On light and dark pictures alike; each line has a box of its own. */
.captions span {
  padding: 0.12em 0.45em;
  border-radius: 0.3em;
  background: rgb(14 12 13 / 80%);
  color: #fff;
  unicode-bidi: plaintext;
  -webkit-box-decoration-break: clone;
  box-decoration-break: clone;
}
`;

export class Extra {
  #tracks;
  #element;
  #paragraph = document.createElement("p");
  #shown = "";

  constructor({ root, tracks }) {
    this.#tracks = tracks;
    this.#element = place(root, "captions", STYLE);
    this.#paragraph.dir = "auto";
    this.#element.append(this.#paragraph);
  }

  update() {}

  painted(speech) {
    if (speech === null) return;
    this.#show(this.#tracks.captionsAt(speech.requestId, speech.mediaTime).join("\n"));
  }

  silent() {
    this.#show("");
  }

  close() {
    this.#element.remove();
  }

  #show(text) {
    if (text === this.#shown) return;
    this.#shown = text;
    const span = document.createElement("span");
    span.textContent = text;
    this.#paragraph.replaceChildren(...(text === "" ? [] : [span]));
  }
}
