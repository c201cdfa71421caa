"""Avatars before a green screen: what is behind them goes, and they stay as they are."""

import asyncio
import io
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
from conftest import PART
from green_screen import make_green_avatar
from PIL import Image
from player_driver import PlayerPage, tone
from playwright.async_api import Browser
from servers import start_process

from benchmarks.browser import holds
from musetalk_stream.avatar import shipped_avatars

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Mask = npt.NDArray[np.float32]  # [H, W], 0 … 1
Shot = npt.NDArray[np.float64]  # [H, W, 4], RGBA, 0 … 255
OpenGreen = Callable[..., Awaitable[PlayerPage]]

APP = """
window.appMessages = [];
window.ReactNativeWebView = { postMessage: (m) => window.appMessages.push(JSON.parse(m)) };
"""
SIZE = 512


@pytest.fixture(scope="module")
def green_store(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mask]:
    """A store with a green avatar, beside the demo avatar, which the first server has prepared."""
    assert server_url
    store = tmp_path_factory.mktemp("green")
    shutil.copytree(shipped_avatars()["demo"], store / "demo", copy_function=os.link)
    return store, make_green_avatar(store)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def green_api(
    green_store: tuple[Path, Mask], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("green-server")
    flags = ("--capacity-fps", "100000", "--avatar", "green")
    starting = start_process(folder, green_store[0], *flags)
    running = await asyncio.to_thread(starting.__enter__)
    try:
        async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
            yield client
    finally:
        await asyncio.to_thread(starting.__exit__, None, None, None)


@pytest_asyncio.fixture(loop_scope="session")
async def open_green(browser: Browser, green_api: httpx.AsyncClient) -> AsyncIterator[OpenGreen]:
    async with AsyncExitStack() as stack:

        async def open_one(query: str, avatar_id: str = "green", script: str = "") -> PlayerPage:
            answer = await green_api.post("/sessions/create", json={"avatar_id": avatar_id})
            context = await browser.new_context(viewport={"width": SIZE, "height": SIZE})
            stack.push_async_callback(context.close)
            page = await context.new_page()
            await page.add_init_script(PART + APP + script)
            player = PlayerPage(page, green_api, answer.json())
            url = str(green_api.base_url).rstrip("/") + player.session["player_url"]
            await page.goto(f"{url}?{query}")
            await player.until("idle")
            return player

        yield open_one


async def keyed(player: PlayerPage, is_so: bool = True) -> None:
    await holds(
        player.page,
        f"""(part("keyed")?.hidden === false) === {str(is_so).lower()}
            && getComputedStyle(part("idle")).opacity === "{0 if is_so else 1}" """,
        timeout_ms=8000,
    )


async def shot(player: PlayerPage) -> Shot:
    """What is on the screen, of which the browser's own white background is no part."""
    png = await player.page.screenshot(omit_background=True)
    return np.array(Image.open(io.BytesIO(png)).convert("RGBA"), np.float64)


async def errors(player: PlayerPage) -> list[str]:
    return [
        message["code"]
        for message in await player.page.evaluate("window.appMessages")
        if message["type"] == "error"
    ]


async def choose(player: PlayerPage, **options: Any) -> None:
    command = {"target": "musetalk-player", "type": "set", **options}
    await player.page.evaluate("(command) => window.postMessage(command, '*')", command)


def check_cut_out(seen: Shot, person: Mask) -> None:
    """Nothing behind the person, all of the person, and no green around it."""
    alpha = seen[..., 3] / 255
    # The person of the demo avatar sways by some pixels.
    behind, inside = _surely(person < 0.01), _surely(person > 0.99)
    assert alpha[behind].max() < 0.01
    assert alpha[inside].min() > 0.99
    is_edge = ~behind & ~inside & (alpha > 0)
    assert is_edge.sum() > 2000
    green = seen[..., 1] - np.maximum(seen[..., 0], seen[..., 2])
    fringe = np.maximum(green, 0)[is_edge] * alpha[is_edge]
    assert fringe.mean() < 5, "a green fringe"
    soft = (alpha > 0.1) & (alpha < 0.9)
    assert soft.sum() > 300, "edges are hard"


def _surely(mask: npt.NDArray[np.bool_], by: int = 8) -> npt.NDArray[np.bool_]:
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), kernel), bool)


