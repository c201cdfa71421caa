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
from playwright.async_api import Browser, Response, Route

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "player.md"
FPS = 25

APP = """
window.appMessages = [];
window.ReactNativeWebView = { postMessage: (m) => window.appMessages.push(JSON.parse(m)) };
"""

# Every 128 samples' peak of what is heard, and the instants at which speech was paused (s).
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
  const talk = part('talk');
  const node = new AudioWorkletNode(context, "peaks");
  window.peaks = [];
  window.pauses = [];
  node.port.onmessage = ({ data }) => window.peaks.push(data);
  talk.addEventListener("pause", () => window.pauses.push(context.currentTime));
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


async def assert_silent_since_the_pause(player: PlayerPage, request_id: str) -> None:
    peaks, pauses = await player.page.evaluate("[window.peaks, window.pauses]")
    paused_at_s = pauses[-1]
    assert max(peak for _, peak in peaks) > 0.3, "nothing was heard at all"
    # What was on its way to the loudspeaker when it was muted.
    late = [peak for at, peak in peaks if at > paused_at_s + 0.1]
    assert late, "nobody listened"
    assert max(late) == 0
    played_ms = (await ended(player))[request_id]["played_ms"]
    assert max(await player.frames(request_id)) <= played_ms / 1000 * FPS + 1


async def assert_loop_goes_on_where_speech_stopped(player: PlayerPage, request_id: str) -> None:
    length = await player.page.evaluate(
        "JSON.parse(document.getElementById('config').textContent).session.avatar.cycle_length"
    )
    frames, starts = await player.read("frames"), await player.read("starts")
    last = max(i for i, frame in enumerate(frames) if frame["video"] == "talk")
    after = next(frame for frame in frames[last:] if frame["video"] == "idle")
    played_ms = (await ended(player))[request_id]["played_ms"]
    spoken = starts[-1]["avatar_frame"] + played_ms * FPS // 1000
    step = (round(after["media_time"] * FPS) - spoken) % length
    assert 0 <= step <= 3, f"the loop went on {step} frames after the last one of speech"


@pytest.mark.alone
@pytest.mark.parametrize("heard_s", [0.01, 0.9])
async def test_an_interruption_is_silence_and_the_loop(
    open_player: OpenPlayer, heard_s: float
) -> None:
    player = await open_player(init_script=APP, bypass_csp=True)  # what listens is ours
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
    await assert_silent_since_the_pause(player, request_id)
    await assert_loop_goes_on_where_speech_stopped(player, request_id)

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
    assert (await player.read("counters"))["retries"] == 0


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


@pytest.mark.alone
async def test_three_that_wait_are_heard_as_one(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP, bypass_csp=True)  # what listens is ours
    await player.page.evaluate(LISTEN)
    seconds = [2, 0.6, 1.2]
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
    shown_at = (await player.read("starts"))[0]["shown_at"]
    between = [f for f in painted if shown_at + 300 < f["at"] < last]
    assert {frame["video"] for frame in between} == {"talk"}
    peaks = np.array(await player.page.evaluate("window.peaks"))
    loud = peaks[peaks[:, 1] > 0.05, 0]
    # The loop between them would take longer; how short it is, is for the benchmarks.
    assert np.diff(loud).max() < 0.2
    assert (await player.read("counters"))["stalls"] == 0


@pytest.mark.alone
async def test_an_interruption_ends_all_that_wait(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP, bypass_csp=True)  # what listens is ours
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
    await assert_silent_since_the_pause(player, ids[1])


# `say(event)`: as if the server had said it, at the moment that speech comes to `seconds`.
SAY = """
window.EventSource = class extends EventSource {
  set onmessage(handle) {
    super.onmessage = handle;
    window.say = (event, seconds) => new Promise((resolve) => {
      const look = () => {
        if (part('talk').currentTime < seconds) return void setTimeout(look);
        handle(new MessageEvent("message", { data: JSON.stringify(event) }));
        resolve();
      };
      look();
    });
  }
};
"""


async def two_back_to_back(player: PlayerPage, seconds: float) -> list[str]:
    """Nothing of them is played before both are there, however busy the machine is."""
    both_are_made = asyncio.Event()

    async def hold(route: Route) -> None:
        await both_are_made.wait()
        await route.continue_()

    await player.page.route("**/chunks/**", hold)
    ids = [await player.queue(tone(seconds)) for _ in range(2)]
    for _ in range(200):
        if (await player.utterance(ids[1]))["status"] == "complete":
            break
        await asyncio.sleep(0.05)
    both_are_made.set()
    return ids


