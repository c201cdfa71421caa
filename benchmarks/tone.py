"""A tone through the real server into Chromium: is the sound whole, and is every frame on time?

The page's sound is captured sample by sample and compared with the sine that went in; frames are
what `requestVideoFrameCallback` saw; buffered ranges are noted after every append.
"""

import argparse
import asyncio
import base64
import os
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from musetalk_stream import fmp4

from .browser import SPEAK, holds, player_page
from .server import RATE, create, running_server, tone, wav

HERTZ = 441.0
WINDOW = 480  # audio samples; 10 ms
# AAC fades in over its first frame and rings out over its last.
EDGE = 2048

CAPTURE = """async () => {
  const code = `registerProcessor("capture", class extends AudioWorkletProcessor {
    process([[channel]]) { if (channel) this.port.postMessage(channel.slice()); return true; }
  });`;
  const context = new AudioContext({ sampleRate: 48000 });
  const module = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  const talk = document.querySelector("musetalk-avatar").shadowRoot.getElementById("talk");
  const node = new AudioWorkletNode(context, "capture");
  window.captured = [];
  node.port.onmessage = ({ data }) => window.captured.push(data);
  context.createMediaElementSource(talk).connect(node).connect(context.destination);
}"""

CAPTURED = """() => {
  const all = new Float32Array(window.captured.reduce((n, each) => n + each.length, 0));
  let at = 0;
  for (const each of window.captured) { all.set(each, at); at += each.length; }
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768)
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


@dataclass(frozen=True)
class ToneReport:
    """amplitude_error: largest relative error of a 10 ms window; phase_error: in radians."""

    chunks: int
    init_segments: int
    most_ranges: int
    media_s: float
    heard_s: float
    amplitude_error: float
    phase_error: float
    longest_step_frames: float
    frames_seen: int
    frames: int
    in_order: bool


async def run(url: str, seconds: float, fps: float) -> ToneReport:
    """Play `seconds` of tone at `fps` in 2 s chunks through the server at `url`."""
    async with httpx.AsyncClient(base_url=url) as client:
        session_id = await create(client, fps=fps, chunk_duration=2)
        async with player_page(url, session_id) as page:
            await page.evaluate(CAPTURE)
            sound = base64.b64encode(wav(tone(seconds, HERTZ))).decode()
            await page.evaluate(SPEAK, [f"/sessions/{session_id}/stream", sound])
            await holds(page, "window.musetalkPlayer.state === 'speaking'")
            await holds(
                page, "window.musetalkPlayer.state === 'idle'", timeout_ms=(seconds + 20) * 1e3
            )
            await asyncio.sleep(0.3)
            captured = np.frombuffer(base64.b64decode(await page.evaluate(CAPTURED)), "<f4")
            seen = await page.evaluate("({...window.musetalkPlayer})")
        request = (await client.get(f"/sessions/{session_id}")).json()["utterance"]
        inits = set()
        for index in range(request["chunks"]):
            chunk = await client.get(f"/chunks/{request['request_id']}/chunk_{index:04d}.mp4")
            inits.add(fmp4.split(chunk.content)[0])
    return _report(seen, captured, request["chunks"], len(inits), fps, seconds)


def _report(
    seen: dict[str, Any],
    captured: npt.NDArray[np.float32],
    chunks: int,
    inits: int,
    fps: float,
    seconds: float,
) -> ToneReport:
    times = [each["media_time"] for each in seen["frames"] if each["video"] == "talk"]
    ranges = [entry["buffered"] for entry in seen["appends"]]
    heard = np.flatnonzero(np.abs(captured) > 1e-3)
    sound = captured[heard[0] : heard[-1] + 1]
    amplitude, phase = _against_sine(sound[EDGE:-EDGE])
    return ToneReport(
        chunks=chunks,
        init_segments=inits,
        most_ranges=max(map(len, ranges)),
        media_s=ranges[-1][-1][1],
        heard_s=len(sound) / RATE,
        amplitude_error=amplitude,
        phase_error=phase,
        longest_step_frames=max(np.diff([0.0, *times])) * fps,
        frames_seen=len(times),
        frames=round(seconds * fps),
        in_order=times == sorted(set(times)),
    )


def _against_sine(sound: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Largest relative amplitude error and largest phase error of any 10 ms window."""
    count = len(sound) // WINDOW
    t = np.arange(count * WINDOW) / RATE
    carrier = np.exp(-2j * np.pi * HERTZ * t).reshape(count, WINDOW)
    # 10 ms hold 4.41 periods: a Hann window keeps the mirror frequency out.
    hann = np.hanning(WINDOW) / np.hanning(WINDOW).sum()
    windows = sound[: count * WINDOW].reshape(count, WINDOW)
    fit = 2 * (windows * carrier * hann).sum(axis=1)
    middle = np.median(np.abs(fit))
    drift = np.angle(fit * np.conj(fit[count // 2]))
    return float(np.max(np.abs(np.abs(fit) / middle - 1))), float(np.max(np.abs(drift)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--fps", type=float, nargs="+", default=[25, 15])
    args = parser.parse_args()
    with running_server() as server:
        for fps in args.fps:
            report = asyncio.run(run(server.url, args.seconds, fps))
            print(f"{args.seconds:g} s of {HERTZ:g} Hz at {fps:g} fps, {os.cpu_count()} cores")
            print(f"  chunks {report.chunks}, distinct init segments {report.init_segments}")
            print(f"  most buffered ranges after an append: {report.most_ranges}")
            print(f"  buffered {report.media_s:.4f} s, heard {report.heard_s:.4f} s")
            print(
                f"  largest error in 10 ms: amplitude {report.amplitude_error:.2%}, "
                f"phase {report.phase_error:.3f} rad"
            )
            print(
                f"  frames seen {report.frames_seen} of {report.frames}, in order: "
                f"{report.in_order}, longest step {report.longest_step_frames:.2f} frames"
            )


if __name__ == "__main__":
    main()