async def test_what_is_behind_the_face_is_what_is_behind_the_player(
    open_green: OpenGreen, green_store: tuple[Path, Mask]
) -> None:
    person = green_store[1]
    plain = await open_green("muted")
    await keyed(plain, False)
    picture = await shot(plain)
    green = picture[10:30, 10:30, :3].mean(axis=(0, 1))
    assert green[1] > green[0] + 80  # as it was made

    player = await open_green("background=transparent")
    await keyed(player)
    seen = await shot(player)
    check_cut_out(seen, person)
    skin = (slice(260, 300), slice(200, 300))  # cheeks and nose, which do not blink
    assert np.abs(seen[skin] - picture[skin]).mean() < 6

    request_id = await player.speak(tone(4))
    await player.until_heard(request_id, 0.5)
    check_cut_out(await shot(player), person)
    assert await player.read("state") == "speaking"

    await choose(player, background="#3366cc")
    await player.page.wait_for_timeout(100)
    seen = await shot(player)
    assert seen[..., 3].min() > 250
    assert np.abs(seen[10:30, 10:30, :3] - (0x33, 0x66, 0xCC)).max() <= 1

    at_once = await player.page.evaluate(
        """() => {
          document.querySelector("musetalk-avatar").set({ background: null });
          return ["idle", "talk"].map((id) => getComputedStyle(part(id)).opacity);
        }"""
    )
    assert at_once == ["1", "1"]
    assert np.abs((await shot(player))[10:30, 10:30, :3] - green).max() < 8
    assert await player.page.evaluate("part('keyed')") is None
    assert await errors(player) == []


async def test_a_colour_that_is_named(
    open_green: OpenGreen, green_store: tuple[Path, Mask]
) -> None:
    player = await open_green("background=transparent&key=%2300b140")
    await keyed(player)
    check_cut_out(await shot(player), green_store[1])
    await choose(player, key="#0000ff")  # there is no blue in it
    await player.page.wait_for_timeout(200)
    assert (await shot(player))[..., 3].min() > 250
    await choose(player, key="#808080")  # as much in faces as anywhere
    await keyed(player, False)
    assert await errors(player) == ["background_unavailable"]


NO_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource;"
EMBED = """async ([server, session]) => {
  await import(`${server}/client/element.js`);
  const avatar = document.createElement("musetalk-avatar");
  window.told = [];
  for (const type of ["speech_ended", "error"]) {
    avatar.addEventListener(type, ({ detail }) => told.push(detail.code ?? detail.reason));
  }
  avatar.set({ background: "transparent" });
  avatar.session = session;
  document.body.append(avatar);
}"""


@pytest.mark.alone
async def test_speech_of_another_origin_without_media_source(
    browser: Browser, green_api: httpx.AsyncClient
) -> None:
    answer = await green_api.post("/sessions/create", json={"avatar_id": "green"})
    context = await browser.new_context(bypass_csp=True)  # what is there is no page of ours
    page = await context.new_page()
    await page.add_init_script(PART + NO_MEDIA_SOURCE)
    server = str(green_api.base_url).rstrip("/")
    await page.goto(f"{server.replace('127.0.0.1', 'localhost')}/healthz")  # of another origin
    await page.evaluate(EMBED, [server, answer.json()])
    player = PlayerPage(page, green_api, answer.json())
    await keyed(player)
    await player.speak(tone(1))
    await holds(page, "told.length > 0", timeout_ms=10_000)
    assert await page.evaluate("told") == ["complete"]
    assert await page.evaluate("document.querySelector('musetalk-avatar').debug.source") == "hls"
    await keyed(player)
    await context.close()


async def test_a_picture_without_a_screen_stays_as_it_is(open_green: OpenGreen) -> None:
    player = await open_green("background=transparent", avatar_id="demo")
    await holds(
        player.page, "window.appMessages.some(({ code }) => code === 'background_unavailable')"
    )
    seen = len(await player.read("frames"))
    await holds(player.page, f"musetalkPlayer.frames.length > {seen + 5}")
    assert await errors(player) == ["background_unavailable"]  # once
    await keyed(player, False)
    assert (await shot(player))[..., 3].min() > 250


NO_WEBGL = """
const { getContext } = HTMLCanvasElement.prototype;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === "webgl" ? null : getContext.call(this, kind, ...rest);
};
"""


async def test_without_webgl_the_picture_stays_as_it_is(open_green: OpenGreen) -> None:
    player = await open_green("background=transparent", script=NO_WEBGL)
    await holds(player.page, "window.appMessages.some(({ type }) => type === 'error')")
    assert await errors(player) == ["background_unavailable"]
    await keyed(player, False)
    assert not await player.page.is_visible("#error")


async def test_a_canvas_that_the_browser_takes_away_comes_back(
    open_green: OpenGreen, green_store: tuple[Path, Mask]
) -> None:
    player = await open_green("background=transparent")
    await keyed(player)
    await player.page.evaluate(
        """() => {
          const context = part("keyed").getContext("webgl");
          window.taker = context.getExtension("WEBGL_lose_context");
          window.taker.loseContext();
        }"""
    )
    await keyed(player, False)
    assert await errors(player) == ["background_unavailable"]
    await player.page.evaluate("window.taker.restoreContext()")
    await keyed(player)
    check_cut_out(await shot(player), green_store[1])
