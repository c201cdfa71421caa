"""Utterances back to back in Chromium: how long are the gaps between them?

Each is a tone of its own, a little longer than a whole number of frames, so that its last frame
begins with sound and ends in silence. Gaps in the sound are stretches of silence in what was
captured; gaps in the picture are times between two painted frames of speech.
"""

import argparse
import asyncio
import base64
from itertools import pairwise
from typing import Any

import httpx
import numpy as np

from .aims import Aims
from .browser import SPEAK, holds, player_page
from .captured import RATE, capture, take
from .server import create, running_server, tone, wav

HERTZ = (441.0, 661.5)
LONGEST_GAP_MS = 40


def between_frames_ms(frames: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Times between painted frames of speech: at borders of utterances, and within them."""
    talk = [frame for frame in frames if frame["video"] == "talk" and frame["request_id"]]
    borders: list[float] = []
    within: list[float] = []
    for before, after in pairwise(talk):
        is_border = before["request_id"] != after["request_id"]
        (borders if is_border else within).append(after["at"] - before["at"])
    return borders, within


async def measure(count: int, seconds: float, fps: float, aims: Aims) -> None:
    with running_server("--max-queue", str(count)) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            session_id = await create(client, on_busy="queue", fps=fps)
            async with player_page(server.url, session_id) as page:
                await capture(page)
                for index in range(count):
                    sound = wav(tone(seconds, HERTZ[index % len(HERTZ)]))
                    said = [f"/sessions/{session_id}/stream", base64.b64encode(sound).decode()]
                    await page.evaluate(SPEAK, said)
                await holds(page, "window.musetalkPlayer.state === 'speaking'")
                await holds(
                    page,
                    f"window.musetalkPlayer.counters.utterances >= {count}",
                    timeout_ms=(count * seconds + 20) * 1e3,
                )
                await asyncio.sleep(0.3)
                captured = await take(page)
                seen = await page.evaluate("({...window.musetalkPlayer})")
    borders, within = between_frames_ms(seen["frames"])
    silences_ms = [gap_s * 1e3 for gap_s in captured.gaps_s()]
    longest_ms = max(silences_ms, default=0.0)
    print(f"{count} tones of {seconds:g} s back to back, {fps:g} fps, {RATE} Hz captured")
    print(f"  heard for {captured.heard_s():.3f} s of {count * seconds:g} s")
    print(f"  silences: {len(silences_ms)}, longest {longest_ms:.1f} ms")
    print(
        f"  between frames at {len(borders)} borders: longest {max(borders):.0f} ms; within "
        f"utterances: median {np.median(within):.0f} ms, longest {max(within):.0f} ms"
    )
    ranges = max(len(entry["buffered"]) for entry in seen["appends"])
    print(f"  most buffered ranges after an append: {ranges}; {seen['counters']}")
    at_fps = f"at {fps:g} fps"
    aims.at_most(f"longest silence {at_fps}", longest_ms, LONGEST_GAP_MS, " ms")
    late_ms = max(borders) - 1e3 / fps
    aims.at_most(f"first frame after a border {at_fps}, late by", late_ms, LONGEST_GAP_MS, " ms")
    aims.at_most(f"buffered ranges {at_fps}", ranges, 1)
    aims.at_most(f"borders {at_fps} that were not seen", count - 1 - len(borders), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.005)
    parser.add_argument("--fps", type=float, nargs="+", default=[25, 15])
    args = parser.parse_args()
    aims = Aims()
    for fps in args.fps:
        asyncio.run(measure(args.utterances, args.seconds, fps, aims))
    aims.judge()


if __name__ == "__main__":
    main()
