"""Pages and players of a server that has API keys, and what they make of its being killed."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from player_driver import RATE, tone
from playwright.async_api import Browser, BrowserContext, Frame, Page, expect
from servers import free_port

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 20_000

# Of all frames: what a policy did not let pass is told in the console.
VIOLATIONS = """addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  console.error(`violation of ${violatedDirective}: ${blockedURI}`));"""

APP = """<!doctype html><title>An app</title>
<iframe allow="autoplay" width="360" height="360"></iframe>
<script>
  const heard = [];
  const frame = document.querySelector("iframe");
  addEventListener("message", ({ data }) => heard.push(data));
  const tell = (fields) => frame.contentWindow.postMessage(
    { target: "musetalk-player", ...fields }, "*");
</script>"""

DROP = """
(bytes) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "hello.wav", { type: "audio/wav" }));
  for (const type of ["dragenter", "drop"]) window.dispatchEvent(
    new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
}
"""


class Closed:
    """A server with an API key, which can be killed and started again on what it left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.key = ""
        self._process: asyncio.subprocess.Process | None = None

    async def make_key(self) -> None:
        made = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "musetalk_stream", "keys", "add", "--name", "tests"),
            *("--scopes", "sessions,avatars", "--state-dir", str(self._folder / "state")),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await made.communicate()
        assert made.returncode == 0
        self.key = out.decode().split()[0]

    async def start(self) -> None:
        with (self._folder / "log").open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "musetalk_stream", "serve", "--port", str(self._port)),
                *("--state-dir", str(self._folder / "state"), "--capacity-fps", "100000"),
                *("--chunks-dir", str(self._folder / "chunks")),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            ready = await self._process.stdout.readline()
        assert b"is ready" in ready, self.log

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(20):
            await self._process.wait()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Closed]:
    server = Closed(tmp_path_factory.mktemp("closed"))
    await server.make_key()
    await server.start()
    try:
        yield server
    finally:
        await server.end(signal.SIGTERM)
    assert "Traceback" not in server.log
    assert "token=" not in server.log
    assert server.key not in server.log


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def backend(closed: Closed) -> AsyncIterator[httpx.AsyncClient]:
    """What an app's own server does: it has the key."""
    headers = {"Authorization": f"Bearer {closed.key}"}
    async with httpx.AsyncClient(base_url=closed.url, headers=headers, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app_url() -> AsyncIterator[str]:
    """A page of another origin, with a frame for a player."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=APP, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class Told:
    """What pages said to nobody in particular."""

    def __init__(self, context: BrowserContext) -> None:
        self.console: list[str] = []
        self.errors: list[str] = []
        context.on("console", lambda message: self.console.append(message.text))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def of_violations(self) -> list[str]:
        return [text for text in self.console if "violat" in text]


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that knows nothing yet; whatever is done with it, no page violates its policy."""
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    await context.add_init_script(VIOLATIONS)
    told = Told(context)
    yield context
    await context.close()
    assert told.of_violations() == []
    assert told.errors == []
    assert [text for text in told.console if "token=" in text or "mts_" in text] == []


async def embed(context: BrowserContext, app_url: str, player_url: str) -> tuple[Page, Frame]:
    page = await context.new_page()
    await page.goto(app_url)
    await page.evaluate("(url) => { frame.src = url; }", player_url)
    await holds(page, "heard.length > 0", timeout_ms=PATIENCE_MS)
    (player,) = page.frames[1:]
    return page, player


async def create(backend: httpx.AsyncClient) -> dict[str, Any]:
    answer = await backend.post("/sessions/create", json={"on_busy": "queue"})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def speak(backend: httpx.AsyncClient, session: dict[str, Any], sound: bytes) -> str:
    files = {"audio_file": ("speech.wav", sound, "audio/wav")}
    url = f"/sessions/{session['session_id']}/stream"
    answer = await backend.post(url, files=files)
    assert answer.status_code == 202, answer.text
    request_id: str = answer.json()["request_id"]
    return request_id


async def until_told(page: Page, condition: str) -> None:
    """Until the app has heard a message of which that is true."""
    await holds(page, f"heard.some((it) => {condition})", timeout_ms=PATIENCE_MS)


async def test_pages_ask_for_a_key_and_work_with_it(
    context: BrowserContext, closed: Closed, backend: httpx.AsyncClient
) -> None:
    page = await context.new_page()
    answers: list[int] = []
    page.on("response", lambda response: answers.append(response.status))
    await page.goto(closed.url)
    key = page.get_by_label("API key")
    await key.fill("mts_somebody-else")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("alert").first).to_contain_text("no key of this server")
    assert "Mara" not in await page.content()  # nothing is told before
    await key.fill(closed.key)
    await page.keyboard.press("Enter")
    state = page.locator("#state")
    await expect(state).to_have_text("idle", timeout=PATIENCE_MS)
    await page.evaluate(DROP, list(tone(0.6)))
    await expect(page.locator("#log b", has_text="speech_ended")).to_be_attached(
        timeout=PATIENCE_MS
    )
    assert "Authorization: Bearer $KEY" in await page.inner_text("#curl")
    assert closed.key not in await page.content()

    await page.goto(f"{closed.url}/avatars")
    await expect(page.locator(".avatar video[src^='blob:']")).to_be_visible(timeout=PATIENCE_MS)
    assert answers.count(401) == 1

    await page.get_by_role("button", name="Forget the key").click()
    await expect(key).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_player_in_a_page_of_another_origin(
    context: BrowserContext, app_url: str, closed: Closed, backend: httpx.AsyncClient
) -> None:
    session = await create(backend)
    page, player = await embed(context, app_url, closed.url + session["player_url"])
    await until_told(page, "it.type === 'ready'")
    await speak(backend, session, tone(0.6))
    await until_told(page, "it.type === 'speech_ended' && it.reason === 'complete'")
    heard = await page.evaluate("JSON.stringify(heard)")
    assert "token" not in heard

    # What is linked from there does not learn where it was linked.
    await player.evaluate(
        """(url) => {
            const link = Object.assign(document.createElement("a"), { href: url });
            document.body.append(link);
            link.click();
        }""",
        app_url,
    )
    await holds(player, f"location.href === '{app_url}' && document.readyState === 'complete'")
    assert await player.evaluate("document.referrer") == ""


