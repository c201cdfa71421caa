// The first sound of a page costs the browser some 50 ms: it starts its audio service for it. This
// makes it pay before there is anything to say.

const SILENCE_S = 0.1;
const RATE = 8000;

/** Have a moment of silence loaded, not played: no gesture is needed for that. */
export function warmUpSound() {
  const url = URL.createObjectURL(new Blob([silentWav()], { type: "audio/wav" }));
  const audio = new Audio();
  audio.preload = "auto";
  const release = () => {
    audio.onloadeddata = null;
    audio.onerror = null;
    audio.removeAttribute("src");
    audio.load();
    URL.revokeObjectURL(url);
  };
  audio.onloadeddata = release;
  audio.onerror = release; // no sound here at all: speech will say so
  audio.src = url;
}

/** A wav file, 8 bit, mono. */
function silentWav() {
  const length = SILENCE_S * RATE;
  const bytes = new Uint8Array(44 + length).fill(128);
  const view = new DataView(bytes.buffer);
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE, true);
  view.setUint16(32, 1, true);
  view.setUint16(34, 8, true);
  text(36, "data");
  view.setUint32(40, length, true);
  return bytes;
}
