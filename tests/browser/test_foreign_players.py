"""Players that are not ours play the HLS lists: hls.js and shaka-player, in Chromium."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from fakes import buzz
from media import NODE
from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PLAYERS = {
    "hls.js": NODE / "node_modules/hls.js/dist/hls.min.js",
    "shaka-player": NODE / "node_modules/shaka-player/dist/shaka-player.compiled.js",
}
FPS = 25

# What a page does that has one of them: it plays a list to its end and says what it saw.
PLAY = """async ([url, rate]) => {
  const video = document.querySelector("video");
  const errors = [];
  const seeks = [];
  video.onseeking = () => seeks.push(video.currentTime);
  const over = new Promise((resolve) => (video.onended = resolve));
  if (window.Hls) {
    const player = new Hls();
    // That playback waited for a busy machine is not fatal, and no mistake of the list.
    player.on(Hls.Events.ERROR, (_, { fatal, details }) => {
      if (fatal || details !== Hls.ErrorDetails.BUFFER_STALLED_ERROR) errors.push(details);
    });
    player.loadSource(url);
    player.attachMedia(video);
  } else {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.addEventListener("error", ({ detail }) => errors.push(detail.code));
    await player.attach(video);
    await player.load(url);
  }
  video.playbackRate = rate;
  await video.play();
  await over;
  const frames = video.getVideoPlaybackQuality().totalVideoFrames;
  return { errors, seeks, duration: video.duration, ended: video.currentTime, frames };
}"""


@pytest.fixture(params=PLAYERS)
def player(request: pytest.FixtureRequest) -> str:
    if not PLAYERS[request.param].is_file():
        pytest.skip(f"npm {request.param} is not installed (npm ci in tests/node)")
    return str(request.param)


async def page_with(browser: Browser, api: httpx.AsyncClient, player: str) -> Page:
    """Of the server's origin, with a video element and a player that does nothing yet."""
    page = await browser.new_page(bypass_csp=True)  # theirs allows what their player needs
    await page.goto(f"{api.base_url}/healthz")
    await page.set_content("<video width=128 height=128></video>")
    await page.add_script_tag(path=PLAYERS[player])
    return page


def wav_file(seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(48_000)
        out.writeframes((buzz(seconds) * 32_767).astype("<i2").tobytes())
    return file.getvalue()


def check(seen: dict[str, Any], duration_s: float) -> None:
    assert seen["errors"] == []
    assert all(place < 1 / FPS for place in seen["seeks"]), "it began later than the utterance"
    assert abs(seen["duration"] - duration_s) < 1e-3
    assert abs(seen["ended"] - duration_s) < 1e-3
    # A frame that is decoded again after a seek counts twice.
    assert seen["frames"] >= round(duration_s * FPS)


async def test_a_finished_utterance(browser: Browser, api: httpx.AsyncClient, player: str) -> None:
    session = (await api.post("/sessions/create")).json()
    files = {"audio_file": ("speech.wav", wav_file(4.48))}
    request_id = (await api.post(session["stream_url"], files=files)).json()["request_id"]
    utterance: dict[str, Any] = {}
    while utterance.get("status") != "complete":
        answer = await api.get(f"{session['utterances_url']}/{request_id}")
        utterance = answer.json()
    page = await page_with(browser, api, player)
    check(await page.evaluate(PLAY, [utterance["playlist_url"], 3]), 4.48)
    await page.close()
    await api.delete(f"/sessions/{session['session_id']}")


async def test_an_utterance_that_grows(
    browser: Browser, api: httpx.AsyncClient, player: str
) -> None:
    """Its sound ends only after the player has seen a list that has no end yet."""
    session = (await api.post("/sessions/create")).json()
    page = await page_with(browser, api, player)
    is_loaded = asyncio.Event()
    sound = (np.asarray(buzz(2.56, 24_000)) * 32_767).astype("<i2").tobytes()

    async def arriving() -> AsyncIterator[bytes]:
        yield sound[: len(sound) * 3 // 4]
        await is_loaded.wait()
        yield sound[len(sound) * 3 // 4 :]

    kind = {"Content-Type": "audio/L16;rate=24000"}
    sending = asyncio.create_task(api.post(session["audio_url"], content=arriving(), headers=kind))
    while not (await api.get(session["utterances_url"])).json()["utterances"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    playing = asyncio.create_task(page.evaluate(PLAY, [session["hls_url"], 1]))
    answer = await page.wait_for_event(
        "response", lambda response: "live.m3u8" in response.url and response.status == 200
    )
    assert "#EXT-X-ENDLIST" not in await answer.text()
    is_loaded.set()
    check(await playing, (await sending).json()["duration"])
    await page.close()
    await api.delete(f"/sessions/{session['session_id']}")
