"""Pages below the path of a proxy ask for nothing beside it, by whatever script."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from player_driver import tone
from playwright.async_api import Browser, Playwright, expect
from proxies import PROXIES, running

from benchmarks.browser import ALOUD, CHROMIUM, FLAGS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


async def test_all_is_asked_for_below_the_path(
    playwright: Playwright, server_url: str, tmp_path: Path
) -> None:
    """Start page, player, a file, a microphone (a WebSocket), and the page of avatars."""
    if not PROXIES["nginx"].is_installed:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    port = urlsplit(server_url).port or 0
    flags = [*FLAGS, ALOUD, *MICROPHONE]
    with running(PROXIES["nginx"], tmp_path, port, operators="127.0.0.0/8") as address:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            asked, sockets = await visited(browser, address)
        finally:
            await browser.close()
    for said in ("/sessions/create", "/player/session/", "/events", "/stream", "/chunks/", "/jobs"):
        assert any(said in url for url in asked), f"{said} was not asked for"
    assert sockets
    beside = {
        url
        for url in asked + [socket.replace("wss:", "https:") for socket in sockets]
        if not url.startswith((f"{address}/", "data:", "blob:"))
    }
    assert not beside


async def visited(browser: Browser, address: str) -> tuple[list[str], list[str]]:
    """What was asked for, and the WebSockets."""
    page = await browser.new_page(ignore_https_errors=True)
    asked: list[str] = []
    sockets: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: sockets.append(socket.url))
    state, log = page.locator("#state"), page.locator("#log b")
    await page.goto(f"{address}/")
    await expect(state).to_have_text("idle", timeout=15_000)
    file = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(0.4)}
    await page.set_input_files("#file", file)  # type: ignore[arg-type]
    await expect(log.filter(has_text="speech_ended")).to_be_attached(timeout=15_000)
    async with page.expect_websocket():
        await page.click("#live")
    await page.click("#avatars-link")
    await expect(page.locator("#gallery .avatar").first).to_be_visible(timeout=15_000)
    return asked, sockets
