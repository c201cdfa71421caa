"""At the speed of conversation: interrupted at any moment, one utterance right behind the other."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import OpenPlayer
from player_driver import RATE, PlayerPage, tone
from playwright.async_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "player.md"
FPS = 25

APP = """
window.appMessages = [];
window.ReactNativeWebView = { postMessage: (m) => window.appMessages.push(JSON.parse(m)) };
"""

# Every 128 samples' peak of what is heard, and the instants at which speech was paused.
LISTEN = """async () => {
  const code = `registerProcessor("peaks", class extends AudioWorkletProcessor {
    process([[channel]]) {
      const peak = channel ? channel.reduce((max, x) => Math.max(max, Math.abs(x)), 0) : 0;
      this.port.postMessage([currentTime, peak]);
      return true;
    }
  });`;
  const context = new AudioContext({ sampleRate: 48000 });
  const module = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  const talk = document.getElementById("talk");
  const node = new AudioWorkletNode(context, "peaks");
  window.peaks = [];
  window.pauses = [];
  node.port.onmessage = ({ data }) => window.peaks.push(data);
  talk.addEventListener("pause", () => {
    window.pauses.push([performance.now(), context.currentTime]);
  });
  context.createMediaElementSource(talk).connect(node).connect(context.destination);
}"""


async def ended(player: PlayerPage) -> dict[str, dict[str, Any]]:
    """What the app was told of the utterances that are over."""
    messages = await player.page.evaluate("window.appMessages")
    return {m["request_id"]: m for m in messages if m["type"] == "speech_ended"}


async def assert_heard_whole(player: PlayerPage, request_id: str, *, seconds: float) -> None:
    """Every chunk once, in order, without a hole; how many pictures of it are painted is the
    machine's matter."""
    message = (await ended(player))[request_id]
    assert message["reason"] == "complete"
    assert message["played_s"] == pytest.approx(seconds, abs=0.05)
    appended = await player.appended(request_id)
    assert [entry["index"] for entry in appended] == list(range(len(appended)))
    assert [len(entry["buffered"]) for entry in appended] == [1] * len(appended)
    frames = await player.frames(request_id)
    assert frames == sorted(set(frames)), "a frame was repeated or out of order"


async def assert_silent_since_the_pause(player: PlayerPage) -> None:
    peaks, pauses = await player.page.evaluate("[window.peaks, window.pauses]")
    paused_at, paused_at_s = pauses[-1]
    assert max(peak for _, peak in peaks) > 0.3, "nothing was heard at all"
    # What was on its way to the loudspeaker when it was muted.
    late = [peak for at, peak in peaks if at > paused_at_s + 0.1]
    assert late, "nobody listened"
    assert max(late) == 0
    frames = await player.read("frames")
    speech = [frame for frame in frames if frame["video"] == "talk"]
    assert [frame for frame in speech if frame["at"] > paused_at + 100] == []


async def assert_loop_goes_on_where_speech_stopped(player: PlayerPage) -> None:
    length = await player.page.evaluate(
        "JSON.parse(document.getElementById('config').textContent).avatar.cycle_length"
    )
    frames, starts = await player.read("frames"), await player.read("starts")
    last = max(i for i, frame in enumerate(frames) if frame["video"] == "talk")
    after = next(frame for frame in frames[last:] if frame["video"] == "idle")
    spoken = starts[-1]["avatar_frame"] + round(frames[last]["media_time"] * FPS)
    step = (round(after["media_time"] * FPS) - spoken) % length
    assert 0 <= step <= 3, f"the loop went on {step} frames after the last one of speech"


@pytest.mark.parametrize("heard_s", [0.01, 0.7, 1.4])
async def test_an_interruption_is_silence_and_the_loop(
    open_player: OpenPlayer, heard_s: float
) -> None:
    player = await open_player(init_script=APP)
    await player.page.evaluate(LISTEN)
    request_id = await player.speak(tone(4))
    await player.until_heard(request_id, heard_s)
    answer = await player.interrupt()
    assert (answer["interrupted"], answer["request_id"]) == (True, request_id)
    await player.until("idle")
    await asyncio.sleep(0.3)
    message = (await ended(player))[request_id]
    assert message["reason"] == "interrupted"
    assert heard_s * 1000 - 50 <= message["played_ms"] < 4000
    assert answer["played_ms"] == message["played_ms"]
    assert (await player.utterance(request_id))["played_ms"] == message["played_ms"]
    await assert_silent_since_the_pause(player)
    await assert_loop_goes_on_where_speech_stopped(player)

    # And it speaks again, as loud as ever.
    await player.page.evaluate("() => { window.peaks.length = 0; }")
    request_id = await player.speak(tone(0.6))
    await player.until_spoken(2)
    await assert_heard_whole(player, request_id, seconds=0.6)
    peaks = await player.page.evaluate("window.peaks")
    assert max(peak for _, peak in peaks) > 0.45


