"""Chromium on the player page of a session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright

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


@asynccontextmanager
async def player_page(url: str, session_id: str) -> AsyncIterator[Page]:
    """The player, with its placeholder on the screen."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, ALOUD])
        page = await browser.new_page(viewport={"width": 512, "height": 512})
        await page.goto(f"{url}/player/session/{session_id}")
        await page.wait_for_function("window.musetalkPlayer?.state === 'idle'")
        yield page
        await browser.close()
