"""The web library on a page of another origin: its README as a newcomer runs it, and the element as
frameworks treat it."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from npm_packages import TOOLS, install_web, needs_packages, run
from player_driver import tone
from playwright.async_api import Browser, FilePayload, Page, Route

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

README = Path(__file__).parents[2] / "clients/web/README.md"
THEIRS = "http://localhost:8000"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Somebody's web server: its address, and the folder that it serves."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, name="site")
        thread.start()
        yield f"http://localhost:{server.server_port}", tmp_path
        server.shutdown()
        thread.join()


OpenPage = Callable[[str], Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, site: tuple[str, Path]) -> AsyncIterator[OpenPage]:
    """Opens a page of that site; none may raise an error that nobody catches."""
    url, folder = site
    errors: list[str] = []
    context = await browser.new_context()

    async def open_one(html: str) -> Page:
        (folder / "index.html").write_text(html)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        return page

    yield open_one
    await context.close()
    assert errors == []


def file(content: bytes) -> FilePayload:
    return {"name": "hello.wav", "mimeType": "audio/wav", "buffer": content}


async def test_the_readme_is_all_that_a_newcomer_needs(
    open_page: OpenPage, server_url: str, api: httpx.AsyncClient
) -> None:
    found = re.search(r"^```html\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert found, "there is no page in the README"
    page = await open_page(found[1].replace(THEIRS, server_url))
    session_id = ""

    async def until_logged(words: str) -> None:
        condition = "(words) => new RegExp(words).test(document.getElementById('log').textContent)"
        try:
            await holds(page, condition, arg=words, polling_ms=50, timeout_ms=20_000)
        except TimeoutError:
            pytest.fail(f"no {words} in: {await page.text_content('#log')}")

    await until_logged(r"ready[^]*server: state|server: state[^]*ready")
    session_id = await page.evaluate("document.querySelector('musetalk-avatar').session.sessionId")

    await page.set_input_files("#choose", file(tone(0.8)))
    await until_logged(r"takes 1 s\n")
    await until_logged(r"began after \d+ ms\n[^]*ended: complete\n")

    await page.set_input_files("#choose", file(tone(8)))
    await until_logged(r"began[^]*began after \d+ ms\n")
    await page.click("#stop")
    await until_logged(r"ended: interrupted\n")
    await until_logged(r"heard \d+ ms\n")
    assert re.search(r"server: interrupted\n", await page.text_content("#log") or "")

    await page.click("#hum")
    await until_logged(r"hums for 1 s\n")
    await until_logged(r"heard[^]*ended: complete\n")
    await page.click("#stop")
    await until_logged("was silent")

    await page.set_input_files("#choose", file(b"hello"))
    await until_logged(r"Unsupported audio\. .*\(unsupported_audio\)\n")

    await page.goto("about:blank")  # the page says goodbye
    async with httpx.AsyncClient(base_url=server_url) as client:
        for _ in range(100):
            if (await client.get(f"/sessions/{session_id}")).status_code == 410:
                return
            await asyncio.sleep(0.02)
    pytest.fail("the session was not closed")


BARE = """<!doctype html><meta charset="utf-8">
<style>musetalk-avatar {{ width: 120px; height: 120px }}</style>
<main></main><aside></aside>
<script type="module">
  import {{ createSession, openSession }} from "{server}/client/index.js";
  Object.assign(window, {{ createSession, openSession, server: "{server}" }});
  const open = {{ timers: new Set(), urls: new Set(), sources: new Set() }};
  window.openThings = () =>
    Object.fromEntries(Object.entries(open).map(([name, {{ size }}]) => [name, size]));
  const {{ setInterval, clearInterval, EventSource }} = window;
  const {{ createObjectURL, revokeObjectURL }} = URL;
  const adding = (set, thing) => (set.add(thing), thing);
  window.setInterval = (...all) => adding(open.timers, setInterval(...all));
  window.clearInterval = (id) => (open.timers.delete(id), clearInterval(id));
  URL.createObjectURL = (source) => adding(open.urls, createObjectURL.call(URL, source));
  URL.revokeObjectURL = (url) => (open.urls.delete(url), revokeObjectURL.call(URL, url));
  window.EventSource = class extends EventSource {{
    constructor(url) {{ super(url); open.sources.add(this); }}
    close() {{ open.sources.delete(this); super.close(); }}
  }};
  window.until = async (isSo) => {{
    const end = Date.now() + 8000;
    while (!(await isSo())) {{
      if (Date.now() > end) throw new Error("never: " + isSo);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }}
  }};
  window.isReady = true;
