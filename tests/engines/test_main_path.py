"""The main path and its faults, the same in every engine."""

import asyncio
import io

import numpy as np
import numpy.typing as npt
import pytest
from avatar_page import (
    FPS,
    AvatarPage,
    OpenPage,
    assert_painted_in_order,
    assert_played_whole,
)
from drivers import HEIGHT, WIDTH, Setting
from engine_fixtures import EACH_ENGINE
from PIL import Image
from wire import Fault, Wire

pytest_plugins = ["engine_fixtures"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.engines,
    pytest.mark.asyncio(loop_scope="session"),
]

CHUNK_S = 0.64

# Whether all of an utterance before one of its chunks has been played.
IS_DRY_BEFORE = """(id, index) => {
  const { state, current_time, buffered, appends } = musetalkPlayer;
  const isBefore = (entry) => entry.request_id === id && entry.index === index - 1;
  const lead = buffered.at(-1)?.[1] - current_time;
  return state === "buffering" && appends.some(isBefore) && lead < 0.1;
}"""


async def test_a_face_that_moves_speaks_and_goes_on(open_page: OpenPage) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    first = await seen(page)
    shown = await page.read("idle_frame")
    await page.tab.until("(shown) => Math.abs(musetalkPlayer.idle_frame - shown) > 10", shown)
    assert np.abs(await seen(page) - first).mean() > 0.2

    request_id = await page.speak(1.2)
    await page.until_heard(request_id, 0.4)
    await seen(page)
    await page.until_spoken()
    await assert_played_whole(page, request_id, seconds=1.2)
    await assert_loop_goes_on_after(page, request_id)
    # Right behind the loop that has come back, another one.
    request_id = await page.speak(0.6)
    await page.until_spoken(2)
    await assert_played_whole(page, request_id, seconds=0.6)
    assert [each["muted"] for each in await page.messages("speech_started")] == [False] * 2
    await assert_nothing_went_wrong(page)


async def seen(page: AvatarPage) -> npt.NDArray[np.float32]:
    """The brightness of what the viewer sees, `[height, width]`, as soon as there is a picture."""
    async with asyncio.timeout(20):
        while True:
            picture = Image.open(io.BytesIO(await page.tab.screenshot())).convert("L")
            brightness = np.asarray(picture, np.float32)
            if brightness.std() > 10:
                return brightness


async def assert_loop_goes_on_after(page: AvatarPage, request_id: str) -> None:
    """The first pictures of the loop after speech are those that follow its last one."""
    frames, starts = await page.read("frames"), await page.read("starts")
    start = next(each for each in starts if each["request_id"] == request_id)
    last = max(i for i, frame in enumerate(frames) if frame["request_id"] == request_id
               and frame["video"] == "talk")  # fmt: skip
    after = next(frame for frame in frames[last:] if frame["video"] == "idle")
    played_ms = (await page.ended())[request_id]["played_ms"]
    spoken = start["avatar_frame"] + round(played_ms * FPS / 1000)
    length = await page.cycle_length()
    step = (round(after["media_time"] * FPS) - spoken) % length
    # It stands on the last one of speech, or on that before, until it is seen; a busy machine may
    # not tell of the first ones.
    untold = (after["at"] - frames[last]["at"]) / 1000 * FPS
    assert step <= untold + 2 or step >= length - 2, f"it went on {step} frames later"


async def assert_nothing_went_wrong(page: AvatarPage, *but: str) -> None:
    counters = await page.read("counters")
    wrong = {"skipped", "jumps", "retries", "recoveries", "quota_hits"} - set(but)
    assert {name: counters[name] for name in sorted(wrong) if counters[name]} == {}
    assert await page.read("errors") == []


async def test_three_in_one_run_and_an_interruption(open_page: OpenPage, wire: Wire) -> None:
    page = await open_page()
    are_made = asyncio.Event()
    wire.faults = [Fault(r"chunk_0000", times=1, gate=are_made)]
    seconds = [0.9, 0.6, 0.6]
    ids = [await page.speak(each) for each in seconds]
    for request_id in ids:
        await page.until_made(request_id)
    are_made.set()
    await page.until_spoken(3)
    for request_id, each in zip(ids, seconds, strict=True):
        await assert_played_whole(page, request_id, seconds=each)
    painted = [f["request_id"] for f in await page.read("frames") if f["video"] == "talk"]
    assert painted == sorted(painted, key=ids.index)
    # Each begins in the buffer where the one before ends.
    offsets = {each["request_id"]: each["offset"] for each in await page.read("appends")}
    for before, after, length in zip(ids, ids[1:], seconds, strict=False):
        assert offsets[after] == pytest.approx(offsets[before] + length, abs=1 / FPS)

    talking, waiting = [await page.speak(each) for each in (6, 1)]
    await page.until_heard(talking, 0.4)
    is_appended = "(id) => musetalkPlayer.appends.some((entry) => entry.request_id === id)"
    await page.tab.until(is_appended, waiting)
    answer = await page.interrupt()
    assert (answer["request_id"], answer["request_ids"]) == (talking, [talking, waiting])
    await page.until("idle")
    ended = await page.ended()
    assert (ended[waiting]["reason"], ended[waiting]["played_ms"]) == ("interrupted", 0)
    assert ended[talking]["reason"] == "interrupted"
    played_ms = ended[talking]["played_ms"]
    assert 350 <= played_ms < 6000
    assert answer["played_ms"] == played_ms
    assert await page.tab.evaluate("() => part('talk').paused")
    if page.engine_name == "chromium":  # others: see assert_painted_in_order
        assert max(await page.frames(talking)) <= played_ms / 1000 * FPS + 1
    await assert_loop_goes_on_after(page, talking)
    # And it speaks again.
    request_id = await page.speak(0.4)
    await page.until_heard(request_id)
    await page.until("idle")
    await assert_played_whole(page, request_id, seconds=0.4)
    await assert_nothing_went_wrong(page)


