"""The sound of a player page, sample by sample, with the instants at which it was played."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.async_api import Page

RATE = 48_000
# What is quieter than this (-60 dBFS) is silence: AAC rings out a little after a tone.
AUDIBLE = 1e-3
# What one period of a tone is quiet for is no gap.
_SHORTEST_GAP_S = 0.003

# `window.sound` keeps blocks of 128 audio samples and the frame of the context's clock at which
# each begins; `now()` is that clock now, in seconds.
_START = """async () => {
  const code = `registerProcessor("capture", class extends AudioWorkletProcessor {
    process([[channel]]) {
      if (channel) this.port.postMessage([currentFrame, channel.slice()]);
      return true;
    }
  });`;
  const context = new AudioContext({ sampleRate: 48000 });
  const module = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  const node = new AudioWorkletNode(context, "capture");
  window.sound = { blocks: [], now: () => context.currentTime };
  node.port.onmessage = ({ data }) => window.sound.blocks.push(data);
  const talk = document.querySelector("musetalk-avatar").shadowRoot.getElementById("talk");
  context.createMediaElementSource(talk).connect(node).connect(context.destination);
}"""

_TAKE = """() => {
  const { blocks } = window.sound;
  window.sound.blocks = [];
  const samples = new Float32Array(128 * blocks.length);
  blocks.forEach(([, block], k) => samples.set(block, 128 * k));
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768)
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return { first: blocks.map(([frame]) => frame), samples: btoa(text) };
}"""


@dataclass(frozen=True)
class Captured:
    """float32 `[n]` and the instant of each audio sample, in seconds of the context's clock."""

    samples: npt.NDArray[np.float32]
    instants_s: npt.NDArray[np.float64]

    @property
    def audible_s(self) -> npt.NDArray[np.float64]:
        """The instants at which something was heard."""
        return self.instants_s[np.abs(self.samples) > AUDIBLE]

    def gaps_s(self) -> list[float]:
        """The silences between the first and the last sound."""
        lengths = np.diff(self.audible_s)
        return [float(length) for length in lengths if length > _SHORTEST_GAP_S]

    def heard_s(self) -> float:
        """How long something was heard, without the gaps: a player that waits plays nothing."""
        audible_s = self.audible_s
        if not len(audible_s):
            return 0.0
        return float(audible_s[-1] - audible_s[0]) - sum(self.gaps_s())


async def capture(page: Page) -> None:
    """Listen to the page from now on."""
    await page.evaluate(_START)


async def take(page: Page) -> Captured:
    """What was played since the last time."""
    said: dict[str, Any] = await page.evaluate(_TAKE)
    first = np.array(said["first"], np.int64).reshape(-1, 1)
    return Captured(
        samples=np.frombuffer(base64.b64decode(said["samples"]), "<f4"),
        instants_s=(first + np.arange(128)).ravel() / RATE,
    )