</script>"""


async def bare(open_page: OpenPage, server_url: str) -> Page:
    page = await open_page(BARE.format(server=server_url))
    await holds(page, "window.isReady", polling_ms=50)
    return page


async def test_an_element_comes_moves_and_goes(open_page: OpenPage, server_url: str) -> None:
    page = await bare(open_page, server_url)
    result = await page.evaluate("""async () => {
        const session = await createSession({ server });
        const subscribers = async () => (await session.describe()).subscribers;
        const [main, aside] = document.querySelectorAll("main, aside");

        // Two on one page: one of the object, one as its HTML says.
        const first = document.createElement("musetalk-avatar");
        first.session = session;
        main.append(first);
        aside.innerHTML = `<musetalk-avatar server="${server}" session="${session.sessionId}">`;
        const second = aside.firstChild;
        const states = [];
        for (const each of [first, second]) {
          each.addEventListener("state", ({ detail }) => states.push(detail.state));
        }
        await until(() => states.filter((state) => state === "idle").length === 2);
        await until(async () => (await subscribers()) === 2);

        // Within a framework's own shadow root; what is inside of it stays, and its players, too.
        const host = document.createElement("div");
        main.append(host);
        const shadow = host.attachShadow({ mode: "closed" });
        const { debug } = first;
        shadow.append(first);
        await new Promise((resolve) => setTimeout(resolve, 100));
        const isSame = debug !== null && first.debug.session_id === debug.session_id
          && first.debug.state === "idle" && states.length === 2;

        const before = openThings();
        first.remove();
        aside.replaceChildren();
        await until(async () => (await subscribers()) === 0);
        const after = openThings();

        // And back again, with another session.
        const other = await openSession({ server, sessionId: session.sessionId });
        first.session = other;
        main.append(first);
        await until(() => first.debug?.state === "idle");
        await until(async () => (await subscribers()) === 1);
        first.session = null;
        await until(async () => (await subscribers()) === 0);
        await session.close();

        const over = new Promise((resolve) => {
          first.addEventListener("closed", ({ detail }) => resolve(detail.reason));
        });
        first.session = session.sessionId;
        first.server = server;
        const reason = await over;
        first.session = undefined; // frameworks

        // What is set before its class is there.
        const early = document.implementation.createHTMLDocument().createElement("musetalk-avatar");
        Object.assign(early, { server: "https://avatar.example/talk", session: session.document });
        const asked = new Promise((resolve) => {
          window.fetch = (url) => (resolve(String(url)), new Promise(() => {}));
        });
        early.session = "abc";
        main.append(early);
        return { isSame, before, after, light: document.querySelectorAll("[id]").length,
                 reason, unset: first.session, asked: await asked };
    }""")
    assert result["isSame"], "an element that is moved plays on"
    assert result["before"]["sources"] == 2
    assert result["before"]["timers"] >= 4
    assert result["after"] == {"timers": 0, "urls": 0, "sources": 0}
    assert result["light"] == 0, "no ids in the page's own tree"
    assert result["reason"] == "gone"
    assert result["unset"] is None
    assert result["asked"] == "https://avatar.example/talk/sessions/abc"


@needs_packages
async def test_a_bundled_app(open_page: OpenPage, site: tuple[str, Path], server_url: str) -> None:
    _, folder = site
    await install_web(folder)
    program = f"""
        import {{ createSession }} from "@musetalk-stream/web";
        const avatar = document.querySelector("musetalk-avatar");
        window.errors = [];
        avatar.addEventListener("error", ({{ detail }}) => errors.push(detail.code));
        avatar.addEventListener("ready", () => {{ window.isReady = true; }});
        avatar.session = "an id alone";
        window.session = await createSession({{ server: "{server_url}" }});
        avatar.session = session;
    """
    (folder / "app.js").write_text(program)
    esbuild = str(TOOLS / ".bin/esbuild")
    await run(esbuild, "app.js", "--bundle", "--format=esm", "--outfile=out.js", cwd=folder)
    script = '<script type="module" src="out.js"></script>'
    page = await open_page(f"<!doctype html><musetalk-avatar></musetalk-avatar>{script}")
    await holds(page, "window.isReady", polling_ms=50)
    assert await page.evaluate("window.errors") == ["no_server"]
    await page.evaluate("session.close()")


async def test_streams_are_refused_and_aborted(open_page: OpenPage, server_url: str) -> None:
    async def login(route: Route) -> None:  # as networks say that one has to log in
        headers = {"Access-Control-Allow-Origin": "*"}
        await route.fulfill(headers=headers, content_type="text/html", body="<h1>Sign in</h1>")

    page = await bare(open_page, server_url)
    await page.route("**/login/**", login)
    result = await page.evaluate("""async () => {
        const session = await createSession({ server, onBusy: "reject" });
        const format = { rate: 16000 };
        const second = new Int16Array(16000).fill(1000);
        const failure = (promise) => promise.then(() => null, ({ code, name }) => code || name);
        const found = {};

        found.rate = await failure(session.streamAudio({ format: { rate: 1 } }));
        found.neither = await failure(session.streamAudio({}));

        const writer = await session.streamAudio({ format });
        found.transport = writer.transport;
        await writer.write(second);
        const { requestId } = await writer.accepted;
        found.busy = await failure(
          session.streamAudio({ format, source: [second, second, second, second] }));
        await writer.abort();
        found.aborted = await failure(writer.write(second));
        await until(async () => (await session.utterance(requestId)).status === "cancelled");

        const over = new AbortController();
        const other = await session.streamAudio({ format, signal: over.signal });
        await other.write(second);
        await other.accepted;
        over.abort();
        found.signal = await failure(other.end());
        await until(async () => (await session.describe()).state === "idle");

        // A file as it comes: an upload in browsers.
        const bytes = new Uint8Array([1, 2, 3]);
        const upload = await session.streamAudio({ contentType: "audio/webm" });
        await upload.write(bytes);
        found.upload = [upload.transport, await failure(upload.end())];

        found.none = await failure((await session.streamAudio({ format })).end());
        const last = await session.streamAudio({ format });
        await last.write(second);
        await last.accepted;
        await session.close();
        found.gone = await failure(last.end());
        found.closed = await failure(session.streamAudio({ format }));
        found.upload_gone = await failure(
          session.sendAudio(new Blob([bytes]), { onProgress() {} }));
        const stopped = AbortSignal.abort();
        found.stopped = await failure(
          session.sendAudio(bytes, { onProgress() {}, signal: stopped }));
        const { document } = session;
        const login = new session.constructor({ server: `${server}/login/`, document });
        found.login = await failure(login.sendAudio(bytes, { onProgress() {} }));
        return found;
    }""")
    assert result == {
        "rate": "invalid_parameter",
        "neither": "TypeError",
        "transport": "websocket",
        "busy": "stream_active",
        "aborted": "aborted",
        "signal": 20,  # DOMException.ABORT_ERR
        "upload": ["upload", "unsupported_audio"],
        "none": "empty_audio",
        "gone": "session_gone",
        "closed": "session_gone",
        "upload_gone": "session_gone",
        "stopped": 20,
        "login": "not_json",
    }
