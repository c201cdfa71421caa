"""What the viewer is told, and the app around the player."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from conftest import OpenPlayer
from player_driver import assert_played_once_in_order, tone

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "player.md"

# Lets a test say what the server could have said.
INJECT = """
window.EventSource = class extends EventSource {
  constructor(...args) {
    super(...args);
    window.inject = (event) => this.dispatchEvent(
      new MessageEvent("message", { data: JSON.stringify(event), lastEventId: "" }));
  }
};
"""
APP = """
window.appMessages = [];
window.ReactNativeWebView = { postMessage: (m) => window.appMessages.push(JSON.parse(m)) };
"""


async def test_an_error_event_is_shown_and_what_was_delivered_plays(
    open_player: OpenPlayer,
) -> None:
    player = await open_player(init_script=INJECT + APP)
    request_id = await player.speak(tone(1.2))
    await player.until_playing(0.2)
    event = {
        "event": "error",
        "code": "storage_full",
        "message": "The disk is full.",
        "request_id": request_id,
    }
    await player.page.evaluate("(event) => window.inject(event)", event)
    error = player.page.locator("#error")
    assert await error.get_attribute("role") == "alert"
    assert "The disk is full." in await error.inner_text()
    await player.until_spoken()
    await player.page.click("#error-retry")
    assert not await error.is_visible()
    messages = await player.page.evaluate("window.appMessages")
    ended = next(message for message in messages if message["type"] == "speech_ended")
    assert ended["reason"] == "error"
    assert ended["played_s"] > 0.3
    shown = next(message for message in messages if message["type"] == "error")
    assert (shown["code"], shown["retryable"]) == ("storage_full", True)
    assert messages[-1]["type"] == "retry"
    assert messages[-1]["request_id"] == request_id

    request_id = await player.speak(tone(0.6))
    await player.until_spoken(2)
    await assert_played_once_in_order(player, request_id, seconds=0.6)


async def test_events_that_it_does_not_know_are_ignored(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=INJECT)
    for event in (
        {"event": "progress", "request_id": "another"},
        {"event": "complete", "request_id": "another", "total_chunks": 3},
        {"event": "applause"},
        {},
    ):
        await player.page.evaluate("(event) => window.inject(event)", event)
    assert await player.read("state") == "idle"
    request_id = await player.speak(tone(0.6))
    await player.until_spoken()
    await assert_played_once_in_order(player, request_id, seconds=0.6)


async def test_an_utterance_that_the_server_lost_is_over(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=INJECT + APP)
    lost = {"event": "state", "state": "speaking", "request_id": "lost", "position": 1}
    await player.page.evaluate("(event) => window.inject(event)", lost)
    await player.until("preparing")
    forgotten = {"event": "state", "state": "idle", "request_id": None, "position": None}
    await player.page.evaluate("(event) => window.inject(event)", forgotten)
    await player.until("idle")
    messages = await player.page.evaluate("window.appMessages")
    ended = next(message for message in messages if message["type"] == "speech_ended")
    assert (ended["request_id"], ended["reason"]) == ("lost", "empty")
    request_id = await player.speak(tone(0.6))
    await player.until_spoken(2)
    await assert_played_once_in_order(player, request_id, seconds=0.6)


NO_SOURCE_ONCE = """
() => {
  const { createObjectURL } = URL;
  URL.createObjectURL = () => {
    URL.createObjectURL = createObjectURL;
    throw new Error("not now");
  };
}
"""


async def test_a_failure_between_two_utterances_ends_none(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    await player.speak(tone(1))
    await player.until_playing(0.2)
    await player.page.evaluate(NO_SOURCE_ONCE)
    await player.until_spoken()
    assert await player.read("errors") == ["Error: not now"]
    request_id = await player.speak(tone(0.6))
    await player.until_spoken(2)
    await assert_played_once_in_order(player, request_id, seconds=0.6)
    messages = await player.page.evaluate("window.appMessages")
    reasons = [message["reason"] for message in messages if message["type"] == "speech_ended"]
    assert reasons == ["complete", "complete"]


async def test_what_no_utterance_caused_is_not_to_be_said_again(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=INJECT + APP)
    event = {"event": "error", "code": "internal_error", "message": "something failed"}
    await player.page.evaluate("(event) => window.inject(event)", event)
    assert await player.page.inner_text("#error-text") == "Something failed."
    assert not await player.page.is_visible("#error-retry")
    messages = await player.page.evaluate("window.appMessages")
    (error,) = [message for message in messages if message["type"] == "error"]
    assert (error["retryable"], error["request_id"]) == (False, None)


async def test_a_browser_that_can_not_play_speech_is_told_so(open_player: OpenPlayer) -> None:
    old = """delete window.MediaSource; delete window.ManagedMediaSource;
        HTMLMediaElement.prototype.canPlayType = () => "";"""
    player = await open_player(init_script=old + APP, wait=False)
    await player.until("unsupported")
    await player.page.wait_for_selector("#error:not([hidden])")
    assert not await player.page.is_visible("#error-retry")
    messages = await player.page.evaluate("window.appMessages")
    assert [message["type"] for message in messages] == ["state", "error"]
    assert (messages[1]["code"], messages[1]["retryable"]) == ("unsupported_browser", False)


NOTHING_PAINTED = """
HTMLVideoElement.prototype.requestVideoFrameCallback = () => 0;
const { setTimeout: later } = window;
window.setTimeout = (act, ms, ...rest) => later(act, ms === 10_000 ? 100 : ms, ...rest);
"""


async def test_a_face_that_is_never_painted_is_reported(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=NOTHING_PAINTED + APP, wait=False)
    await player.page.wait_for_selector("#error:not([hidden])")
    messages = await player.page.evaluate("window.appMessages")
    assert "ready" not in {message["type"] for message in messages}
    error = next(message for message in messages if message["type"] == "error")
    assert (error["code"], error["retryable"]) == ("placeholder_failed", False)
    assert await player.page.is_visible("#error-retry")  # which loads the page again


async def test_a_cancelled_utterance_stops_at_once(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=INJECT)
    request_id = await player.speak(tone(4))
    await player.until_playing(0.5)
    event = {"event": "cancelled", "request_id": request_id}
    await player.page.evaluate("(event) => window.inject(event)", event)
    await player.until("idle", timeout_s=1.5)
    assert await player.page.evaluate("part('talk').paused")


async def test_a_deleted_session_says_so(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    await player.speak(tone(3))
    await player.until_playing(0.2)
    await player.delete()
    over = player.page.locator("#over")
    await over.wait_for(state="visible")
    assert "closed" in await over.inner_text()
    assert await player.read("state") == "closed"
    await holds(player.page, "part('talk').paused")
    messages = await player.page.evaluate("window.appMessages")
    assert {"type": "closed", "reason": "deleted"}.items() <= next(
        message for message in messages if message["type"] == "closed"
    ).items()

    assert not await player.page.is_visible("#over-reload")
    assert not await player.page.is_visible("#over-new")  # that is for the app

    await player.page.reload()
    await player.page.wait_for_selector("h1")
    messages = await player.page.evaluate("window.appMessages")
    closed = {"source": "musetalk-player", "type": "closed", "reason": "gone"}
    assert messages == [{**closed, "session_id": player.session_id}]
    assert not await player.page.get_by_role("link", name="Start a new session").is_visible()


async def test_a_deleted_session_alone_offers_a_new_one(open_player: OpenPlayer) -> None:
    player = await open_player()
    await player.delete()
    await player.page.locator("#over").wait_for(state="visible")
    assert not await player.page.is_visible("#over-reload")
    focused = await player.page.evaluate("part('over').getRootNode().activeElement.textContent")
    assert focused == "Start a new one"
    await player.page.reload()
    await player.page.get_by_role("link", name="Start a new session").click()
    await player.page.wait_for_url(re.compile(r"^http://[^/]+/$"))


async def test_it_looks_the_same_where_sheets_can_not_be_made(open_player: OpenPlayer) -> None:
    """Safari before 16.4."""
    player = await open_player(
        init_script="delete ShadowRoot.prototype.adoptedStyleSheets;",
        settings={},
    )
    await player.page.wait_for_selector("#idle.shown")
    styles = "(name) => getComputedStyle(part('idle'))[name]"
    assert await player.page.evaluate(styles, "position") == "absolute"
    assert await player.page.evaluate("part('player').getRootNode().styleSheets.length") == 1


async def test_messages_are_those_of_the_document(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    await player.speak(tone(0.6))
    await player.until_spoken()
    await asyncio.sleep(0.1)
    declared = await player.page.evaluate(
        "async () => (await import('/client/player/bridge.js')).MESSAGES"
    )
    table = DOCUMENT.read_text().split("## Messages")[1].split("\n## ")[0]
    documented = {
        name: re.findall(r"`(\w+)`", fields)
        for name, fields in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE)
    }
    assert documented == declared

    messages = await player.page.evaluate("window.appMessages")
    for message in messages:
        own = set(message) - {"source", "type", "session_id"}
        assert own == set(declared[message["type"]]), json.dumps(message)
    types = [message["type"] for message in messages]
    for expected in ("connection", "ready", "state", "speech_started", "speech_ended"):
        assert expected in types


async def test_debugging_fields_are_those_of_the_document(open_player: OpenPlayer) -> None:
    player = await open_player()
    fields = await player.page.evaluate("Object.keys(window.musetalkPlayer)")
    counters = await player.page.evaluate("Object.keys(window.musetalkPlayer.counters)")
    section = DOCUMENT.read_text().split("## Debugging")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(rows) == sorted([*fields, *counters])


async def test_the_player_is_accessible(open_player: OpenPlayer) -> None:
    player = await open_player(reduced_motion="reduce")
    page = player.page
    assert await page.get_by_role("main").get_attribute("aria-label")
    assert await page.get_by_role("status").first.inner_text() == "Listening"
    assert await page.evaluate("document.documentElement.lang") == "en"
    # Nothing but controls takes the focus, and what is hidden takes none.
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.tagName") == "BODY"
    duration = await page.evaluate("getComputedStyle(part('idle')).transitionDuration")
    assert float(duration.removesuffix("s").split("s,")[0]) < 0.001
