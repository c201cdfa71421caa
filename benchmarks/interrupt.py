"""Interruptions at random moments in Chromium: how soon is it silent, and does anything follow?

The page asks for the interruption itself, so that one clock measures everything. Its sound is
captured sample by sample; frames are what `requestVideoFrameCallback` saw.
"""

import argparse
import asyncio
import base64
import random
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from playwright.async_api import Page

from .aims import Aims
from .browser import SPEAK, holds, player_page
from .captured import Captured, capture, take
from .server import create, median_ms, running_server, tone, wav

SPEECH_S = 20
# Within it, whatever is still to be played of a dead utterance would be.
AFTERWARDS_S = 0.8

INTERRUPT = """async (url) => {
  const asked = { sound_s: window.sound.now(), at: performance.now() };
  const answer = await fetch(url, { method: "POST" });
  return { ...asked, answered_at: performance.now(), said: await answer.json() };
}"""


@dataclass
class Figures:
    to_silence_s: list[float] = field(default_factory=list)
    to_last_frame_s: list[float] = field(default_factory=list)
    to_answer_s: list[float] = field(default_factory=list)
    played_off_s: list[float] = field(default_factory=list)  # reported less captured
    unreported: int = 0
    batches_after: int = 0


async def batches(client: httpx.AsyncClient) -> int:
    return int((await client.get("/sessions/stats")).json()["engine"]["batches"])


async def one(
    client: httpx.AsyncClient, page: Page, session_id: str, sound: str, wait_s: float
) -> dict[str, Any]:
    """Speak, and interrupt `wait_s` after speech is seen."""
    await page.evaluate(SPEAK, [f"/sessions/{session_id}/stream", sound])
    await holds(page, "window.musetalkPlayer.state === 'speaking'", polling_ms=10)
    await asyncio.sleep(wait_s)
    done: dict[str, Any] = await page.evaluate(INTERRUPT, f"/sessions/{session_id}/interrupt")
    begun = await batches(client)
    await asyncio.sleep(AFTERWARDS_S)
    done["batches_after"] = await batches(client) - begun
    await holds(page, "window.musetalkPlayer.state === 'idle'", polling_ms=10)
    return done


async def measure(count: int, longest_s: float, seed: int) -> Figures:
    moments, figures = random.Random(seed), Figures()
    sound = base64.b64encode(wav(tone(SPEECH_S))).decode()
    with running_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            session_id = await create(client)
            async with player_page(server.url, session_id) as page:
                await capture(page)
                for index in range(count + 1):
                    done = await one(client, page, session_id, sound, moments.uniform(0, longest_s))
                    captured = await take(page)
                    seen = await page.evaluate("window.musetalkPlayer.frames")
                    if index:  # the first round warms server and browser up
                        add(figures, done, captured, seen)
    return figures


def add(
    figures: Figures, done: dict[str, Any], captured: Captured, seen: list[dict[str, Any]]
) -> None:
    said = done["said"]
    shown = [
        frame["at"]
        for frame in seen
        if frame["video"] == "talk" and frame["request_id"] == said["request_id"]
    ]
    figures.to_last_frame_s.append(max(0.0, (shown[-1] - done["at"]) / 1e3) if shown else 0.0)
    figures.to_answer_s.append((done["answered_at"] - done["at"]) / 1e3)
    figures.batches_after += done["batches_after"]
    if len(audible_s := captured.audible_s):
        figures.to_silence_s.append(max(0.0, float(audible_s[-1]) - done["sound_s"]))
    if said["played_ms"] is None:
        figures.unreported += 1
    else:
        figures.played_off_s.append(said["played_ms"] / 1e3 - captured.heard_s())


def percentile_ms(values_s: list[float], share: float) -> float:
    return float(np.quantile(values_s, share)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--longest-s", type=float, default=3.0, help="before an interruption")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures = asyncio.run(measure(args.count, args.longest_s, args.seed))
    print(f"{args.count} interruptions, 0 to {args.longest_s:g} s after speech is seen")
    for what, values_s in (
        ("request to silence", figures.to_silence_s),
        ("request to the last frame of speech", figures.to_last_frame_s),
        ("request to its answer, with played_ms", figures.to_answer_s),
        ("played_ms less what was captured", figures.played_off_s),
    ):
        if values_s:
            print(f"{what}: {median_ms(values_s)}, p95 {percentile_ms(values_s, 0.95):.0f} ms")
    print(f"answers without played_ms: {figures.unreported}")
    print(f"batches begun after the answer: {figures.batches_after}")
    aims = Aims()
    silence_s = figures.to_silence_s
    aims.at_most("request to silence, median", percentile_ms(silence_s, 0.5), 150, " ms")
    aims.at_most("request to silence, p95", percentile_ms(silence_s, 0.95), 250, " ms")
    aims.at_most("answers without played_ms", figures.unreported, 0)
    aims.at_most("batches begun after the answer", figures.batches_after, 0)
    aims.judge()


if __name__ == "__main__":
    main()
