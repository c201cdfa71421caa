"""Chromium on the player page of a session."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Error, Frame, Page, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Pages may play sound unasked, as a WebView is configured to.
ALOUD = "--autoplay-policy=no-user-gesture-required"

# Upload from within the page, so that one clock measures everything.
SPEAK = """async ([url, sound]) => {
  const bytes = Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0));
  const form = new FormData();
  form.append("audio_file", new Blob([bytes]), "sound.wav");
  const before = performance.now();
  const answer = await fetch(url, { method: "POST", body: form });
  if (!answer.ok) throw new Error(await answer.text());
  return before;
}"""


async def holds(
    page: Page | Frame,
    condition: str,
    *,
    arg: Any = None,
    timeout_ms: float = 30_000,
    polling_ms: int = 50,
) -> None:
    """Until a condition in JavaScript holds on a page. Raises TimeoutError.

    Playwright's own way has the page evaluate text, which our pages' policy does not let pass.
    """
    until_s = time.monotonic() + timeout_ms / 1000
    while not await _is_so(page, condition, arg):
        if time.monotonic() > until_s:
            raise TimeoutError(f"in {timeout_ms / 1000:g} s never: {condition} of {arg}")
        await asyncio.sleep(polling_ms / 1000)


async def _is_so(page: Page | Frame, condition: str, arg: Any) -> bool:
    try:
        return bool(await page.evaluate(condition, arg))
    except Error as error:
        if "context was destroyed" in str(error):  # the page is another one by now
            return False
        raise


@asynccontextmanager
async def player_page(url: str, session_id: str) -> AsyncIterator[Page]:
    """The player, with its placeholder on the screen."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, ALOUD])
        # What measures runs in the page, too, beside what its policy lets pass.
        page = await browser.new_page(viewport={"width": 512, "height": 512}, bypass_csp=True)
        await page.goto(f"{url}/player/session/{session_id}")
        await holds(page, "window.musetalkPlayer?.state === 'idle'")
        yield page
        await browser.close()
