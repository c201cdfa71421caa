"""What apps may choose of the player: sound, captions, levels, controls, and what is seen."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenPlayer
from player_driver import PlayerPage, tone
from playwright.async_api import Browser, Route, ViewportSize

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "player.md"
APP = """
window.appMessages = [];
window.ReactNativeWebView = { postMessage: (m) => window.appMessages.push(JSON.parse(m)) };
"""


def chosen(query: str) -> str:
    """A script after which the player page is one that was opened with that query."""
    return APP + f"history.replaceState(null, '', '?{query}');"


async def choose(player: PlayerPage, **options: Any) -> None:
    command = {"target": "musetalk-player", "type": "set", **options}
    await player.page.evaluate("(command) => window.postMessage(command, '*')", command)
    await player.page.evaluate("new Promise((resolve) => setTimeout(resolve))")


async def messages(player: PlayerPage, kind: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = await player.page.evaluate("window.appMessages")
    return [message for message in told if message["type"] == kind]


async def caption(player: PlayerPage, request_id: str, *cues: tuple[float, float, str]) -> None:
    body = {"cues": [dict(zip(("start", "end", "text"), cue, strict=True)) for cue in cues]}
    url = f"{player.session['utterances_url']}/{request_id}/captions"
    assert (await player.api.put(url, json=body)).status_code == 204


async def until_read(player: PlayerPage, text: str) -> None:
    await holds(
        player.page,
        "(text) => part('player').querySelector('.captions')?.innerText.trim() === text",
        arg=text,
        polling_ms=20,
        timeout_ms=8000,
    )


async def test_options_are_those_of_the_document(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    declared = await player.page.evaluate(
        """async () => Object.entries((await import('/client/player/options.js')).OPTIONS)
            .map(([name, { fallback, takes }]) => [name, fallback, takes])"""
    )
    table = DOCUMENT.read_text().split("## Options")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", table, re.MULTILINE)
    assert [name for name, _, _ in rows] == [name for name, _, _ in declared]
    for (name, values, default), (_, fallback, takes) in zip(rows, declared, strict=True):
        if fallback is not None:
            assert default.strip("` ") == json.dumps(fallback).strip('"'), name
        for word in re.findall(r"`([^`]*)`", values):
            assert word in takes, name

    bad = {
        "volume": ["2", "loud", "", "NaN"],
        "muted": ["perhaps"],
        "background": ["purple", "#12345"],
        "key": ["transparent"],
        "fit": ["fill"],
        "crop": ["0,0,1", "0.5,0,0.6,1", "0,0,0,1", "0,0,0.01,1", "a,b,c,d", "0,0,,1"],
        "poster": ["", "http://["],
        "colour": ["red"],
    }
    await choose(player, crop="0,0,0.5,0.5")
    before = await player.page.evaluate(
        """() => {
          const avatar = document.querySelector("musetalk-avatar");
          avatar.set({ ...avatar.options, volume: undefined });
          return avatar.options;
        }"""
    )
    assert before["crop"] == "0,0,0.5,0.5"
    for name, values in bad.items():
        for value in values:
            await choose(player, **{name: value})
    errors = await messages(player, "error")
    assert {error["code"] for error in errors} == {"invalid_option"}
    assert len(errors) == sum(len(values) for values in bad.values())
    assert 'volume takes a number from 0 to 1, not "loud".' in [e["message"] for e in errors]
    assert 'The player has no option "colour".' in [error["message"] for error in errors]
    now = await player.page.evaluate("document.querySelector('musetalk-avatar').options")
    assert now == before
    assert not await player.page.is_visible("#error")  # nothing that the viewer could do


async def test_volume_outlives_the_silence_of_an_interruption(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=chosen("volume=0.25"))
    await player.speak(tone(4))
    await player.until_playing(0.2)
    assert await player.page.evaluate("[part('talk').volume, part('talk').muted]") == [0.25, False]
    await player.interrupt()
    await player.until("idle")
    await player.speak(tone(3))
    await player.until_playing(0.2)
    assert await player.page.evaluate("[part('talk').volume, part('talk').muted]") == [0.25, False]

    await choose(player, muted=True, volume=0.5)
    assert await player.page.evaluate("[part('talk').volume, part('talk').muted]") == [0.5, True]
    await choose(player, muted=None)
    assert await player.page.evaluate("[part('talk').volume, part('talk').muted]") == [0.5, False]
    assert await player.read("state") == "speaking"
    told = [(m["volume"], m["muted"]) for m in await messages(player, "volume")]
    assert told == [(0.25, True), (0.5, True), (0.5, False)]


# Evaluating anything in the page counts as a gesture, so the page acts and reports by itself.
UNMUTED_LATER = """
history.replaceState(null, "", "?muted");
window.ReactNativeWebView = { postMessage: (message) => {
  const { type, muted, blocked } = JSON.parse(message);
  if (type === "speech_started") setTimeout(() => {
    console.log(JSON.stringify({ before: true, tap: !part("tap").hidden, muted }));
    window.postMessage({ target: "musetalk-player", type: "set", muted: false }, "*");
  }, 300);
  if (type === "sound") setTimeout(() => {
    const { paused, muted } = part("talk");
    console.log(JSON.stringify({ blocked, tap: !part("tap").hidden, paused, muted }));
  }, 300);
}};
"""


async def test_silence_by_choice_asks_for_no_tap(
    open_player: OpenPlayer, strict_browser: Browser
) -> None:
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    player = await open_player(
        init_script=UNMUTED_LATER,
        in_browser=strict_browser,
        on_report=said.put_nowait,
        wait=False,
    )
    await player.speak(tone(6))
    async with asyncio.timeout(10):
        assert await said.get() == {"before": True, "tap": False, "muted": True}
        # Nobody has touched the page yet: speech goes on, silent, under a button.
        assert await said.get() == {"blocked": True, "tap": True, "paused": False, "muted": True}
        await player.page.mouse.click(200, 200)
        assert await said.get() == {"blocked": False, "tap": False, "paused": False, "muted": False}


SOUND_TOLD = """
window.ReactNativeWebView = { postMessage: (message) => {
  const { type, blocked } = JSON.parse(message);
  if (type === "sound") setTimeout(() => {
    const mute = part("player").querySelector(".mute").ariaPressed;
    const { paused, muted, volume } = part("talk");
    console.log(JSON.stringify({ blocked, mute, paused, muted, isSoft: volume < 1 }));
  }, 100);
}};
"""


async def test_whoever_turns_it_up_wants_sound(
    open_player: OpenPlayer, strict_browser: Browser
) -> None:
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    player = await open_player(
        init_script=chosen("controls") + SOUND_TOLD,
        in_browser=strict_browser,
        on_report=said.put_nowait,
        wait=False,
        viewport={"width": 400, "height": 300},
    )
    await player.speak(tone(6))
    blocked = {"blocked": True, "mute": "true", "paused": False, "muted": True, "isSoft": False}
    async with asyncio.timeout(10):
        assert await said.get() == blocked
        await player.page.mouse.click(400 - 12 - 44 - 8 - 42, 12 + 22)  # the slider's middle
        heard = {"blocked": False, "mute": "false", "paused": False, "muted": False, "isSoft": True}
        assert await said.get() == heard


async def test_captions_are_read_when_they_are_heard(open_player: OpenPlayer) -> None:
    phone: ViewportSize = {"width": 390, "height": 844}
    player = await open_player(init_script=chosen("captions=true&controls"), viewport=phone)
    first = await player.speak(tone(2.4))
    await caption(player, first, (0, 1.2, "One <b>word</b>"))
    await until_read(player, "One <b>word</b>")  # as text
    await caption(player, first, (0, 0.2, "One"), (1.2, 2.4, "שלום\nhello"))  # in place of those
    second = await player.queue(tone(1.2))
    await caption(player, second, (0, 5, "Right behind it"))  # before it begins
    await until_read(player, "שלום\nhello")
    position = await player.read("position")
    assert position >= 1.2 or await player.read("request_id") == second
    assert await player.page.evaluate("part('player').querySelector('.captions p').dir") == "auto"
    await until_read(player, "Right behind it")
    await player.until_spoken(2)
    await until_read(player, "")

    third = await player.speak(tone(15))
    await caption(player, third, (0, 15, "word" * 100))
    await until_read(player, "word" * 100)
    box = await player.page.evaluate(
        "part('player').querySelector('.captions span').getBoundingClientRect().toJSON()"
    )
    width = await player.page.evaluate("innerWidth")
    assert 0 <= box["left"] < box["right"] <= width  # however long a word is

    await caption(player, third, *((0, 15, f"{cue} " + "word" * 240) for cue in range(9)))
    await until_read(player, "\n".join(f"{cue} " + "word" * 240 for cue in (6, 7, 8)))
    small: ViewportSize = {"width": 320, "height": 240}
    for viewport in (phone, small):
        await player.page.set_viewport_size(viewport)
        offline, controls, captions, text = await player.page.evaluate(
            """() => {
              part("offline").hidden = false;
              return [".offline", ".controls", ".captions", ".captions p"]
                .map((name) => part("player").querySelector(name).getBoundingClientRect().toJSON());
            }"""
        )
        assert 0 < offline["bottom"] <= controls["top"]
        assert controls["bottom"] <= captions["top"] == text["top"]  # its beginning is read
        assert captions["top"] + 20 < captions["bottom"] < viewport["height"]
    await player.interrupt()
    await until_read(player, "")


LOUD = """() => {
  const shown = part("player").querySelector(".visualizer.shown canvas");
  if (!shown) return -1;
  const { data } = shown.getContext("2d").getImageData(0, 0, shown.width, shown.height);
  return data.filter((value, index) => index % 4 === 3 && value > 60).length;
}"""


async def test_levels_are_drawn_as_they_are_heard(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=chosen("visualizer"))
    await player.speak(tone(4, lead_s=1.0))
    await player.until_playing(0.4)
    quiet = await player.page.evaluate(LOUD)
    assert quiet > 0
    # As many bars as were painted since the tone began: on a busy machine, few for a while.
    await holds(player.page, f"(quiet) => ({LOUD})() > 3 * quiet", arg=quiet)
    assert await player.read("position") > 1
    await player.until_spoken()
    assert await player.page.evaluate(LOUD) == -1
    await choose(player, visualizer=False)
    assert await player.page.evaluate("part('player').querySelector('.visualizer')") is None


async def test_controls_for_fingers_and_keys(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=chosen("controls"), reduced_motion="reduce")
    page = player.page
    mute = page.get_by_role("button", name="Mute")
    await mute.wait_for()
    for name in ("Mute", "Captions"):
        box = await page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    assert await mute.get_attribute("aria-pressed") == "true"
    await page.keyboard.press("Tab")
    await page.keyboard.press("End")
    await page.keyboard.press("ArrowLeft")
    assert await mute.get_attribute("aria-pressed") == "false"  # who turns it up wants to hear
    await page.get_by_role("button", name="Captions").click()
    options = await page.evaluate("document.querySelector('musetalk-avatar').options")
    assert (options["volume"], options["muted"], options["captions"]) == (0.95, False, True)
    assert (await messages(player, "volume"))[-1]["volume"] == 0.95


SEEN = """() => ["idle", "talk"].map((id) => {
  const { left, top, width, height } = part(id).getBoundingClientRect();
  return [left, top, width, height].map(Math.round);
})"""


async def test_the_part_of_the_picture_that_is_shown(open_player: OpenPlayer) -> None:
    viewport = {"width": 400, "height": 800}
    player = await open_player(
        init_script=chosen("crop=0.25,0.25,0.5,0.5&fit=contain"), viewport=viewport
    )
    # Half the picture's width is the viewport's: all of it is twice as wide.
    assert await player.page.evaluate(SEEN) == [[-200, 0, 800, 800]] * 2
    clip = await player.page.evaluate("getComputedStyle(part('talk')).clipPath")
    assert clip == "inset(25%)"
    await choose(player, fit="cover")
    assert await player.page.evaluate(SEEN) == [[-600, -400, 1600, 1600]] * 2
    await choose(player, crop=None)
    assert await player.page.evaluate(SEEN) == [[0, 0, 400, 800]] * 2
    look = "getComputedStyle(part('idle'))"
    assert await player.page.evaluate(f"{look}.objectFit") == "cover"
    await choose(player, fit="contain")
    assert await player.page.evaluate(f"{look}.objectFit") == "contain"
    assert [message["state"] for message in await messages(player, "state")] == ["idle"]


POSTER = "({ hidden: part('poster').hidden, src: part('poster').src })"


async def test_a_poster_until_the_loop_is_there(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    page = player.page
    held: asyncio.Queue[Route] = asyncio.Queue()
    await page.route("**/video*", lambda route: held.put_nowait(route))
    await page.reload()
    await holds(page, "part('poster') && !part('poster').hidden")
    assert (await page.evaluate(POSTER))["src"].endswith(player.session["avatar"]["poster_url"])
    await (await held.get()).continue_()
    await player.until("idle")
    await holds(page, "part('poster').hidden")
    await page.unroute("**/video*")

    await page.add_init_script("history.replaceState(null, '', '?poster=none')")
    await page.reload()
    await player.until("idle")
    assert await page.evaluate(POSTER) == {"hidden": True, "src": ""}

    await page.add_init_script("history.replaceState(null, '', '?poster=/nothing.jpg')")
    await page.reload()
    await holds(page, "window.appMessages.some(({ type }) => type === 'error')")
    (error,) = await messages(player, "error")
    assert (error["code"], error["retryable"]) == ("invalid_option", False)


async def test_what_means_nothing_or_is_taken_back_leaves_the_face(
    open_player: OpenPlayer,
) -> None:
    player = await open_player(init_script=chosen("poster=http://["))  # it has come up
    assert [error["code"] for error in await messages(player, "error")] == ["invalid_option"]
    opacity = await player.page.evaluate(
        """async () => {
          const avatar = document.querySelector("musetalk-avatar");
          avatar.set({ background: "transparent" });
          avatar.set({ background: null });
          await import("/client/player/key.js");
          await new Promise((resolve) => setTimeout(resolve));
          const isCovered = part("player").hasAttribute("data-keyed");
          return [isCovered, getComputedStyle(part("talk")).transitionDuration];
        }"""
    )
    assert opacity == [False, "0.1s"]


async def test_a_poster_that_is_chosen_away_does_not_come_back(open_player: OpenPlayer) -> None:
    player = await open_player(init_script=APP)
    page = player.page
    held: asyncio.Queue[Route] = asyncio.Queue()
    await page.route("**/video*", lambda route: None)
    await page.route("**/avatars/*/poster*", lambda route: held.put_nowait(route))
    await page.reload(wait_until="commit")
    async with asyncio.timeout(10):
        poster = await held.get()
    await choose(player, poster="none")
    await poster.continue_()
    await holds(page, "part('poster').complete")
    assert await page.evaluate(POSTER) == {"hidden": True, "src": ""}
