"""The React Native example on a phone that is a browser: its WebView is an iframe of another origin
that keeps react-native-webview's promises (clients/example/tests/platform)."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from player_driver import Proxy, tone
from playwright.async_api import Browser, Frame, Page, expect

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CLIENTS = Path(__file__).parents[2] / "clients"
PLATFORM = CLIENTS / "example" / "tests" / "platform"

# Of who waits for something that comes at once on a machine that is not busy.
PATIENCE_MS = 20_000

OpenApp = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the example is, built for a browser."""
    if not (CLIENTS / "node_modules").exists() or shutil.which("node") is None:
        pytest.skip("no npm packages here (npm ci in clients)")
    folder = tmp_path_factory.mktemp("example")
    build = await asyncio.create_subprocess_exec("node", PLATFORM / "build.mjs", folder)
    assert await build.wait() == 0
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/index.html"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def open_app(
    browser: Browser, app_url: str, api: httpx.AsyncClient
) -> AsyncIterator[OpenApp]:
    """The app on a small phone, on its first screen with a server chosen; nothing may go wrong."""
    addresses: set[str] = set()
    context = await browser.new_context(viewport={"width": 375, "height": 667})
    await context.expose_binding("runNatively", lambda source, code: source["frame"].evaluate(code))
    await context.add_init_script(path=PLATFORM / "frame.js")
    errors: list[str] = []

    async def open_one(server: str) -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("framenavigated", lambda frame: addresses.add(urlsplit(frame.url).path))
        await page.goto(app_url)
        await page.get_by_label("Server").fill(server)
        return page

    yield open_one
    await context.close()
    for address in addresses:
        if address.startswith("/player/session/"):
            await api.delete(address.replace("/player/session/", "/sessions/"))
    assert errors == []


async def start(page: Page, *, system: str = "ios") -> None:
    await page.evaluate("(system) => { window.system = system; }", system)
    await page.get_by_role("button", name="Start").click()
    await expect_state(page, "Listening")


async def expect_state(page: Page, words: str) -> None:
    await expect(page.get_by_role("status")).to_have_text(words, timeout=PATIENCE_MS)


async def expect_alert(page: Page, words: str | None) -> None:
    """What went wrong is said in these words, among others; None: nothing is."""
    alert = page.get_by_role("alert")
    if words is None:
        await expect(alert).to_have_count(0, timeout=PATIENCE_MS)
    else:
        await expect(alert).to_contain_text(words, timeout=PATIENCE_MS)


