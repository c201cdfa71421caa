"""The real server in a process of its own, and Chromium to look at it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from player_driver import PlayerPage, Proxy
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Playwright,
    ViewportSize,
    async_playwright,
)

from benchmarks.browser import ALOUD, CHROMIUM, FLAGS

BLOCKED = "--autoplay-policy=user-gesture-required"

# A part of the player by its id.
PART = """window.part = (id) =>
    document.querySelector("musetalk-avatar").shadowRoot.getElementById(id);"""

# A third less to paint, without a GPU, than in a window of the usual size.
SMALL: ViewportSize = {"width": 320, "height": 320}

OpenPlayer = Callable[..., Awaitable[PlayerPage]]


def _report(told: Callable[[Any], None], message: ConsoleMessage) -> None:
    """What a test's script logs is JSON; what the browser has to say is a warning."""
    if message.type == "log":
        told(json.loads(message.text))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a server with a chunk store of its own."""
    chunks = tmp_path_factory.mktemp("chunks")
    log_path = chunks.parent / "browser-server.log"
    log = log_path.open("w")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "musetalk_stream", "serve", "--port", "0"),
        *("--state-dir", str(chunks.with_name("state")), "--trusted-proxies", "127.0.0.1"),
        *("--chunks-dir", str(chunks), "--capacity-fps", "100000"),  # a busy machine measures less
        *("--drain-s", "0"),  # what a test left speaking is nobody's
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            ready = (await process.stdout.readline()).decode()
        assert "http://" in ready, "the server did not start: " + _text(log_path)
        yield "http://" + ready.split("http://")[1].strip().rstrip("/")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
        log.close()
    assert "Traceback" not in _text(log_path)


def _text(path: Path) -> str:
    return path.read_text()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(server_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server_url, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    if not CHROMIUM.exists():
        pytest.skip("no Chromium here (apt-get install chromium)")
    async with async_playwright() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(playwright: Playwright) -> AsyncIterator[Browser]:
    """Chromium that lets pages play sound unasked, as a WebView is configured to."""
    browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, ALOUD])
    yield browser
    await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def strict_browser(playwright: Playwright) -> AsyncIterator[Browser]:
    """Chromium that wants a gesture before there is sound."""
    browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, BLOCKED])
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(server_url: str) -> AsyncIterator[Proxy]:
    """A way to the server whose connections a test can cut."""
    async with Proxy(server_url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def open_player(browser: Browser, api: httpx.AsyncClient) -> AsyncIterator[OpenPlayer]:
    """Opens players, each with a session of its own; afterwards none may have raised an error."""
    players: list[PlayerPage] = []
    async with AsyncExitStack() as stack:

        async def open_one(
            *,
            origin: str | None = None,
            settings: dict[str, Any] | None = None,
            init_script: str | None = None,
            on_console: Callable[[ConsoleMessage], None] | None = None,
            on_report: Callable[[Any], None] | None = None,
            in_browser: Browser | None = None,
            wait: bool = True,
            **context_options: Any,
        ) -> PlayerPage:
            session = (await api.post("/sessions/create", json=settings or {})).json()
            options = {"viewport": SMALL, **context_options}
            context = await (in_browser or browser).new_context(**options)
            stack.push_async_callback(context.close)
            page = await context.new_page()
            await page.add_init_script(PART)
            if init_script:
                await page.add_init_script(init_script)
            if on_console:
                page.on("console", on_console)
            if on_report:
                page.on("console", partial(_report, on_report))
            player = PlayerPage(page, api, session)
            players.append(player)
            await page.goto((origin or str(api.base_url)).rstrip("/") + session["player_url"])
            if wait:
                await player.until("idle")
            return player

        yield open_one
        for player in players:
            await api.delete(f"/sessions/{player.session_id}")
    assert [error for player in players for error in player.page_errors] == []
