"""The player and the start page with the MuseTalk renderer behind them: real networks of a small
size, whose faces are noise."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from conftest import OpenPlayer
from fakes import make_avatar_folder
from player_driver import assert_played_once_in_order, tone
from playwright.async_api import Browser, ConsoleMessage
from servers import start_process

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FPS = 10  # what two cores make while they also show it


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """In the place of the one with the built-in renderer."""
    folder = tmp_path_factory.mktemp("musetalk")
    make_avatar_folder(folder / "store", "tiny", size=256)
    flags = [
        *("--renderer", "musetalk", "--models-dir", str(models), "--device", "cpu"),
        *("--avatar", "tiny", "--max-batch", "4", "--capacity-fps", "100"),
    ]
    with start_process(folder, folder / "store", *flags) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            yield client
        assert "Traceback" not in server.log


@pytest.mark.alone
async def test_speech_is_played_whole_and_then_it_idles(open_player: OpenPlayer) -> None:
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    player = await open_player(settings={"fps": FPS, "chunk_duration": 1}, on_console=listen)
    for count in (1, 2):
        request_id = await player.speak(tone(1.6))
        await player.until_spoken(count)
        await assert_played_once_in_order(player, request_id, seconds=1.6, fps=FPS)
    assert said == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
async def test_the_start_page_speaks(
    browser: Browser, api: httpx.AsyncClient, tmp_path: Path, width: int, height: int
) -> None:
    page = await browser.new_page(viewport={"width": width, "height": height})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda it: said.append(it.text) if it.type == "error" else None)
    await page.goto(str(api.base_url))
    state = page.locator("#state")
    await state.get_by_text("idle", exact=True).wait_for()
    sound = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(1.2)}
    await page.set_input_files("#file", sound)  # type: ignore[arg-type]
    await state.get_by_text("speaking", exact=True).wait_for()
    await page.screenshot(path=tmp_path / f"speaking-{width}.png")
    await page.locator("#log b", has_text="speech_ended").first.wait_for()
    await state.get_by_text("idle", exact=True).wait_for()
    assert await page.inner_text("#figure-duration") == "1.2 s"
    assert not await page.is_visible("#problem")
    await page.goto("about:blank")  # which deletes its session
    await page.close()
    assert said == []