async def token_for(backend: httpx.AsyncClient, session: dict[str, Any], ttl_s: int) -> str:
    url = f"/sessions/{session['session_id']}/tokens"
    answer = await backend.post(url, json={"rights": ["view", "interrupt"], "ttl": ttl_s})
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


async def test_a_token_that_expires_and_another(
    context: BrowserContext, app_url: str, closed: Closed, backend: httpx.AsyncClient
) -> None:
    session = await create(backend)
    before_s = time.monotonic()
    page, player = await embed(context, app_url, closed.url + session["player_url"])
    await until_told(page, "it.type === 'ready'")
    # Long enough to be loaded with, however busy the machine is.
    short = await token_for(backend, session, round(2 * (time.monotonic() - before_s)) + 1)
    address = f"{closed.url}/player/session/{session['session_id']}?token={short}"
    await page.evaluate("(url) => { heard.length = 0; frame.src = url; }", address)
    await until_told(page, "it.type === 'error' && it.code === 'token_expired'")
    await expect(player.get_by_role("alert")).to_contain_text("is over")

    token = await token_for(backend, session, 60)
    await page.evaluate("(token) => tell({ type: 'set', token })", token)
    await expect(player.get_by_role("alert")).to_be_hidden()
    await speak(backend, session, tone(0.6))
    await until_told(page, "it.type === 'speech_ended' && it.reason === 'complete'")
    assert token in await player.evaluate("location.search")  # so it can be loaded again

    # A page that is loaded too late says so, too, and takes another token.
    await page.evaluate("(url) => { heard.length = 0; frame.src = url; }", address)
    await until_told(page, "it.type === 'error' && it.code === 'token_expired'")
    await page.evaluate("(token) => tell({ type: 'set', token })", token)
    await until_told(page, "it.type === 'ready'")


async def test_a_server_that_is_killed_in_mid_speech(
    context: BrowserContext, app_url: str, closed: Closed, backend: httpx.AsyncClient
) -> None:
    session = await create(backend)
    page, player = await embed(context, app_url, closed.url + session["player_url"])
    await until_told(page, "it.type === 'ready'")

    async def talk() -> AsyncIterator[bytes]:
        yield tone(2)[44:]
        await asyncio.Event().wait()  # there would be more

    url = f"/sessions/{session['session_id']}/audio"
    headers = {"Content-Type": f"audio/L16;rate={RATE}"}
    sending = asyncio.create_task(backend.post(url, content=talk(), headers=headers))
    await holds(player, "musetalkPlayer.position > 0.3", timeout_ms=PATIENCE_MS)
    request_id = await player.evaluate("musetalkPlayer.request_id")
    buffered = await player.evaluate("musetalkPlayer.buffered.at(-1)[1]")
    await closed.end(signal.SIGKILL)
    sending.cancel()
    await asyncio.wait([sending])
    await closed.start()
    await until_told(page, f"it.type === 'speech_ended' && it.request_id === '{request_id}'")
    (ended,) = await page.evaluate("heard.filter((it) => it.type === 'speech_ended')")
    assert ended["played_s"] >= buffered - 0.3
    assert ended["reason"] in ("complete", "error")
    await until_told(page, "it.type === 'error' && it.code === 'server_restarted'")
    await until_told(page, "it.type === 'state' && it.state === 'idle'")

    again = await speak(backend, session, tone(0.6))
    await until_told(page, f"it.type === 'speech_ended' && it.request_id === '{again}'")
    assert not await page.evaluate("heard.some((it) => it.type === 'closed')")
