"""Utterances back to back in Chromium: how long are the gaps between them?

Each is a tone of its own, sent while the one before is spoken. Gaps in the sound are stretches of
silence in what was captured; gaps in the picture are times between two painted frames of speech.
"""

import argparse
import asyncio
import base64
from itertools import pairwise
from typing import Any

import httpx
import numpy as np

from .browser import SPEAK, player_page
from .captured import AUDIBLE, RATE, Captured, capture, take
from .server import create, running_server, tone, wav

HERTZ = (441.0, 661.5)
# What one period of a tone is quiet for is no gap.
SHORTEST_GAP_S = 0.003


def gaps_s(captured: Captured) -> list[float]:
    """The silences between the first and the last sound."""
    loud = np.flatnonzero(np.abs(captured.samples) > AUDIBLE)
    lengths = np.diff(captured.instants_s[loud])
    return [float(length) for length in lengths if length > SHORTEST_GAP_S]


def between_frames_s(frames: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Times between painted frames of speech: at borders of utterances, and within them."""
    talk = [frame for frame in frames if frame["video"] == "talk" and frame["request_id"]]
    borders: list[float] = []
    within: list[float] = []
    for before, after in pairwise(talk):
        is_border = before["request_id"] != after["request_id"]
        (borders if is_border else within).append((after["at"] - before["at"]) / 1e3)
    return borders, within


async def measure(count: int, seconds: float) -> None:
    with running_server("--max-queue", str(count)) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            session_id = await create(client, on_busy="queue")
            async with player_page(server.url, session_id) as page:
                await capture(page)
                for index in range(count):
                    sound = wav(tone(seconds, HERTZ[index % len(HERTZ)]))
                    said = [f"/sessions/{session_id}/stream", base64.b64encode(sound).decode()]
                    await page.evaluate(SPEAK, said)
                await page.wait_for_function("window.musetalkPlayer.state === 'speaking'")
                await page.wait_for_function(
                    f"window.musetalkPlayer.counters.utterances >= {count}",
                    timeout=(count * seconds + 20) * 1e3,
                )
                await asyncio.sleep(0.3)
                captured = await take(page)
                seen = await page.evaluate("({...window.musetalkPlayer})")
    borders, within = between_frames_s(seen["frames"])
    silences = gaps_s(captured)
    heard_s = float(captured.audible_s[-1] - captured.audible_s[0])
    print(f"{count} tones of {seconds:g} s back to back, {RATE} Hz captured")
    print(f"heard for {heard_s:.3f} s of {count * seconds:g} s")
    longest = max(silences, default=0.0)
    print(f"silences: {len(silences)}, longest {longest * 1e3:.1f} ms")
    print(
        f"between frames at {len(borders)} borders: longest {max(borders) * 1e3:.0f} ms; within "
        f"utterances: median {np.median(within) * 1e3:.0f} ms, longest {max(within) * 1e3:.0f} ms"
    )
    ranges = max(len(entry["buffered"]) for entry in seen["appends"])
    print(f"most buffered ranges after an append: {ranges}; {seen['counters']}")
    if longest > 0.04:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    asyncio.run(measure(args.utterances, args.seconds))


if __name__ == "__main__":
    main()
