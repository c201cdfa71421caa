"""From the loop into speech and back, in Chromium: does the picture jump, repeat or go black?

For every painted frame the page draws what it shows, the loop and the speech over it as opaque as
it is, and compares that with what it showed before. The steps at the seams are held against those
of the loop itself, and the cycle frames that were shown are counted through: from one picture to
the next 1 is right, 0 a repetition, more a jump (a busy machine leaves out some of the loop, too).
"""

import argparse
import asyncio
import base64
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
from playwright.async_api import Page

from .aims import Aims
from .browser import SPEAK, holds, player_page
from .server import RATE, babble, create, running_server, wav

# Before and after speech as TTS makes it: seams are about the body, not the mouth.
QUIET_S = 0.2
# Pixels of the picture that is compared, each the mean of 8 x 8: the size of the blocks that are
# encoded. Finer than that, two encodings of the same picture differ by their noise.
SIDE = 64

INTERRUPT = "(url) => fetch(url, { method: 'POST' })"

# `window.shown`: every picture. step: mean difference in levels from the one before; level: mean;
# covered: how opaque speech is; idle_s, talk_s: media times of the frames that were painted.
WATCH = """(side) => {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const { shadowRoot } = document.querySelector("musetalk-avatar");
  const [idle, talk] = ["idle", "talk"].map((id) => shadowRoot.getElementById(id));
  const painted = new Map();
  window.shown = [];
  let before = null;
  let wasSpeech = false;

  const opacity = () => {
    const { visibility, display, opacity } = getComputedStyle(talk);
    return visibility === "hidden" || display === "none" ? 0 : +opacity;
  };
  const look = (at, covered) => {
    context.globalAlpha = 1;
    context.fillRect(0, 0, side, side);
    context.drawImage(idle, 0, 0, side, side);
    context.globalAlpha = covered;
    if (covered > 0) context.drawImage(talk, 0, 0, side, side);
    const now = context.getImageData(0, 0, side, side).data;
    let step = 0, level = 0;
    for (let i = 0; i < now.length; i += 4)
      for (let k = i; k < i + 3; k += 1) {
        level += now[k];
        if (before) step += Math.abs(now[k] - before[k]);
      }
    const values = side * side * 3;
    window.shown.push({ at, covered, step: step / values, level: level / values,
                        idle_s: painted.get(idle), talk_s: painted.get(talk) });
    before = now;
    wasSpeech = covered > 0.5;
  };
  // What is drawn while a frame is announced is that frame.
  for (const video of [idle, talk]) {
    const note = (at, { mediaTime }) => {
      video.requestVideoFrameCallback(note);
      painted.set(video, mediaTime);
      const covered = opacity();
      if ((covered > 0.5) === (video === talk)) look(at, covered);
    };
    video.requestVideoFrameCallback(note);
  }
  // The other video may come before the eye on a frame that was announced while it was behind.
  const watch = (at) => {
    requestAnimationFrame(watch);
    const covered = opacity();
    if ((covered > 0.5) !== wasSpeech && painted.has(idle)) look(at, covered);
  };
  requestAnimationFrame(watch);
}"""


@dataclass
class Figures:
    idle_steps: list[float] = field(default_factory=list)
    into: list[float] = field(default_factory=list)
    out: list[float] = field(default_factory=list)
    frames_on: dict[str, Counter[int]] = field(
        default_factory=lambda: {"idle": Counter(), "into": Counter(), "out": Counter()}
    )
    black: int = 0


@dataclass(frozen=True)
class Shown:
    """One picture: of speech or of the loop, and which cycle frame it shows."""

    is_speech: bool
    cycle_frame: int
    step: float
    level: float