@pytest.mark.alone
async def test_chunks_that_fail_or_are_late(open_page: OpenPage, wire: Wire) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    wire.bytes_per_s = 400_000
    wire.faults = [
        Fault(r"chunk_0000", times=1, is_cut=True),
        Fault(r"chunk_0001", times=2, status=502),
        # After the next ones, and when there is nothing left to play.
        Fault(r"chunk_0002", delay_s=1.6),
    ]
    request_id = await page.speak(1.6)
    await page.until_spoken()
    await assert_played_whole(page, request_id, seconds=1.6)
    asked = {path: count for path, count in wire.asked.items() if path.startswith("/chunks/")}
    # Engines themselves ask again for what was cut off, as they may (RFC 9110, 9.2.2).
    assert [asked[path] for path in sorted(asked)][:3] in ([2, 3, 1], [3, 3, 1])
    counters = await page.read("counters")
    assert counters["retries"] in (2, 3)
    assert counters["stalls"] >= 1
    assert "buffering" in [each["state"] for each in await page.messages("state")]
    await assert_nothing_went_wrong(page, "retries")

    # What can't be had at all is left out: one in the middle, and the last one, of which that is
    # known when all before it has been played.
    wire.mend()
    is_made, is_dry = asyncio.Event(), asyncio.Event()
    wire.faults = [Fault(r"chunk_0002", status=404), Fault(r"chunk_", gate=is_made)]
    request_id = await page.speak(2)
    await page.until_made(request_id)
    last = (await page.utterance(request_id))["chunks"] - 1
    wire.faults = [
        Fault(r"chunk_0002", status=404),
        Fault(rf"chunk_{last:04}", times=3, status=404),
        Fault(rf"chunk_{last:04}", gate=is_dry, status=404),
    ]
    is_made.set()
    await page.tab.until(IS_DRY_BEFORE, request_id, last)
    is_dry.set()
    await page.until_spoken(2)
    appended = await page.appended(request_id)
    assert [entry["index"] for entry in appended] == [i for i in range(last) if i != 2]
    await assert_painted_in_order(page, request_id)
    ended = (await page.ended())[request_id]
    played_s = appended[-1]["buffered"][-1][1]
    assert (ended["reason"], ended["played_s"]) == ("complete", pytest.approx(played_s, abs=0.06))
    counters = await page.read("counters")
    assert counters["skipped"] == 2
    assert counters["jumps"] >= 1
    await assert_nothing_went_wrong(page, "skipped", "retries", "jumps")


@EACH_ENGINE
async def test_a_connection_that_is_cut_and_a_session_that_ends(
    open_page: OpenPage, wire: Wire
) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    ids = [await page.speak(1.6)]
    await page.until_heard(ids[0], 0.2)
    wire.is_open = False
    assert wire.cut("/events") == 1
    await page.tab.until("() => appMessages.some((told) => told.connected === false)")
    # What is said meanwhile is heard of when the connection is there again.
    ids.append(await page.speak(0.6))
    wire.is_open = True
    await page.until_spoken(2)
    for each, seconds in zip(ids, (1.6, 0.6), strict=True):
        await assert_played_whole(page, each, seconds=seconds)
    connected = [each["connected"] for each in await page.messages("connection")]
    assert connected == [True, False, True]
    assert (await page.read("counters"))["duplicates"] == 0

    request_id = await page.speak(4)
    await page.until_heard(request_id, 0.2)
    answer = await page.server.client.delete(f"/sessions/{page.session_id}")
    assert answer.status_code == 204
    await page.until("closed")
    await page.tab.until("() => part('talk').paused && !part('over').hidden")
    (closed,) = await page.messages("closed")
    assert closed["reason"] == "deleted"


async def test_a_reload_joins_the_running_speech(open_page: OpenPage) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    request_id = await page.speak(4)
    await page.until_heard(request_id, 0.8)
    await page.load()
    await page.until_spoken()
    frames = await page.frames(request_id)
    assert frames[0] >= 0.5 * FPS
    assert frames[-1] >= 95
    await assert_painted_in_order(page, request_id)
    indices = [entry["index"] for entry in await page.appended(request_id)]
    assert indices == list(range(indices[0], indices[-1] + 1))
    assert (await page.ended())[request_id]["reason"] == "complete"
    await assert_nothing_went_wrong(page)


@EACH_ENGINE
async def test_sound_that_is_blocked_comes_with_a_tap(open_page: OpenPage) -> None:
    page = await open_page(setting=Setting.WANTS_GESTURE)
    request_id = await page.speak(3)
    await page.until_heard(request_id, 0.1)
    assert (await page.messages("speech_started"))[0]["muted"] is True
    assert await page.read("sound_blocked")
    await page.tab.until("() => !part('tap').hidden")
    await page.tab.click(WIDTH // 2, HEIGHT // 2)
    await page.tab.until("() => !part('talk').muted && !part('talk').paused")
    assert not await page.read("sound_blocked")
    assert [each["blocked"] for each in await page.messages("sound")] == [True, False]
    await page.until_heard(request_id, 1)
    await page.interrupt()
    await page.until("idle")
    await assert_painted_in_order(page, request_id)
    # One tap is enough.
    request_id = await page.speak(0.4)
    await page.until_heard(request_id)
    assert [each["muted"] for each in await page.messages("speech_started")] == [True, False]
