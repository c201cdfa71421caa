"""The start page: a face at once, sounds in by every way, and everything in sight."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from player_driver import Proxy, tone
from playwright.async_api import Browser, Page, Playwright, Route

from benchmarks.browser import ALOUD, CHROMIUM, FLAGS, holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DROP = """
([bytes, name]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, { type: "audio/wav" }));
  const send = (type) => window.dispatchEvent(
    new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
  send("dragenter");
  const veil = !document.getElementById("drop").hidden;
  send("drop");
  return veil;
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talkative_browser(playwright: Playwright) -> AsyncIterator[Browser]:
    """Chromium with a microphone that beeps."""
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    browser = await playwright.chromium.launch(
        executable_path=CHROMIUM, args=[*FLAGS, ALOUD, *flags]
    )
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def start_page(talkative_browser: Browser, server_url: str) -> AsyncIterator[Page]:
    context = await talkative_browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(server_url)
    await until_state(page, "idle")
    yield page
    await page.goto("about:blank")  # which deletes its session
    await context.close()
    assert errors == []


async def until_state(page: Page, state: str) -> None:
    await holds(
        page,
        "(state) => document.getElementById('state').textContent === state",
        arg=state,
        timeout_ms=30_000,
        polling_ms=50,
    )


async def until_logged(page: Page, name: str) -> None:
    await holds(
        page,
        """(name) => [...document.querySelectorAll("#log b")]
            .some((entry) => entry.textContent === name)""",
        arg=name,
        timeout_ms=30_000,
        polling_ms=50,
    )


async def until_another_session(page: Page, before: str | None) -> None:
    """Until the player shows another page than `before`; the log is cleared with the change."""
    await holds(
        page,
        "(before) => document.getElementById('player').getAttribute('src') !== before",
        arg=before,
        polling_ms=50,
    )


async def test_a_dropped_file_is_spoken(start_page: Page) -> None:
    assert await start_page.evaluate(DROP, [list(tone(1.2)), "hello.wav"])
    await until_logged(start_page, "speech_started")
    await until_logged(start_page, "speech_ended")
    await until_state(start_page, "idle")
    assert (await start_page.inner_text("#figure-delay")).endswith("ms")
    assert await start_page.inner_text("#figure-duration") == "1.2 s"

    links = await start_page.eval_on_selector_all("#log a", "(links) => links.map((a) => a.href)")
    assert len(links) == int(await start_page.inner_text("#figure-chunks"))
    # Each plays alone.
    played = await start_page.evaluate(
        """async (url) => {
            const video = document.createElement("video");
            video.muted = true;
            video.src = url;
            await video.play();
            await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
            return video.videoWidth;
        }""",
        links[-1],
    )
    assert played == 512


async def test_a_chosen_file_and_new_settings(start_page: Page) -> None:
    await start_page.click("#settings-details summary")
    await start_page.fill("input[name=fps]", "15")
    before = await start_page.get_attribute("#player", "src")
    await start_page.click("#settings button[type=submit]")
    await until_another_session(start_page, before)
    await until_logged(start_page, "ready")
    file = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(0.8)}
    await start_page.set_input_files("#file", file)  # type: ignore[arg-type]
    await until_logged(start_page, "speech_ended")
    assert "at 15 fps" in await start_page.inner_text("#log")
    assert "fps=15" in await start_page.inner_text("#curl")


async def test_a_recording_is_spoken(start_page: Page) -> None:
    await start_page.click("#record")
    await start_page.wait_for_selector("#record[aria-pressed=true]")
    await asyncio.sleep(1)
    await start_page.click("#record")
    await until_logged(start_page, "speech_started")
    await until_logged(start_page, "speech_ended")


