"""Speech where there is no MediaSource: a playlist where the engine plays one, else its chunks."""

import pytest
from avatar_page import OpenPage

pytest_plugins = ["engine_fixtures"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.engines,
    pytest.mark.asyncio(loop_scope="session"),
]

NO_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource;"
NO_PLAYLISTS = """
const { canPlayType } = HTMLMediaElement.prototype;
HTMLMediaElement.prototype.canPlayType = function (type) {
  return /mpegurl/i.test(type) ? "" : canPlayType.call(this, type);
};
"""


@pytest.mark.parametrize(
    ("kind", "script", "way"),
    [
        pytest.param("chromium", "", "hls", id="chromium-hls"),
        pytest.param("chromium", NO_PLAYLISTS, "chunks", id="chromium-chunks"),
        pytest.param("firefox", "", "chunks", id="firefox-chunks"),
        pytest.param("webkit", "", "chunks", id="webkit-chunks"),
    ],
    indirect=["kind"],
)
async def test_speech_without_media_source(open_page: OpenPage, script: str, way: str) -> None:
    page = await open_page(script=NO_MEDIA_SOURCE + script, chunk_duration=0.64)
    request_id = await page.speak(1.6)
    await page.until_spoken(within_s=30)
    ended = (await page.ended())[request_id]
    assert (ended["reason"], ended["played_s"]) == ("complete", pytest.approx(1.6, abs=0.1))
    assert await page.read("source") == way
    # Which of its pictures were painted is not asserted: told of one, an engine may already be in
    # the next chunk, whose pictures are counted from its own beginning.
    assert await page.frames(request_id)
    indices = [entry["index"] for entry in await page.appended(request_id)]
    assert indices == list(range(len(indices)))
    asked = page.wire.asked[f"/sessions/{page.session_id}/live.m3u8"]
    assert (asked > 0) == (way == "hls")

    request_id = await page.speak(4)
    await page.until_heard(request_id, 0.3)
    answer = await page.interrupt()
    assert answer["request_id"] == request_id
    await page.until("idle")
    ended = (await page.ended())[request_id]
    assert ended["reason"] == "interrupted"
    assert ended["played_ms"] < 4000
    assert await page.read("errors") == []