async def one(
    page: Page, session_id: str, sound: str, cycle: tuple[float, int], interrupt_s: float | None
) -> list[Shown]:
    """Speak once; what was shown from a second before it to a second after it."""
    await page.evaluate("window.shown.length = 0")
    await asyncio.sleep(1)
    await page.evaluate(SPEAK, [f"/sessions/{session_id}/stream", sound])
    await holds(page, "window.musetalkPlayer.state === 'speaking'", polling_ms=20)
    if interrupt_s is not None:
        await asyncio.sleep(interrupt_s)
        await page.evaluate(INTERRUPT, f"/sessions/{session_id}/interrupt")
    await holds(page, "window.musetalkPlayer.state === 'idle'", polling_ms=20)
    await asyncio.sleep(1)
    seen = await page.evaluate("({ shown: window.shown, starts: window.musetalkPlayer.starts })")
    return [described(each, seen["starts"][-1]["avatar_frame"], cycle) for each in seen["shown"]]


def described(each: dict[str, Any], first: int, cycle: tuple[float, int]) -> Shown:
    fps, length = cycle
    is_speech = each["covered"] > 0.5
    frame = round((each["talk_s"] if is_speech else each["idle_s"]) * fps)
    cycle_frame = (first * is_speech + frame) % length
    return Shown(is_speech, cycle_frame, each["step"], each["level"])


def add(figures: Figures, shown: list[Shown], length: int) -> None:
    usual = float(np.median([each.level for each in shown]))
    figures.black += sum(each.level < usual / 2 for each in shown)
    for before, after in pairwise(shown):
        frames_on = (after.cycle_frame - before.cycle_frame + length // 2) % length - length // 2
        match before.is_speech, after.is_speech:
            case False, False:
                figures.idle_steps.append(after.step)
                figures.frames_on["idle"][frames_on] += 1
            case False, True:
                figures.into.append(after.step)
                figures.frames_on["into"][frames_on] += 1
            case True, False:
                figures.out.append(after.step)
                figures.frames_on["out"][frames_on] += 1


async def measure(count: int, seconds: float, *, interrupted: bool) -> Figures:
    samples = babble(seconds)
    quiet = round(QUIET_S * RATE)
    samples[:quiet] = samples[-quiet:] = 0
    moments = random.Random(1)
    sound, figures = base64.b64encode(wav(samples)).decode(), Figures()
    with running_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            avatar = (await client.get("/avatars/demo")).json()
            fps = float(avatar["fps"])
            session_id = await create(client, fps=fps)
            async with player_page(server.url, session_id) as page:
                await page.evaluate(WATCH, SIDE)
                length = round(
                    fps
                    * await page.evaluate(
                        "document.querySelector('musetalk-avatar')"
                        ".shadowRoot.getElementById('idle').duration"
                    )
                )
                for index in range(count + 1):
                    interrupt_s = moments.uniform(0, seconds - 0.5) if interrupted else None
                    shown = await one(page, session_id, sound, (fps, length), interrupt_s)
                    if index:  # the first round warms server and browser up
                        add(figures, shown, length)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--interrupted", action="store_true", help="each at a random moment")
    args = parser.parse_args()
    figures = asyncio.run(measure(args.count, args.seconds, interrupted=args.interrupted))
    idle_p95 = float(np.quantile(figures.idle_steps, 0.95))
    aims = Aims()
    print(f"{args.count} utterances; {len(figures.idle_steps)} steps of the loop")
    print(
        f"the loop's own step: median {np.median(figures.idle_steps):.2f}, p95 {idle_p95:.2f}, "
        f"most {max(figures.idle_steps):.2f} levels"
    )
    for name, steps in (("into", figures.into), ("out", figures.out)):
        above = sum(step > idle_p95 for step in steps)
        print(
            f"step {name} of speech: median {np.median(steps):.2f}, most {max(steps):.2f} levels; "
            f"above the loop's p95: {above} of {len(steps)}, {above / len(steps):.0%}"
        )
        median = float(np.median(steps))
        aims.at_most(f"step {name} of speech, median", median, idle_p95, " levels")
    for name, counted in figures.frames_on.items():
        told = ", ".join(f"{frames}: {times}" for frames, times in sorted(counted.items()))
        print(f"cycle frames from one picture to the next, {name}: {told}")
    print(f"black pictures: {figures.black}")
    aims.at_most("black pictures", figures.black, 0)
    aims.judge()


if __name__ == "__main__":
    main()
