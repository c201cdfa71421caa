"""What strangers may put into names and texts is shown by every page, and never run by one."""

import io
import json
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.async_api import Browser, ConsoleMessage, Page
from servers import start_process

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Out of an element, out of a script, out of an attribute, and what turns the writing around.
HOSTILE = "<img src=x onerror=pwned()></script><script>pwned()</script>'\" onload=pwned() \u202egpj"
SEEN = "<img src=x onerror=pwned()>"
WATCH = """self.pwned = () => console.error("pwned");
addEventListener("securitypolicyviolation", (event) =>
  console.error(`violation: ${event.violatedDirective} ${event.blockedURI}`));"""


async def test_what_is_hostile_is_only_text(
    browser: Browser, own_store: Path, tmp_path: Path
) -> None:
    """An avatar's name, a file's, a user's id, and what errors repeat."""
    manifest = own_store / "tiny" / "avatar.json"
    written = json.loads(manifest.read_text()) | {"name": HOSTILE, "licence": HOSTILE}
    manifest.unlink()  # the store is made of links to another's
    manifest.write_text(json.dumps(written))
    flags = ("--avatar", "tiny", "--capacity-fps", "100000")
    context = await browser.new_context()
    await context.add_init_script(WATCH)
    page, said = await context.new_page(), list[str]()
    page.on("console", lambda message: _hear(message, said))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        with start_process(tmp_path, own_store, *flags) as server:
            await _visit(page, server.url)
    finally:
        await context.close()
    assert not [each for each in said if "pwned" in each or "violation" in each]


def _hear(message: ConsoleMessage, said: list[str]) -> None:
    if message.type == "error":
        said.append(message.text)


async def _visit(page: Page, url: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (320, 320), "grey").save(picture, "png")
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        created = await client.post("/sessions/create", json={"user_id": HOSTILE})
        files = {"file": (f"{SEEN}.png", picture.getvalue(), "image/png")}
        job = await client.post("/avatars", files=files, data={"name": HOSTILE})
        assert job.status_code == 202, job.text

    await page.goto(url + created.json()["player_url"])
    await page.wait_for_selector("musetalk-avatar")
    assert SEEN in await page.title()

    await page.goto(url)
    await page.wait_for_selector("#avatar option", state="attached")
    assert SEEN in (await page.text_content("#avatar") or "")
    await page.wait_for_selector("iframe#player[src]")

    await page.goto(f"{url}/avatars")
    await page.wait_for_selector("#jobs li, #gallery .avatar")
    await page.get_by_text(SEEN).first.wait_for()

    for path in ("%3Cscript%3Epwned()%3C%2Fscript%3E", "..%2F..%2Fetc%2Fpasswd", "\u202e"):
        for begin in ("/player/session/", "/avatars/", "/nowhere/"):
            await page.goto(f"{url}{begin}{path}?x=<script>pwned()</script>")
            shown = await page.text_content("body") or ""
            assert "root:" not in shown