async def test_a_file_that_is_no_sound_is_refused_in_words(start_page: Page) -> None:
    file = {"name": "notes.mp3", "mimeType": "audio/mpeg", "buffer": b"only text" * 50}
    await start_page.set_input_files("#file", file)  # type: ignore[arg-type]
    await start_page.wait_for_selector("#problem:not([hidden])")
    assert await start_page.inner_text("#problem-code") in ("unsupported_audio", "damaged_audio")
    assert len(await start_page.inner_text("#problem-detail")) > 10
    assert not await start_page.is_visible("#problem-retry")
    await start_page.click("#problem-dismiss")
    # The session is as good as before.
    file = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(0.6)}
    await start_page.set_input_files("#file", file)  # type: ignore[arg-type]
    await until_logged(start_page, "speech_ended")


async def test_a_refused_upload_leaves_the_figures_of_the_last_one(start_page: Page) -> None:
    sound = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(0.6)}
    await start_page.set_input_files("#file", sound)  # type: ignore[arg-type]
    await until_logged(start_page, "speech_ended")
    before = await start_page.inner_text("#headline")
    assert "ms" in before
    text = {"name": "notes.mp3", "mimeType": "audio/mpeg", "buffer": b"only text" * 50}
    await start_page.set_input_files("#file", text)  # type: ignore[arg-type]
    await start_page.wait_for_selector("#problem:not([hidden])")
    assert await start_page.inner_text("#headline") == before
    # What went wrong before is nothing to the next session.
    await start_page.click("#delete")
    await start_page.click("#no-session-new")
    await until_state(start_page, "idle")
    assert not await start_page.is_visible("#problem")


async def test_a_problem_is_in_sight(start_page: Page) -> None:
    for width, height in ((390, 844), (1280, 800)):
        await start_page.set_viewport_size({"width": width, "height": height})
        await start_page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        text = {"name": "notes.mp3", "mimeType": "audio/mpeg", "buffer": b"only text" * 50}
        await start_page.set_input_files("#file", text)  # type: ignore[arg-type]
        await start_page.wait_for_selector("#problem:not([hidden])")
        box = await start_page.locator("#problem").bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        await start_page.click("#problem-dismiss")


async def test_two_clicks_open_one_session(start_page: Page) -> None:
    created: list[str] = []
    start_page.on(
        "request", lambda it: created.append(it.url) if it.url.endswith("/create") else None
    )
    await start_page.click("#settings-details summary")
    before = await start_page.get_attribute("#player", "src")
    await start_page.dblclick("#settings button[type=submit]")
    await until_another_session(start_page, before)
    await until_logged(start_page, "ready")
    assert len(created) == 1


COUNT_STREAMS = """
(() => {
  window.streams = [];
  const devices = navigator.mediaDevices;
  const ask = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    window.streams.push(stream);
    return stream;
  };
})()
"""


async def test_two_clicks_make_one_recording(start_page: Page) -> None:
    await start_page.evaluate(COUNT_STREAMS)
    await start_page.evaluate(
        "(id) => { for (const _ of [1, 2]) document.getElementById(id).click(); }", "record"
    )
    await start_page.wait_for_selector("#record[aria-pressed=true]")
    await start_page.click("#record")
    await start_page.wait_for_selector("#record[aria-pressed=false]")
    states = await start_page.evaluate(
        "streams.map((stream) => stream.getTracks().map((track) => track.readyState))"
    )
    assert states == [["ended"]]


async def test_figures_that_do_not_change_can_be_selected(start_page: Page) -> None:
    await start_page.click("#stats-details summary")
    await start_page.wait_for_selector("#stats dd")
    place = await start_page.query_selector("#stats dd")
    assert place is not None
    async with start_page.expect_response(lambda it: "/sessions/" in it.url):
        pass
    assert await place.evaluate("(place) => place.isConnected")


async def test_the_command_line_follows_the_form(start_page: Page) -> None:
    await start_page.click("#settings-details summary")
    await start_page.fill("input[name=trailing_silence]", "0.5")
    assert "trailing_silence=0.5" in await start_page.inner_text("#curl")
    await start_page.fill("input[name=fps]", "5000")
    assert "5000" not in await start_page.inner_text("#settings-summary")


