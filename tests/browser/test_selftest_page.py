"""The page that says whether avatars play on a device."""

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = ViewportSize(width=390, height=844)


async def report_of(page: Page, server_url: str) -> str:
    """The report, once the test is over."""
    await page.goto(f"{server_url}/player/selftest")
    await page.click("#start:enabled")
    await page.wait_for_selector("#verdict[data-level]", timeout=40_000)
    await page.click("#copy")
    return await page.input_value("#report")


async def test_it_speaks_and_reports(
    browser: Browser, server_url: str, api: httpx.AsyncClient
) -> None:
    context = await browser.new_context(viewport=PHONE, permissions=["clipboard-write"])
    page = await context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    report = await report_of(page, server_url)
    for line in (
        "MediaSource: yes, with H.264 and AAC",
        "Muted before a tap: allowed",
        "Sound before a tap: allowed",
        "WebSocket: yes",
        "EventSource: yes",
        "Played by: MediaSource",
        "Played: 3.00 of 3.00 s, complete",
        "Buffered after a second: 0.00",
        "Sound: heard, up to 0.",
    ):
        assert line in report
    assert "Verdict: Avatars play on this device" in report
    assert await page.get_attribute("#verdict", "data-level") in ("good", "limited")
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for button in ("#start", "#copy"):
        box = await page.locator(button).bounding_box()
        assert box is not None
        assert box["height"] >= 48
    # Nothing stays behind.
    assert await page.evaluate("document.querySelector('musetalk-avatar')") is None
    session_ids = await page.evaluate(
        """performance.getEntriesByType("resource").map(({ name }) => name)
            .filter((name) => name.endsWith("/events")).map((name) => name.split("/").at(-2))"""
    )
    assert len(session_ids) == 1
    assert (await api.get(f"/sessions/{session_ids[0]}")).status_code == 410
    assert failures == []
    await context.close()


NOTHING_PLAYS = """
delete window.MediaSource; delete window.ManagedMediaSource; delete window.WebSocket;
HTMLMediaElement.prototype.canPlayType = () => "";
HTMLCanvasElement.prototype.getContext = () => { throw new Error("Not for you."); };
"""


async def test_what_does_not_play_is_said(browser: Browser, server_url: str) -> None:
    context = await browser.new_context(viewport=PHONE)
    page = await context.new_page()
    await page.add_init_script(NOTHING_PLAYS)
    await page.route("**/healthz", lambda route: None)  # no answer, ever
    await page.route("**/sessions/*/stream*", lambda route: route.abort())
    report = await report_of(page, server_url)
    assert "Avatars do not play on this device." in report
    assert "unsupported_browser" in report
    assert "MediaSource: no" in report
    assert "WebSocket: no" in report
    assert "WebGL: could not be asked: Not for you." in report
    assert "Clock: no answer" in report

    full = {"title": "Too many sessions", "detail": "At most 3 at a time.", "status": 503,
            "code": "too_many_sessions"}  # fmt: skip
    await page.route("**/sessions/create", lambda route: route.fulfill(status=503, json=full))
    await page.click("#start")
    await page.get_by_text("At most 3 at a time.").wait_for()
    assert await page.is_enabled("#start")
    await context.close()