async def test_interrupted_where_one_ends_and_the_next_begins(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP + SAY)
    ids = await two_back_to_back(player, 2)
    said = {"event": "interrupted", "epoch": 0, "request_ids": ids}
    await player.page.evaluate("(said) => window.say(said, 2.01)", said)
    await player.until_spoken(2)
    over = await ended(player)
    assert [over[each]["reason"] for each in ids] == ["complete", "interrupted"]
    assert over[ids[0]]["played_ms"] == pytest.approx(2000, abs=1)
    assert over[ids[1]]["played_ms"] < 1000
    assert (await player.read("counters"))["recoveries"] == 0


async def test_cancelled_when_it_was_all_but_over(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP + SAY)
    ids = await two_back_to_back(player, 2)
    said = {"event": "cancelled", "epoch": 0, "request_id": ids[0]}
    await player.page.evaluate("(said) => window.say(said, 1.975)", said)
    await player.until_spoken(2)
    for each in ids:
        await assert_heard_whole(player, each, seconds=2)
    assert (await player.read("counters"))["recoveries"] == 0


async def test_a_report_waits_for_the_server(open_player: OpenPlayer) -> None:
    player = await open_player()
    attempts = 0

    async def away(route: Route) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 5:
            await route.abort()
        else:
            await route.continue_()

    await player.page.route("**/playback", away)

    def is_finished(answer: Response) -> bool:
        return '"finished"' in (answer.request.post_data or "")

    async with player.page.expect_response(is_finished):
        request_id = await player.speak(tone(0.6))
    assert (await player.utterance(request_id))["played_ms"] == 600


async def test_one_is_cancelled_and_the_others_are_heard(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    ids = [await player.queue(tone(each)) for each in (1.6, 1, 0.8)]
    await player.until_heard(ids[0], 0.3)
    await player.cancel(ids[1])
    await player.until_heard(ids[2])
    await player.until("idle")
    await assert_heard_whole(player, ids[0], seconds=1.6)
    over = await ended(player)
    # On a busy machine it is cancelled before the player has heard of it.
    cancelled = over.get(ids[1], {"reason": "cancelled", "played_ms": 0})
    assert (cancelled["reason"], cancelled["played_ms"]) == ("cancelled", 0)
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
    ids = [await player.queue(tone(each)) for each in (1, 2, 9)]
    await player.until_heard(ids[1], 0.1)
    async with await browser.new_context() as context:
        late = PlayerPage(await context.new_page(), player.api, player.session)
        await asyncio.gather(player.page.reload(), late.page.goto(player.page.url))
        await asyncio.gather(*(each.until_heard(ids[2], 0.2) for each in (player, late)))
        await player.interrupt()
        await asyncio.gather(*(assert_joined(each, ids) for each in (player, late)))
    assert late.page_errors == []


async def assert_joined(player: PlayerPage, ids: list[str]) -> None:
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
        """() => { const talk = part('talk');
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
                    {"target": "musetalk-player", "type": "applaud"},
                    {"target": "musetalk-player", "type": "__proto__"}):  # fmt: skip
        await player.page.evaluate("(command) => window.postMessage(command, '*')", ignored)
    await player.until_heard(request_id, 0.6)
    command = '{"target": "musetalk-player", "type": "interrupt"}'
    await player.page.evaluate("(command) => window.postMessage(command, '*')", command)
    await player.until("idle")
    assert (await ended(player))[request_id]["reason"] == "interrupted"

    await player.page.route("**/interrupt", lambda route: route.fulfill(status=502))
    await player.page.evaluate("(command) => window.postMessage(command, '*')", command)
    await player.page.wait_for_selector("#error:not([hidden])")
    messages = await player.page.evaluate("window.appMessages")
    assert [m["code"] for m in messages if m["type"] == "error"] == ["interrupt_failed"]


async def test_commands_are_those_of_the_document(open_player: OpenPlayer) -> None:
    player = await open_player()
    declared = await player.page.evaluate(
        "async () => (await import('/client/player/commands.js')).COMMANDS"
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


async def test_a_page_opened_while_the_first_is_still_silent(
    open_player: OpenPlayer, api: httpx.AsyncClient
) -> None:
    player = await open_player()
    is_open = asyncio.Event()

    async def talk() -> AsyncIterator[bytes]:
        sound = tone(1)[44:]
        yield sound[:1]  # begun, and nothing to be heard yet
        await is_open.wait()
        yield sound[1:]

    headers = {"Content-Type": f"audio/L16;rate={RATE}"}
    url = player.session["audio_url"]
    sending = asyncio.create_task(api.post(url, content=talk(), headers=headers))
    for _ in range(100):
        if (await api.get(player.session["utterances_url"])).json()["utterances"]:
            break
        await asyncio.sleep(0.05)
    second = await player.queue(tone(0.6))
    await player.page.reload()
    await player.until("idle")
    is_open.set()
    first = (await sending).json()["request_id"]
    await player.until_spoken(2)
    order = [f["request_id"] for f in await player.read("frames") if f["video"] == "talk"]
    assert set(order) == {first, second}
    assert order == sorted(order, key=[first, second].index)
