"""What is on the screen: never black, and no jump where speech begins and ends."""

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import OpenPlayer
from player_driver import PlayerPage, tone

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]


@dataclass
class Shot:
    at: float  # s
    picture: npt.NDArray[np.float32]  # [H, W], 0-255


class Recording:
    """Every picture that the compositor shows, as the tab's screencast gives them."""

    def __init__(self, player: PlayerPage) -> None:
        self._page = player.page
        self.shots: list[Shot] = []
        self._answers: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        self._devtools = await self._page.context.new_cdp_session(self._page)
        self._devtools.on("Page.screencastFrame", self._take)
        await self._devtools.send(
            "Page.startScreencast",
            {"format": "jpeg", "quality": 80, "maxWidth": 200, "maxHeight": 200},
        )

    async def stop(self) -> None:
        await self._devtools.send("Page.stopScreencast")
        await asyncio.gather(*self._answers, return_exceptions=True)

    def _take(self, frame: dict[str, Any]) -> None:
        data = np.frombuffer(base64.b64decode(frame["data"]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        self.shots.append(Shot(frame["metadata"]["timestamp"], picture.astype(np.float32)))
        answer = self._devtools.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})
        task = asyncio.ensure_future(answer)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)


async def test_no_black_picture_from_loading_to_idle_again(open_player: OpenPlayer) -> None:
    player = await open_player(viewport={"width": 400, "height": 400})
    url = player.page.url
    await player.page.goto("about:blank")
    recording = Recording(player)
    await recording.start()
    await player.page.goto(url)
    await player.until("idle")
    await asyncio.sleep(0.5)
    for count in (1, 2):
        await player.speak(tone(1, lead_s=0.4))
        await player.until_spoken(count)
    await asyncio.sleep(0.3)
    await recording.stop()

    brightness = [float(shot.picture.mean()) for shot in recording.shots]
    idle = brightness[-1]
    assert len(brightness) > 30
    # From the dark gradient of the first moment up to the picture, and then never down again.
    assert min(brightness) > 20
    shown = next(i for i, value in enumerate(brightness) if abs(value - idle) < 0.06 * idle)
    worst = max(abs(value - idle) for value in brightness[shown:])
    assert worst < 0.05 * idle, f"brightness {idle:.0f} became {idle - worst:.0f}"


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
async def test_speech_and_loop_dissolve_into_one_another(
    open_player: OpenPlayer, motion: Any
) -> None:
    player = await open_player(reduced_motion=motion)
    await player.page.evaluate(
        """() => {
            window.dissolved = [];
            const talk = part('talk');
            talk.addEventListener("transitionrun", () => {
                window.dissolved.push(Math.round(getComputedStyle(talk).opacity));
            });
        }"""
    )
    await player.speak(tone(1.2))
    await player.until_spoken()
    dissolved = await player.page.evaluate("window.dissolved")
    assert sorted(set(dissolved)) == ([0, 1] if motion == "no-preference" else [])


async def test_speech_takes_over_and_gives_back_in_phase(open_player: OpenPlayer) -> None:
    player = await open_player(viewport={"width": 400, "height": 400})
    for count in (1, 2):  # the second one knows how long it takes to start sound
        await asyncio.sleep(0.5)  # the server learns where the loop is
        await player.speak(tone(1))
        await player.until_spoken(count)
    await asyncio.sleep(0.3)
    frames = await player.read("frames")
    (*_, start) = await player.read("starts")
    fps = 25
    length = await player.page.evaluate(
        "JSON.parse(document.getElementById('config').textContent).session.avatar.cycle_length"
    )

    def loop_frame(frame: dict[str, Any]) -> int:
        number: int = round(frame["media_time"] * fps) % length
        return number

    speech = [frame for frame in frames if frame["request_id"] == start["request_id"]]
    speech = [frame for frame in speech if frame["video"] == "talk"]
    loop = [frame for frame in frames if frame["video"] == "idle"]
    before = [frame for frame in loop if frame["at"] <= start["shown_at"]][-1]
    shown = [frame for frame in speech if frame["at"] <= start["shown_at"]][-1]
    first = start["avatar_frame"] + round(shown["media_time"] * fps)
    step = (first - loop_frame(before) + length // 2) % length - length // 2
    assert -1 <= step <= 2, f"speech took over {step} frames after the loop's last one"

    last = start["avatar_frame"] + round(speech[-1]["media_time"] * fps)
    after = next(frame for frame in loop if frame["at"] > speech[-1]["at"])
    step = (loop_frame(after) - last) % length
    assert 1 <= step <= 3, f"the loop went on {step} frames after the last one of speech"
