// How the player looks. It fills the element, whatever size that has.

export const STYLE = `
:host {
  display: block;
  position: relative;
  min-height: 120px;
  overflow: hidden;
  color-scheme: dark;
  --line: #373135;
  --ink-3: #332d30;
  --text: #f4efec;
  --accent: #f0a277;
  --accent-ink: #2a1509;
  --warn: #f2c063;
  --record: #ef5b4c;
  --veil: rgb(20 17 18 / 72%);
  font: 15px/normal system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans",
    sans-serif;
}

*,
*::before,
*::after {
  box-sizing: border-box;
}

[hidden] {
  display: none !important;
}

.button {
  display: inline-flex;
  align-items: center;
  justify-content: center;
  gap: 8px;
  min-height: 40px;
  padding: 8px 16px;
  border: 1px solid var(--line);
  border-radius: 10px;
  background: var(--ink-3);
  color: var(--text);
  font: inherit;
  font-weight: 550;
  text-decoration: none;
  cursor: pointer;
  transition: background 120ms, border-color 120ms;
}

.button:hover {
  background: #3e373a;
}

.button.primary {
  border-color: transparent;
  background: var(--accent);
  color: var(--accent-ink);
}

.button.primary:hover {
  background: #f7b28b;
}

.button.plain {
  border-color: transparent;
  background: transparent;
}

.button.plain:hover {
  background: rgb(255 255 255 / 8%);
}

:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 2px;
}

.visually-hidden {
  position: absolute;
  width: 1px;
  height: 1px;
  margin: -1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

@media (prefers-reduced-motion: reduce) {
  *,
  *::before,
  *::after {
    animation-duration: 0.01ms !important;
    animation-iteration-count: 1 !important;
    transition-duration: 0.01ms !important;
  }
}

.player {
  position: absolute;
  inset: 0;
  overflow: hidden;
  /* Before the first picture: dark and warm like it, never black. */
  background:
    radial-gradient(90% 70% at 50% 42%, #3a302c 0%, #221d1d 55%, #171416 100%);
  -webkit-tap-highlight-color: transparent;
  user-select: none;
  -webkit-user-select: none;
}

.player canvas,
.player img,
.player video {
  position: absolute;
  inset: 0;
  width: 100%;
  height: 100%;
  object-fit: contain;
  object-position: 50% 50%;
  background: transparent;
  pointer-events: none;
}

#backdrop,
.player video {
  opacity: 0;
}

.player[data-fit="cover"] :is(img, video, #keyed) {
  object-fit: cover;
  object-position: 50% 30%;
}

.player[data-crop] :is(img, video, #keyed) {
  inset: var(--top) auto auto var(--left);
  width: var(--width);
  height: var(--height);
  object-fit: fill;
  clip-path: var(--clip);
}

/* Above the fallback gradient, below the picture: what surrounds a picture that isn't cropped. */
.player #backdrop {
  inset: -24px;
  width: calc(100% + 48px);
  height: calc(100% + 48px);
  object-fit: fill;
  filter: blur(12px);
}

/* Where there is room beside the picture, it fades into what fills that. */
.player[data-bars] :is(img, video) {
  --mask: linear-gradient(
    var(--along),
    transparent calc(var(--start) + 2px),
    #000 calc(var(--start) + var(--fade)),
    #000 calc(100% - var(--end) - var(--fade)),
    transparent calc(100% - var(--end) - 2px)
  );
  -webkit-mask-image: var(--mask);
  mask-image: var(--mask);
}

.player[data-bars="sides"] {
  --along: to right;
  --fade: 40px;
}

.player[data-bars="ends"] {
  --along: to bottom;
  --fade: 14px; /* a head is close to the upper edge */
}

.player #backdrop.shown,
.player video.shown {
  opacity: 1;
}

#idle,
#backdrop {
  transition: opacity 240ms ease-out;
}

/* Another background is wanted: a canvas shows the picture. Not hidden, for browsers stop drawing
   what is. */
.player[data-keyed] {
  background: var(--behind, none);
}

.player[data-keyed] :is(video, #backdrop) {
  opacity: 0 !important;
}

.player[data-keyed] :is(video, #backdrop),
.cut * {
  transition: none !important;
}

.player #talk.ending {
  opacity: 0.998;
}

/* Speech comes and goes in phase with the loop: what is spread over a moment is only that the same
   picture was encoded twice. Where it is cut off, or the loop is elsewhere, a moment of two is less
   than a jump. */
.player #talk {
  transition: opacity 100ms linear;
}

@media (prefers-reduced-motion: reduce) {
  .player #talk {
    transition: none;
  }
}

.activity {
  position: absolute;
  left: 50%;
  bottom: calc(env(safe-area-inset-bottom, 0px) + 22px);
  display: flex;
  gap: 7px;
  padding: 10px 14px;
  border-radius: 999px;
  background: var(--veil);
  transform: translateX(-50%);
  opacity: 0;
  transition: opacity 160ms;
  pointer-events: none;
}

.player[data-waiting] .activity {
  opacity: 1;
}

.activity i {
  width: 6px;
  height: 6px;
  border-radius: 50%;
  background: #fff;
  opacity: 0.35;
}

.player[data-waiting] .activity i {
  animation: breathe 1.1s ease-in-out infinite;
}

.activity i:nth-child(2) {
  animation-delay: 0.15s !important;
}

.activity i:nth-child(3) {
  animation-delay: 0.3s !important;
}

@keyframes breathe {
  0%,
  70%,
  100% {
    opacity: 0.3;
  }
  35% {
    opacity: 1;
  }
}

.offline,
.recorded {
  position: absolute;
  top: calc(env(safe-area-inset-top, 0px) + 14px);
  left: 50%;
  transform: translateX(-50%);
  display: flex;
  align-items: center;
  gap: 8px;
  margin: 0;
  padding: 7px 13px;
  border-radius: 999px;
  background: var(--veil);
  color: var(--text);
  font-size: 13px;
  white-space: nowrap;
}

.offline::before,
.recorded::before {
  content: "";
  width: 7px;
  height: 7px;
  border-radius: 50%;
  background: var(--warn);
}

.recorded {
  left: calc(env(safe-area-inset-left, 0px) + 14px);
  transform: none;
}

.recorded::before {
  background: var(--record);
}

/* The whole picture takes the tap, the label says so. */
.tap {
  position: absolute;
  inset: 0;
  display: flex;
  align-items: flex-end;
  justify-content: center;
  width: 100%;
  padding: 0 20px calc(env(safe-area-inset-bottom, 0px) + 26px);
  border: 0;
  background: linear-gradient(to top, rgb(12 10 11 / 55%), transparent 34%);
  color: inherit;
  font: inherit;
  cursor: pointer;
}

.tap > span {
  display: inline-flex;
  align-items: center;
  gap: 10px;
  padding: 13px 22px 13px 18px;
  border-radius: 999px;
  background: #fff;
  color: #1b1718;
  font-size: 16px;
  font-weight: 600;
  box-shadow: 0 6px 28px rgb(0 0 0 / 35%);
}

.tap svg {
  width: 20px;
  height: 20px;
}

.tap:focus-visible {
  outline: none;
}

.tap:focus-visible > span {
  outline: 3px solid var(--accent);
  outline-offset: 3px;
}

.error {
  position: absolute;
  left: calc(env(safe-area-inset-left, 0px) + 14px);
  right: calc(env(safe-area-inset-right, 0px) + 14px);
  bottom: calc(env(safe-area-inset-bottom, 0px) + 14px);
  display: flex;
  align-items: center;
  gap: 6px;
  max-width: 520px;
  margin: 0 auto;
  padding: 10px 8px 10px 16px;
  border-radius: 14px;
  background: rgb(32 24 24 / 92%);
  box-shadow: 0 8px 30px rgb(0 0 0 / 35%);
  color: var(--text);
  font-size: 14px;
  line-height: 1.4;
}

.error p {
  flex: 1;
  margin: 0;
  overflow-wrap: anywhere;
}

.error .button {
  flex: none;
}

.error:not([hidden]) ~ .activity {
  display: none;
}

.over {
  position: absolute;
  inset: 0;
  display: flex;
  flex-direction: column;
  align-items: center;
  justify-content: center;
  gap: 18px;
  padding: 24px;
  background: rgb(18 15 16 / 72%);
  backdrop-filter: blur(10px);
  -webkit-backdrop-filter: blur(10px);
  color: var(--text);
  text-align: center;
}

.over p {
  margin: 0;
  font-size: 18px;
  font-weight: 600;
}

.over div {
  display: flex;
  flex-wrap: wrap;
  justify-content: center;
  gap: 10px;
}
`;
