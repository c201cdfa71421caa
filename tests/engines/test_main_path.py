"""The main path and its faults, the same in every engine."""

import io
from itertools import pairwise

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
from PIL import Image
from wire import Fault, Wire

pytest_plugins = ["engine_fixtures"]
pytestmark = [pytest.mark.engines, pytest.mark.asyncio(loop_scope="session")]

CHUNK_S = 0.64


def picture(png: bytes) -> npt.NDArray[np.float32]:
    """The brightness of what is seen, `[height, width]`."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.float32)


async def test_the_face_is_there_and_moves(open_page: OpenPage) -> None:
    page = await open_page()
    first = picture(await page.tab.screenshot())
    assert first.std() > 10
    shown = await page.read("idle_frame")
    await page.tab.until("(shown) => Math.abs(musetalkPlayer.idle_frame - shown) > 10", shown)
    assert np.abs(picture(await page.tab.screenshot()) - first).mean() > 0.2


async def test_speech_is_played_once_and_in_order(open_page: OpenPage) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    request_id = await page.speak(1.6)
    await page.until_heard(request_id, 0.5)
    spoken = picture(await page.tab.screenshot())
    assert spoken.std() > 10
    await page.until_spoken()
    await assert_played_whole(page, request_id, seconds=1.6)
    await assert_loop_goes_on_after(page, request_id)
    assert (await page.messages("speech_started"))[0]["muted"] is False
    # Right behind the loop that has come back, another one.
    request_id = await page.speak(0.6)
    await page.until_spoken(2)
    await assert_played_whole(page, request_id, seconds=0.6)
    await assert_nothing_went_wrong(page)


async def assert_loop_goes_on_after(page: AvatarPage, request_id: str) -> None:
    """The first pictures of the loop after speech are those that follow its last one."""
    frames, starts = await page.read("frames"), await page.read("starts")
    start = next(each for each in starts if each["request_id"] == request_id)
    last = max(i for i, frame in enumerate(frames) if frame["request_id"] == request_id
               and frame["video"] == "talk")  # fmt: skip
    after = next(frame for frame in frames[last:] if frame["video"] == "idle")
    played_ms = (await page.ended())[request_id]["played_ms"]
    length = await page.cycle_length()
    spoken = start["avatar_frame"] + round(played_ms * FPS / 1000)
    step = (round(after["media_time"] * FPS) - spoken) % length
    # It may have painted the one before, when it was placed there.
    assert step <= 3 or step == length - 1, f"the loop went on {step} frames after speech"


async def assert_nothing_went_wrong(page: AvatarPage, *but: str) -> None:
    counters = await page.read("counters")
    wrong = {"skipped", "jumps", "stalls", "retries", "recoveries", "quota_hits"} - set(but)
    assert {name: counters[name] for name in sorted(wrong) if counters[name]} == {}
    assert await page.read("errors") == []


async def test_three_that_wait_are_one_run_of_speech(open_page: OpenPage) -> None:
    page = await open_page()
    seconds = [1.2, 0.6, 0.8]
    ids = [await page.speak(each) for each in seconds]
    await page.until_spoken(3)
    for request_id, each in zip(ids, seconds, strict=True):
        await assert_played_whole(page, request_id, seconds=each)
    # One buffer without a hole, each where the one before ends.
    appends = await page.read("appends")
    assert appends[-1]["buffered"] == [[0, pytest.approx(sum(seconds), abs=1 / FPS)]]
    painted = [f["request_id"] for f in await page.read("frames") if f["video"] == "talk"]
    assert painted == sorted(painted, key=ids.index)
    assert len(await page.messages("speech_started")) == 3
    await assert_nothing_went_wrong(page)


async def test_an_interruption_ends_all_that_waits(open_page: OpenPage) -> None:
    page = await open_page()
    ids = [await page.speak(each) for each in (4, 2)]
    await page.until_heard(ids[0], 0.4)
    answer = await page.interrupt()
    assert (answer["request_id"], answer["request_ids"]) == (ids[0], ids)
    await page.until("idle")
    ended = await page.ended()
    # On a busy machine the player has not heard of the second one yet.
    waited = ended.pop(ids[1], {"reason": "interrupted", "played_ms": 0})
    assert (waited["reason"], waited["played_ms"]) == ("interrupted", 0)
    assert ended[ids[0]]["reason"] == "interrupted"
    played_ms = ended[ids[0]]["played_ms"]
    assert 350 <= played_ms < 4000
    assert answer["played_ms"] == played_ms
    assert await page.tab.evaluate("() => part('talk').paused")
    assert max(await page.frames(ids[0])) <= played_ms / 1000 * FPS + 1
    await assert_loop_goes_on_after(page, ids[0])
    # And it speaks again.
    request_id = await page.speak(0.6)
    await page.until_heard(request_id)
    await page.until("idle")
    await assert_played_whole(page, request_id, seconds=0.6)


async def test_chunks_that_fail_at_first(open_page: OpenPage, wire: Wire) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    wire.faults = [
        Fault(r"chunk_0000", times=1, is_cut=True),
        Fault(r"chunk_0001", times=2, status=502),
        Fault(r"chunk_0002", times=1, delay_s=0.8),
    ]
    request_id = await page.speak(2)
    await page.until_spoken()
    await assert_played_whole(page, request_id, seconds=2)
    counters = await page.read("counters")
    # An engine may itself ask again for what was cut off (RFC 9110, 9.2.2): Firefox does.
    asked = [wire.asked[path] for path in sorted(wire.asked) if path.startswith("/chunks/")]
    assert asked[:3] == [2, 3, 1]
    assert counters["retries"] in (2, 3)
    await assert_nothing_went_wrong(page, "retries", "stalls")


async def test_a_chunk_that_can_not_be_had_is_left_out(open_page: OpenPage, wire: Wire) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    wire.faults = [Fault(r"chunk_0002", status=404)]
    request_id = await page.speak(2.4)
    await page.until_spoken()
    indices = [entry["index"] for entry in await page.appended(request_id)]
    assert indices == [index for index in range(indices[-1] + 1) if index != 2]
    await assert_painted_in_order(page, request_id)
    ended = (await page.ended())[request_id]
    assert (ended["reason"], ended["played_s"]) == ("complete", pytest.approx(2.4, abs=0.06))
    counters = await page.read("counters")
    assert (counters["skipped"], counters["retries"]) == (1, 3)
    assert counters["jumps"] >= 1
    await assert_nothing_went_wrong(page, "skipped", "retries", "jumps", "stalls")


async def test_the_event_stream_is_cut_and_goes_on(open_page: OpenPage, wire: Wire) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    request_id = await page.speak(2.4)
    await page.until_heard(request_id, 0.2)
    assert wire.cut("/events") == 1
    # What is said meanwhile is heard of when the connection is there again.
    wire.is_open = False
    await page.tab.until("() => appMessages.at(-1).connected === false"
                         " || appMessages.some((m) => m.connected === false)")  # fmt: skip
    second = await page.speak(0.6)
    wire.is_open = True
    await page.until_spoken(2)
    for each, seconds in ((request_id, 2.4), (second, 0.6)):
        await assert_played_whole(page, each, seconds=seconds)
    connected = [each["connected"] for each in await page.messages("connection")]
    assert connected == [True, False, True]
    assert (await page.read("counters"))["duplicates"] == 0


async def test_a_slow_network_only_takes_time(open_page: OpenPage, wire: Wire) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    # The second chunk comes after the third, when there is nothing left to play.
    wire.faults = [Fault(r"chunk_0001", delay_s=1.4), Fault(r"/chunks/", delay_s=0.1)]
    wire.bytes_per_s = 300_000
    request_id = await page.speak(2)
    await page.until_spoken()
    await assert_played_whole(page, request_id, seconds=2)
    assert (await page.read("counters"))["stalls"] >= 1
    assert "buffering" in [each["state"] for each in await page.messages("state")]
    await assert_nothing_went_wrong(page, "stalls", "nudges")


async def test_a_reload_joins_the_running_speech(open_page: OpenPage) -> None:
    page = await open_page(chunk_duration=CHUNK_S)
    request_id = await page.speak(4)
    await page.until_heard(request_id, 0.8)
    await page.load()
    await page.until_spoken()
    frames = await page.frames(request_id)
    assert frames[0] >= 0.6 * FPS
    assert all(later > earlier for earlier, later in pairwise(frames))
    assert frames[-1] >= 95
    indices = [entry["index"] for entry in await page.appended(request_id)]
    assert indices == list(range(indices[0], indices[-1] + 1))
    assert (await page.ended())[request_id]["reason"] == "complete"
    await assert_nothing_went_wrong(page, "stalls")


async def test_a_deleted_session_falls_silent(open_page: OpenPage) -> None:
    page = await open_page()
    request_id = await page.speak(4)
    await page.until_heard(request_id, 0.2)
    answer = await page.server.client.delete(f"/sessions/{page.session_id}")
    assert answer.status_code == 204
    await page.until("closed")
    await page.tab.until("() => part('talk').paused && !part('over').hidden")
    (closed,) = await page.messages("closed")
    assert closed["reason"] == "deleted"


async def test_sound_that_is_blocked_comes_with_a_tap(open_page: OpenPage) -> None:
    page = await open_page(wants_gesture=True)
    request_id = await page.speak(3)
    await page.until_heard(request_id, 0.1)
    assert (await page.messages("speech_started"))[0]["muted"] is True
    assert await page.read("sound_blocked")
    await page.tab.until("() => !part('tap').hidden")
    await page.tab.click(240, 240)
    await page.tab.until("() => !part('talk').muted && !part('talk').paused")
    assert not await page.read("sound_blocked")
    assert [each["blocked"] for each in await page.messages("sound")] == [True, False]
    await page.until_spoken()
    await assert_painted_in_order(page, request_id)
    # One tap is enough.
    await page.speak(0.6)
    await page.until_spoken(2)
    assert [each["muted"] for each in await page.messages("speech_started")] == [True, False]
