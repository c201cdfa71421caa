// Buttons for the viewer: sound on and off, how loud, captions.

import { wear } from "./sheets.js";

const STYLE = `
.player {
  container-type: size;
}
.controls {
  position: absolute;
  right: calc(env(safe-area-inset-right, 0px) + 12px);
  top: calc(env(safe-area-inset-top, 0px) + 12px);
  display: flex;
  align-items: center;
  border-radius: 999px;
  background: var(--veil);
  color: var(--text);
}
.offline:not([hidden]) ~ .controls {
  top: calc(env(safe-area-inset-top, 0px) + 52px);
}
[data-state="closed"] .controls {
  display: none;
}
.controls button {
  display: grid;
  place-items: center;
  width: 44px;
  height: 44px;
  padding: 0;
  border: 0;
  border-radius: 999px;
  background: none;
  color: inherit;
  cursor: pointer;
}
.controls button:hover {
  background: rgb(255 255 255 / 12%);
}
.controls svg {
  width: 22px;
  height: 22px;
  fill: none;
  stroke: currentColor;
  stroke-width: 2;
  stroke-linecap: round;
  stroke-linejoin: round;
}
.controls [aria-pressed="true"] .off,
.controls [aria-pressed="false"] .on {
  display: none;
}
.controls input {
  width: 84px;
  height: 44px;
  margin: 0 8px 0 0;
  accent-color: var(--accent);
  cursor: pointer;
}
@container (max-width: 260px) {
  .controls input {
    display: none;
  }
}
`;
const MARKUP = `
<button type="button" class="mute" aria-label="Mute">
  <svg viewBox="0 0 24 24" aria-hidden="true">
    <path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z"/>
    <path class="off" d="M15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11"/>
    <path class="on" d="M16 9.5l5 5M21 9.5l-5 5"/>
  </svg>
</button>
<input type="range" min="0" max="1" step="0.05" aria-label="Volume">
<button type="button" class="cc" aria-label="Captions">
  <svg viewBox="0 0 24 24" aria-hidden="true">
    <rect x="3" y="5" width="18" height="14" rx="3"/>
    <path class="on" d="M7 15.5h10M7 11.5h4M14 11.5h3"/>
  </svg>
</button>`;

export class Extra {
  #element = document.createElement("div");
  #mute;
  #volume;
  #captions;
  #isSoundBlocked;
  #options;

  /** `choose(name, value)`: what the viewer wants; `isSoundBlocked`, `unblock`: see extras.js. */
  constructor({ root, choose, isSoundBlocked, unblock }, options) {
    this.#isSoundBlocked = isSoundBlocked;
    this.#element.className = "controls";
    this.#element.setAttribute("role", "group");
    this.#element.setAttribute("aria-label", "Player");
    this.#element.innerHTML = MARKUP;
    wear(root.getRootNode(), STYLE);
    this.#mute = this.#element.querySelector(".mute");
    this.#volume = this.#element.querySelector("input");
    this.#captions = this.#element.querySelector(".cc");
    this.#volume.hidden = !canSetVolume();
    this.#mute.onclick = () => {
      if (isSoundBlocked()) unblock();
      else choose("muted", !this.#options.muted);
    };
    this.#captions.onclick = () => choose("captions", !this.#options.captions);
    this.#volume.oninput = () => {
      choose("volume", Number(this.#volume.value));
      if (this.#options.muted) choose("muted", false);
    };
    // What moves it is a gesture only in the end, on a touch screen.
    this.#volume.onchange = () => isSoundBlocked() && unblock();
    // Above the tap, whose picture-wide button would take their clicks.
    root.querySelector("#tap").after(this.#element);
    this.update(options);
  }

  update(options) {
    this.#options = options;
    this.#mute.setAttribute("aria-pressed", options.muted || this.#isSoundBlocked());
    this.#captions.setAttribute("aria-pressed", options.captions);
    const volume = String(options.muted ? 0 : options.volume);
    if (this.#volume.value !== volume) this.#volume.value = volume;
  }

  close() {
    this.#element.remove();
  }
}

// iPhones leave it to the buttons at their side.
function canSetVolume() {
  const audio = new Audio();
  audio.volume = 0.5;
  return audio.volume === 0.5;
}