async def test_interrupted_before_it_is_seen(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    for _ in range(3):
        await player.speak(tone(2))
        await player.interrupt()
    await player.until("idle")
    request_id = await player.speak(tone(0.6))
    await player.until_heard(request_id)
    await player.until("idle")
    await assert_heard_whole(player, request_id, seconds=0.6)
    shown = {frame["request_id"] for frame in await player.read("frames")
             if frame["video"] == "talk"}  # fmt: skip
    assert shown == {request_id}


async def test_replaced_in_mid_speech(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    first = await player.speak(tone(4))
    await player.until_heard(first, 0.5)
    second = await player.speak(tone(1), on_busy="replace")
    await player.until_heard(second)
    await player.until("idle")
    await assert_heard_whole(player, second, seconds=1)
    over = await ended(player)
    assert (over[first]["reason"], over[second]["reason"]) == ("interrupted", "complete")
    order = [f["request_id"] for f in await player.read("frames") if f["video"] == "talk"]
    assert order == sorted(order, key=[first, second].index)


async def test_three_that_wait_are_heard_as_one(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    await player.page.evaluate(LISTEN)
    seconds = [1.6, 0.6, 1.2]
    ids = [await player.queue(tone(each)) for each in seconds]
    await player.until_spoken(3)
    for request_id, each in zip(ids, seconds, strict=True):
        await assert_heard_whole(player, request_id, seconds=each)
        utterance = await player.utterance(request_id)
        assert utterance["played_ms"] == pytest.approx(each * 1000, abs=40)
    # One buffer without a hole, no loop between them, and sound all the time.
    appends = await player.read("appends")
    assert appends[-1]["buffered"] == [[0, pytest.approx(sum(seconds), abs=0.04)]]
    painted = await player.read("frames")
    speech = [frame for frame in painted if frame["video"] == "talk"]
    order = [frame["request_id"] for frame in speech]
    assert order == sorted(order, key=ids.index)
    # Half a second before the end, the loop is got ready below.
    last = next(frame["at"] for frame in speech[::-1] if frame["media_time"] < 0.6)
    between = [f for f in painted if speech[0]["at"] + 200 < f["at"] < last]
    assert {frame["video"] for frame in between} == {"talk"}
    peaks = np.array(await player.page.evaluate("window.peaks"))
    loud = peaks[peaks[:, 1] > 0.05, 0]
    assert np.diff(loud).max() < 0.04
    assert (await player.read("counters"))["stalls"] == 0


async def test_an_interruption_ends_all_that_wait(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    await player.page.evaluate(LISTEN)
    ids = [await player.queue(tone(each)) for each in (1.2, 1.2, 2)]
    await player.until_heard(ids[1], 0.2)
    answer = await player.interrupt()
    assert answer["request_ids"] == ids[1:]
    assert answer["request_id"] == ids[1]
    await player.until_spoken(3)
    await asyncio.sleep(0.3)
    over = await ended(player)
    assert [over[each]["reason"] for each in ids] == ["complete", "interrupted", "interrupted"]
    assert 150 <= over[ids[1]]["played_ms"] < 1000
    assert over[ids[2]]["played_ms"] == 0
    await assert_silent_since_the_pause(player)


async def test_one_is_cancelled_and_the_others_are_heard(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    ids = [await player.queue(tone(each)) for each in (1.6, 1, 0.8)]
    await player.until_heard(ids[0], 0.3)
    await player.cancel(ids[1])
    await player.until_heard(ids[2])
    await player.until("idle")
    await assert_heard_whole(player, ids[0], seconds=1.6)
    over = await ended(player)
    assert (over[ids[1]]["reason"], over[ids[1]]["played_ms"]) == ("cancelled", 0)
    assert over[ids[2]]["reason"] == "complete"
    assert over[ids[2]]["played_s"] == pytest.approx(0.8, abs=0.05)
    assert (await player.read("counters"))["recoveries"] == 0
    shown = {f["request_id"] for f in await player.read("frames") if f["video"] == "talk"}
    assert shown == {ids[0], ids[2]}


async def test_the_one_that_is_heard_is_cancelled(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    ids = [await player.queue(tone(each)) for each in (2, 0.8)]
    await player.until_heard(ids[0], 0.4)
    await player.cancel(ids[0])
    await player.until_heard(ids[1])
    await player.until("idle")
    over = await ended(player)
    assert [over[each]["reason"] for each in ids] == ["cancelled", "complete"]
    assert 350 <= over[ids[0]]["played_ms"] < 2000
    assert over[ids[1]]["played_s"] == pytest.approx(0.8, abs=0.05)


async def test_a_reload_in_a_queue_and_a_second_viewer(
    open_player: OpenPlayer, browser: Browser
) -> None:
    player = await open_player()
    ids = [await player.queue(tone(each)) for each in (1, 2, 1)]
    await player.until_heard(ids[1], 0.1)
    async with await browser.new_context() as context:
        late = PlayerPage(await context.new_page(), player.api, player.session)
        await asyncio.gather(player.page.reload(), late.page.goto(player.page.url))
        await asyncio.gather(*(assert_joined(each, ids) for each in (player, late)))
    assert late.page_errors == []


async def assert_joined(player: PlayerPage, ids: list[str]) -> None:
    await player.until_heard(ids[2])
    await player.until("idle")
    order = [f["request_id"] for f in await player.read("frames") if f["video"] == "talk"]
    # A page that is slow to load misses the second one, but never goes back.
    assert ids[2] in order
    assert ids[0] not in order
    assert order == sorted(order, key=ids.index)
    last = await player.frames(ids[2])
    assert last == sorted(set(last))
    counters = await player.read("counters")
    assert counters["skipped"] == counters["jumps"] == counters["recoveries"] == 0


async def test_a_player_that_is_taken_away_in_a_queue(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    ids = [await player.queue(tone(each)) for each in (1, 2, 0.8)]
    await player.until_heard(ids[1], 0.5)
    await player.page.evaluate(
        """() => { const talk = document.getElementById("talk");
                   talk.removeAttribute("src"); talk.load(); }"""
    )
    await player.until_heard(ids[2])
    await player.until("idle")
    over = await ended(player)
    assert [over[each]["reason"] for each in ids] == ["complete"] * 3
    assert over[ids[1]]["played_s"] == pytest.approx(2, abs=0.05)
    frames = await player.frames(ids[1])
    # It goes on where it was, not where it began.
    assert all(later - earlier > -15 for earlier, later in pairwise(frames))
    counters = await player.read("counters")
    assert (counters["recoveries"], counters["utterances"]) == (1, 3)


async def test_an_app_interrupts_without_http(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    request_id = await player.speak(tone(3))
    await player.until_heard(request_id, 0.2)
    for ignored in ({"target": "another", "type": "interrupt"}, "no JSON",
                    {"target": "musetalk-player", "type": "applaud"}):  # fmt: skip
        await player.page.evaluate("(command) => window.postMessage(command, '*')", ignored)
    await player.until_heard(request_id, 0.6)
    command = '{"target": "musetalk-player", "type": "interrupt"}'
    await player.page.evaluate("(command) => window.postMessage(command, '*')", command)
    await player.until("idle")
    assert (await ended(player))[request_id]["reason"] == "interrupted"


async def test_commands_are_those_of_the_document(open_player: OpenPlayer) -> None:
    player = await open_player()
    declared = await player.page.evaluate(
        "async () => (await import('/static/commands.js')).COMMANDS"
    )
    table = DOCUMENT.read_text().split("## Commands")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", table, re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", fields) for name, fields in rows} == declared


async def test_speech_that_arrives_as_it_is_spoken(
    open_player: OpenPlayer, api: httpx.AsyncClient
) -> None:
    player = await open_player(init_script=APP)

    async def talk() -> AsyncIterator[bytes]:
        sound = tone(2)[44:]
        for start in range(0, len(sound), RATE // 5):  # 0.1 s
            yield sound[start : start + RATE // 5]
            await asyncio.sleep(0.095)

    headers = {"Content-Type": f"audio/L16;rate={RATE}"}
    answer = await api.post(player.session["audio_url"], content=talk(), headers=headers)
    assert answer.status_code == 202, answer.text
    request_id = answer.json()["request_id"]
    # All of it has been sent, and most of it was heard meanwhile.
    assert (await player.read("starts"))[0]["request_id"] == request_id
    await player.until_spoken()
    message = (await ended(player))[request_id]
    assert message["reason"] == "complete"
    assert message["played_s"] == pytest.approx(2, abs=0.2)
    steps = [b - a for a, b in pairwise(await player.frames(request_id))]
    assert min(steps) >= 1
    entry = (await player.appended(request_id))[-1]
    assert len(entry["buffered"]) == 1