async def test_tab_stops_once_in_the_log_and_arrows_move_in_it(start_page: Page) -> None:
    await until_logged(start_page, "ready")
    stops = start_page.locator("#log summary[tabindex='0']")
    assert await stops.count() == 1
    await stops.focus()
    await start_page.keyboard.press("Home")
    first = start_page.locator("#log summary").first
    assert await first.evaluate("(row) => row === document.activeElement")
    assert await stops.count() == 1


async def test_events_go_on_after_a_bad_gateway(start_page: Page) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=502, body="bad gateway")

    # Once for the page, once for the player in it.
    await start_page.route("**/events*", refuse, times=2)
    await start_page.click("#settings-details summary")
    await start_page.click("#settings button[type=submit]")
    await until_logged(start_page, "disconnected")
    await start_page.wait_for_selector("#log li.server")
    file = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(0.6)}
    await start_page.set_input_files("#file", file)  # type: ignore[arg-type]
    await until_logged(start_page, "complete")


async def test_delete_and_begin_again(start_page: Page) -> None:
    await start_page.click("#delete")
    await start_page.wait_for_selector("#no-session:not([hidden])")
    for gone in ("#player", "#open-player", "#curl li"):
        assert not await start_page.is_visible(gone)
    await start_page.click("#no-session-new")
    await until_state(start_page, "idle")
    assert not await start_page.is_visible("#no-session")


async def test_leaving_deletes_the_session(start_page: Page, api: httpx.AsyncClient) -> None:
    url = await start_page.get_attribute("#player", "src")
    assert url is not None
    session = "/sessions/" + url.rsplit("/", 1)[1]
    assert (await api.get(session)).status_code == 200
    async with api.stream("GET", session + "/events") as events:
        await start_page.goto("about:blank")
        async with asyncio.timeout(20):
            lines = [line async for line in events.aiter_lines()]  # ends with the session
    assert '"deleted"' in "".join(lines)
    assert (await api.get(session)).status_code in (404, 410)


async def test_nothing_sticks_out(start_page: Page) -> None:
    await start_page.evaluate(
        "for (const details of document.querySelectorAll('details')) details.open = true"
    )
    for width, height in ((390, 844), (844, 390), (1280, 800), (1920, 1080)):
        await start_page.set_viewport_size({"width": width, "height": height})
        sizes = await start_page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert sizes[0] <= sizes[1]
        box = await start_page.locator("#player").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height
        assert box["height"] >= 180


async def test_the_microphone_is_spoken_while_it_is_heard(start_page: Page) -> None:
    await start_page.click("#live")
    await start_page.wait_for_selector("#live[aria-pressed=true]")
    await until_state(start_page, "speaking")
    assert await start_page.get_attribute("#live", "aria-pressed") == "true"
    await start_page.click("#live")
    await start_page.wait_for_selector("#live[aria-pressed=false]")
    await until_logged(start_page, "ended")
    await until_logged(start_page, "speech_ended")
    await until_state(start_page, "idle")
    assert not await start_page.is_visible("#problem")