async def set_hidden(page: Page, is_hidden: bool) -> None:
    """The app goes to the background, or comes back."""
    await page.evaluate(
        """(state) => {
            const seen = { value: state, configurable: true };
            Object.defineProperty(document, "visibilityState", seen);
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        "hidden" if is_hidden else "visible",
    )


async def end_process(page: Page) -> None:
    """What a system does that needs the memory, or a page that crashes."""
    await page.evaluate("() => [...window.webViews].forEach((view) => view.end())")


def player(page: Page) -> Frame:
    """The page in the WebView."""
    return next(frame for frame in page.frames if "/player/session/" in frame.url)


async def until_muted(page: Page, is_muted: bool) -> None:
    await holds(
        player(page),
        """(isMuted) => {
            const { shadowRoot } = document.querySelector("musetalk-avatar");
            return shadowRoot.querySelector("#talk").muted === isMuted;
        }""",
        arg=is_muted,
        timeout_ms=PATIENCE_MS,
    )


def session_of(page: Page) -> str:
    return urlsplit(player(page).url).path.rsplit("/", 1)[1]


async def choose_file(page: Page, name: str, sound: bytes) -> None:
    async with page.expect_file_chooser() as choosing:
        await page.get_by_role("button", name="Choose a file…").click()
    file = {"name": name, "mimeType": "audio/wav", "buffer": sound}
    await (await choosing.value).set_files(file)  # type: ignore[arg-type]


async def test_an_avatar_is_created_speaks_and_is_interrupted(
    open_app: OpenApp, server_url: str, api: httpx.AsyncClient
) -> None:
    page = await open_app(server_url)
    await start(page)

    async def statuses() -> list[str]:
        answer = await api.get(f"/sessions/{session_of(page)}/utterances")
        return [utterance["status"] for utterance in answer.json()["utterances"]]

    # Its page leads nowhere else: it speaks after all of these.
    address = player(page).url
    for elsewhere in ("https://example.com/", "tel:112", "about:blank"):
        await player(page).evaluate("(address) => { location.href = address; }", elsewhere)

    await page.get_by_role("button", name="Tell a story").click()
    await expect_state(page, "Speaking")
    assert player(page).url == address
    assert await page.evaluate("() => window.openedLinks") == []
    await page.get_by_role("button", name="Stop").click()
    await expect_state(page, "Listening")
    assert await statuses() == ["interrupted"]

    # What is said while something else is said takes its place; here, a file of the device.
    await page.get_by_role("button", name="Tell a story").click()
    await expect_state(page, "Speaking")
    await choose_file(page, "tone.wav", tone(0.4))
    for _ in range(400):
        if "complete" in await statuses():
            break
        await asyncio.sleep(0.05)
    assert await statuses() == ["interrupted", "interrupted", "complete"]
    await expect_alert(page, None)
    await choose_file(page, "notes.wav", b"only text" * 50)
    await expect_alert(page, "not a sound file")

    session_id = session_of(page)
    await page.get_by_role("button", name="End").click()
    await expect(page.get_by_role("button", name="Start")).to_be_visible(timeout=PATIENCE_MS)
    assert (await api.get(f"/sessions/{session_id}")).status_code == 410


async def test_what_is_chosen_is_so_on_the_page_and_on_the_one_after_it(
    open_app: OpenApp, server_url: str
) -> None:
    page = await open_app(server_url)
    await start(page, system="android")
    session_id = session_of(page)
    sound = page.get_by_role("switch", name="Sound")
    caption = player(page).get_by_text("Once upon a time")
    await page.get_by_role("button", name="Tell a story").click()
    await expect(caption).to_be_visible(timeout=PATIENCE_MS)
    await until_muted(page, False)

    await page.get_by_role("switch", name="Captions").click()
    await expect(caption).to_have_count(0, timeout=PATIENCE_MS)
    await sound.click()
    await until_muted(page, True)
    await set_hidden(page, True)
    await set_hidden(page, False)
    await sound.click()
    await until_muted(page, False)

    # Nobody hears an app that is not before them, and it is aloud again when it is: this one shows
    # and keeps what it is told of the sound.
    await set_hidden(page, True)
    await until_muted(page, True)
    await set_hidden(page, False)
    await until_muted(page, False)
    await expect(sound).to_be_checked()

    # What the viewer does on the page itself is told.
    avatar = player(page).locator("musetalk-avatar")
    await avatar.evaluate("(avatar) => avatar.set({ muted: true })")
    await expect(sound).not_to_be_checked(timeout=PATIENCE_MS)

    # The page that comes after one that the system ended is as was chosen, and joins what is said.
    await page.get_by_role("button", name="Tell a story").click()
    await expect_state(page, "Speaking")
    await end_process(page)
    await expect_state(page, "Speaking")
    await expect_alert(page, None)
    await until_muted(page, True)
    assert session_of(page) == session_id
    assert await player(page).evaluate("() => window.musetalkPlayer.frames.length") > 0
    await page.get_by_role("button", name="Stop").click()
    await expect_state(page, "Listening")


async def test_a_server_that_is_away_for_a_while(open_app: OpenApp, proxy: Proxy) -> None:
    page = await open_app(proxy.url)
    await start(page)
    proxy.is_open = False
    proxy.cut()
    await end_process(page)
    await expect_alert(page, "can't be reached")
    assert await page.locator("iframe").count() == 0  # and not a browser's page of errors
    proxy.is_open = True
    await expect_alert(page, None)
    await expect_state(page, "Listening")


async def test_a_session_that_is_over(
    open_app: OpenApp, server_url: str, api: httpx.AsyncClient
) -> None:
    page = await open_app(server_url)
    await start(page)
    await api.delete(f"/sessions/{session_of(page)}")
    await expect_alert(page, "The conversation was ended.")

    # One that begins in the background is shown when somebody is there to see it.
    await set_hidden(page, True)
    await page.get_by_role("button", name="Start").click()
    await expect_state(page, "Coming…")
    assert await page.locator("iframe").count() == 0
    await set_hidden(page, False)
    await expect_state(page, "Listening")

    # One that ended while there was no page to be told so.
    session_id = session_of(page)
    await set_hidden(page, True)
    await end_process(page)
    await api.delete(f"/sessions/{session_id}")
    await set_hidden(page, False)
    await expect_alert(page, "The conversation is over.")


async def test_a_server_that_can_not_be_asked(open_app: OpenApp) -> None:
    page = await open_app("avatar.example.com")
    await page.get_by_role("button", name="Start").click()
    await expect_alert(page, "no address of a server")
    await page.get_by_label("Server").fill("http://127.0.0.1:9")
    await page.get_by_role("button", name="Start").click()
    await expect_alert(page, "can't be reached")
