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

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


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


async def test_no_jump_between_idle_and_speech(open_player: OpenPlayer) -> None:
    """A tone that begins and ends in silence: the swaps must be lost in the idle motion."""
    player = await open_player(viewport={"width": 400, "height": 400})
    await asyncio.sleep(1)  # the server learns where the loop is
    request_id = await player.speak(tone(0.9, lead_s=0.9))  # silence: the source frames alone
    await player.until_spoken()
    await asyncio.sleep(0.4)
    frames = await player.read("frames")
    fps, length = (
        25,
        await player.page.evaluate(
            "JSON.parse(document.getElementById('config').textContent).avatar.cycle_length"
        ),
    )
    begun = next(i for i, frame in enumerate(frames) if frame["video"] == "talk")
    speech = [frame for frame in frames if frame["video"] == "talk"]
    appended = await player.appended(request_id)
    first = await player.page.evaluate("window.musetalkPlayer.starts[0].avatar_frame")
    resumed = next(
        frame
        for frame in frames[begun:]
        if frame["video"] == "idle" and frame["at"] > speech[-1]["at"]
    )
    last = (first + round(speech[-1]["media_time"] * fps)) % length
    assert appended
    step = (round(resumed["media_time"] * fps) - last) % length
    assert 1 <= step <= 3, f"the loop went on {step} frames after the last one of speech"