LISTEN = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args);
    window.sockets.push(this);
  }
};
window.microphones = [];
window.AudioWorkletNode = class extends AudioWorkletNode {
  constructor(...args) {
    super(...args);
    window.microphones.push(this);
  }
};
"""


async def live(page: Page) -> None:
    """Until the microphone is open; what it opens is counted from here on."""
    await page.evaluate(LISTEN + COUNT_STREAMS)
    await page.click("#live")
    await page.wait_for_selector("#live[aria-pressed=true]")


async def until_nothing_is_open(page: Page) -> None:
    await page.wait_for_selector("#live[aria-pressed=false]")
    await holds(
        page,
        """sockets.every(({ readyState }) => readyState === WebSocket.CLOSED) &&
            streams.every((it) => it.getTracks().every(({ readyState }) => readyState === "ended"))
        """,
        polling_ms=50,
        timeout_ms=30_000,
    )


async def test_live_that_ends_at_once_leaves_nothing_open(start_page: Page) -> None:
    await start_page.evaluate(
        """new MutationObserver(([{ target }], observer) => {
            if (target.getAttribute("aria-pressed") !== "true") return;
            observer.disconnect();
            target.click();
        }).observe(document.getElementById("live"), { attributes: true })"""
    )
    await start_page.evaluate(LISTEN + COUNT_STREAMS)
    await start_page.click("#live")
    await holds(start_page, "window.sockets.length > 0")
    await until_nothing_is_open(start_page)
    assert not await start_page.is_visible("#problem")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("disconnected", None),
        ("microphone_ended", "streams[0].getTracks()[0].dispatchEvent(new Event('ended'))"),
        (
            "too_far_behind",
            "microphones[0].port.dispatchEvent("
            "new MessageEvent('message', { data: new ArrayBuffer(2 ** 21) }))",
        ),
    ],
)
async def test_live_says_why_it_ended(
    proxy: Proxy, start_page: Page, code: str, cause: str | None
) -> None:
    await start_page.goto(proxy.url)
    await until_state(start_page, "idle")
    await live(start_page)
    await until_logged(start_page, "accepted")
    if cause is None:
        proxy.cut()
    else:
        await start_page.evaluate(cause)
    await start_page.wait_for_selector("#problem:not([hidden])")
    assert await start_page.inner_text("#problem-code") == code
    await until_nothing_is_open(start_page)


async def test_a_new_session_while_live(start_page: Page) -> None:
    await live(start_page)
    await until_state(start_page, "speaking")
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await start_page.route("**/sessions/create", hold)
    await start_page.click("#settings-details summary")
    before = await start_page.get_attribute("#player", "src")
    await start_page.click("#settings button[type=submit]")
    await until_nothing_is_open(start_page)
    assert await start_page.is_disabled("#interrupt")
    held.set()
    await until_another_session(start_page, before)
    await until_state(start_page, "idle")
    assert await start_page.inner_text("#problem-detail") == ""


async def test_figures_and_try_again_are_of_the_one_that_is_heard(start_page: Page) -> None:
    for seconds, name in ((4, "first.wav"), (0.8, "second.wav")):
        await start_page.evaluate(DROP, [list(tone(seconds)), name])
        row = start_page.locator("#log li", has_text=name)
        await row.wait_for()
    await until_state(start_page, "speaking")
    assert await start_page.inner_text("#figure-duration") == "4.0 s"
    await until_state(start_page, "idle")
    assert await start_page.inner_text("#figure-duration") == "0.8 s"
    assert (await start_page.inner_text("#figure-delay")).endswith("ms")
    uploads = start_page.locator("#log li.page", has_text="first.wav")
    first = json.loads(await uploads.locator("pre").text_content() or "")["request_id"]
    retry = {"source": "musetalk-player", "type": "retry", "request_id": first}
    await start_page.frames[1].evaluate("(message) => parent.postMessage(message, '*')", retry)
    await uploads.nth(1).wait_for()


async def test_what_waits_is_interrupted_too(start_page: Page) -> None:
    assert await start_page.is_disabled("#interrupt")
    for _ in range(2):
        await start_page.evaluate(DROP, [list(tone(3)), "long.wav"])
        await until_logged(start_page, "uploaded")
    await until_state(start_page, "speaking")
    await start_page.click("#interrupt")
    await until_logged(start_page, "interrupted")
    await until_state(start_page, "idle")
    assert await start_page.is_disabled("#interrupt")
    assert not await start_page.is_visible("#problem")


async def test_sound_that_comes_meanwhile_is_refused_where_that_is_wanted(
    start_page: Page,
) -> None:
    await start_page.click("#settings-details summary")
    await start_page.select_option("#on-busy", "reject")
    await start_page.evaluate(DROP, [list(tone(20)), "long.wav"])
    await until_state(start_page, "speaking")
    await start_page.evaluate(DROP, [list(tone(1)), "other.wav"])
    await start_page.wait_for_selector("#problem:not([hidden])")
    assert "stream_active" in await start_page.inner_text("#problem-code")
