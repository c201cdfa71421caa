"""Engines without MediaSource: the same speech from a playlist, or chunk by chunk."""

import asyncio

import pytest
from avatar_page import AvatarPage, OpenPage, assert_painted_in_order
from engine_fixtures import Kind
from wire import Fault, Wire

pytest_plugins = ["engine_fixtures"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.engines,
    pytest.mark.asyncio(loop_scope="session"),
]

CHUNK_S = 0.64
NO_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource;"
NO_PLAYLISTS = """{
  const { canPlayType } = HTMLMediaElement.prototype;
  HTMLMediaElement.prototype.canPlayType = function (type) {
    return type.includes("mpegurl") ? "" : canPlayType.call(this, type);
  };
}"""
# It has MediaSource, but not for these codecs.
NOT_THESE_CODECS = "MediaSource.isTypeSupported = (mime) => !mime.includes('avc1.64');"

KINDS = {
    "chromium-hls": Kind("chromium", NOT_THESE_CODECS),
    "chromium-chunks": Kind("chromium", NO_MEDIA_SOURCE + NO_PLAYLISTS),
    "firefox-chunks": Kind("firefox", NO_MEDIA_SOURCE + NO_PLAYLISTS),
    "webkit-chunks": Kind("webkit", NO_MEDIA_SOURCE + NO_PLAYLISTS),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


async def test_two_are_heard_and_one_is_interrupted(
    open_page: OpenPage, wire: Wire, request: pytest.FixtureRequest
) -> None:
    # Chromium goes to the end of a list that still grows when it is told to play: it gets them
    # when they are whole. Where it must play lists, there it can't be helped.
    are_made = asyncio.Event()
    wire.faults = [Fault(r"live.m3u8", gate=are_made)]
    page = await open_page(chunk_duration=CHUNK_S)
    ids = [await page.speak(1.6), await page.speak(0.6)]
    for request_id in ids:
        await page.until_made(request_id)
    are_made.set()
    await page.until_spoken(2)
    name = request.node.callspec.params["kind"]
    assert await page.read("source") == name.split("-")[1]
    for request_id, seconds in zip(ids, (1.6, 0.6), strict=True):
        await assert_heard(page, request_id, seconds)
    muted = [each["muted"] for each in await page.messages("speech_started")]
    assert muted == [False, False]

    request_id = await page.speak(3)
    await page.until_heard(request_id, 0.7)
    answer = await page.interrupt()
    await page.until("idle")
    ended = (await page.ended())[request_id]
    assert ended["reason"] == "interrupted"
    assert 650 <= ended["played_ms"] == answer["played_ms"] < 3000
    assert await page.tab.evaluate("() => part('talk').paused")


async def assert_heard(page: AvatarPage, request_id: str, seconds: float) -> None:
    ended = (await page.ended())[request_id]
    assert ended["reason"] == "complete"
    assert ended["played_s"] == pytest.approx(seconds, abs=0.06)
    played_ms = (await page.utterance(request_id))["played_ms"]
    assert played_ms == pytest.approx(seconds * 1000, abs=60)
    await assert_painted_in_order(page, request_id)
    assert (await page.frames(request_id))[-1] >= (seconds - 0.5) * 25
    indices = [entry["index"] for entry in await page.appended(request_id)]
    assert indices == list(range(len(indices)))
    counters = await page.read("counters")
    assert counters["recoveries"] == counters["skipped"] == counters["retries"] == 0
    assert await page.read("errors") == []


@pytest.mark.parametrize("kind", ["chromium-hls"], indirect=True)
async def test_lists_that_are_never_played_give_way_to_chunks(
    open_page: OpenPage, wire: Wire
) -> None:
    wire.faults = [Fault(r"live.m3u8", status=502)]
    page = await open_page(chunk_duration=CHUNK_S)
    ids = [await page.speak(0.6), await page.speak(0.4)]
    await page.until_spoken(2)
    ended = await page.ended()
    for request_id, seconds in zip(ids, (0.6, 0.4), strict=True):
        assert ended[request_id]["reason"] == "complete"
        assert ended[request_id]["played_s"] == pytest.approx(seconds, abs=0.06)
    assert await page.read("source") == "chunks"
    assert wire.asked[f"/sessions/{page.session_id}/live.m3u8"] == 2
    assert await page.messages("error") == []
