"""The page of avatars: a picture in, somebody looks at the face, and an avatar that speaks."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
from fakes import make_avatar_folder
from pictures import write_video
from player_driver import tone
from playwright.async_api import Browser, FilePayload, Locator, Page, expect
from servers import free_port, start_process
from skimage import data

from benchmarks.browser import holds

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Bgr = npt.NDArray[np.uint8]  # [H, W, 3]
OpenPage = Callable[..., Awaitable[Page]]

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
MARKUP = "<img src=x onerror=document.title='run'>"
TAKEN = re.compile("Next in line|Starting|Reading|Looking")  # the file is with the server
PATIENCE_MS = 60_000  # a face finder needs seconds to start, on a busy machine more of them

DROP = """
([bytes, name, type]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const what of ["dragenter", "drop"]) {
    window.dispatchEvent(
      new DragEvent(what, { dataTransfer: files, bubbles: true, cancelable: true }));
  }
}
"""


def jpeg(picture: Bgr) -> bytes:
    is_written, data = cv2.imencode(".jpg", picture)
    assert is_written
    return data.tobytes()


def head(side: int) -> Bgr:
    """Eileen Collins: her face is 29 % of the width, in the middle at 45 % and 41 %."""
    crop = np.asarray(data.astronaut()[:320, 80:400, ::-1], np.uint8)
    return np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def portrait() -> bytes:
    return jpeg(head(256))


def nobody() -> bytes:
    return jpeg(np.full((240, 320, 3), 110, np.uint8))


def two_people() -> bytes:
    """The larger on the left."""
    picture = np.full((256, 480, 3), 110, np.uint8)
    picture[:, :256] = head(256)
    picture[20:244, 256:] = head(224)
    return jpeg(picture)


@pytest.fixture(scope="module")
def avatars_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with avatars of its own, which tests make and delete."""
    folder = tmp_path_factory.mktemp("avatars-page")
    for avatar_id in ("doomed", "watched"):
        make_avatar_folder(folder / "avatars", avatar_id)
    with start_process(folder, folder / "avatars", "--capacity-fps", "100000") as running:
        yield running.url
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def blind_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that can't find faces: the weights that it is told to use are not there."""
    folder = tmp_path_factory.mktemp("blind")
    flags = ("--capacity-fps", "100000", "--face-finder", "dwpose", "--models-dir", str(folder))
    with start_process(folder, folder / "avatars", *flags) as running:
        yield running.url


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, avatars_url: str) -> AsyncIterator[OpenPage]:
    """Opens pages of avatars; afterwards none may have raised an error."""
    errors: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_one(url: str = avatars_url, **options: Any) -> Page:
            context = await browser.new_context(**{"viewport": DESK, **options})
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(f"{url}/avatars")
            await page.wait_for_selector("#gallery .avatar")
            return page

        yield open_one
    assert errors == []


async def choose(page: Page, picture: bytes, name: str = "portrait.jpg") -> None:
    file = {"name": name, "mimeType": "image/jpeg", "buffer": picture}
    await page.set_input_files("#file", file)  # type: ignore[arg-type]
    await press(page, "Make the avatar")


def video_file(content: bytes, name: str = "film.mp4") -> FilePayload:
    return {"name": name, "mimeType": "video/mp4", "buffer": content}


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


async def press(page: Page, name: str) -> None:
    await button(page, name).click()


async def shown_at(locator: Locator) -> tuple[float, float, float, float]:
    """Left, top, right, bottom on the screen."""
    box = await locator.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


async def jobs(url: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url) as client:
        found: list[dict[str, Any]] = (await client.get("/jobs")).json()["jobs"]
        return found


async def avatar_ids(url: str) -> set[str]:
    async with httpx.AsyncClient(base_url=url) as client:
        return {avatar["id"] for avatar in (await client.get("/avatars")).json()["avatars"]}


async def until_drawn(page: Page) -> Locator:
    """Until a finding is to be looked at; its landmarks on the screen."""
    await expect(page.locator(".approval .picture .dots")).to_be_visible(timeout=PATIENCE_MS)
    await holds(page, "document.querySelector('.approval .picture img').complete")
    return page.locator(".approval .picture .dots")


async def assert_nothing_sticks_out(page: Page) -> None:
    sizes = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] <= sizes[1]


async def test_a_dropped_portrait_is_looked_at_and_speaks(
    open_page: OpenPage, avatars_url: str
) -> None:
    page = await open_page()
    await page.evaluate(DROP, [list(portrait()), "eileen_collins.jpg", "image/jpeg"])
    await expect(page.locator("#drop")).to_be_hidden()
    await expect(page.locator(".draft [name=name]")).to_have_value("Eileen collins")
    await page.fill(".draft [name=name]", "Eileen")
    await press(page, "Make the avatar")

    # The face is where the points are drawn, at every size of the page.
    points = await until_drawn(page)
    for viewport in (PHONE, DESK):
        await page.set_viewport_size(viewport)  # type: ignore[arg-type]
        await assert_nothing_sticks_out(page)
        left, top, right, bottom = await shown_at(page.locator(".approval .picture img"))
        at = await shown_at(points)
        middle_x = ((at[0] + at[2]) / 2 - left) / (right - left)
        middle_y = ((at[1] + at[3]) / 2 - top) / (bottom - top)
        assert abs(middle_x - 0.45) < 0.05
        assert abs(middle_y - 0.41) < 0.06
        assert abs((at[2] - at[0]) / (right - left) - 0.29) < 0.06
    await press(page, "Looks right")

    card = page.locator("#gallery .avatar", has_text="Eileen")
    await expect(card).to_be_visible(timeout=PATIENCE_MS)
    await expect(card.locator("text=Try it")).to_be_focused()
    await expect(page.locator("#making")).to_be_hidden()
    await expect(page.locator("#announcement")).to_have_text("Eileen is ready.")
    assert "eileen_collins" in {i.replace("-", "_") for i in await avatar_ids(avatars_url)}

    await page.keyboard.press("Enter")
    await page.wait_for_url("**/?avatar=*")
    avatar_id = page.url.split("=")[1]
    await expect(page.locator("#state")).to_have_text("idle", timeout=PATIENCE_MS)
    await expect(page.locator("#avatar")).to_have_value(avatar_id)
    sound = {"name": "hello.wav", "mimeType": "audio/wav", "buffer": tone(0.8)}
    await page.set_input_files("#file", sound)  # type: ignore[arg-type]
    await expect(page.locator("#log b", has_text="speech_ended")).to_be_attached()
    player = page.frames[1]
    assert "/player/session/" in player.url
    painted = await player.evaluate(
        "window.musetalkPlayer.frames.filter((frame) => frame.video === 'talk').length"
    )
    assert painted >= 5


async def test_without_a_face_it_is_marked_by_hand(open_page: OpenPage, avatars_url: str) -> None:
    page = await open_page(viewport=PHONE)
    await choose(page, nobody(), "nobody.jpg")
    failure = page.locator(".failure")
    await expect(failure).to_be_visible(timeout=PATIENCE_MS)
    assert await failure.get_attribute("role") == "alert"
    assert await failure.locator("code").inner_text() == "no_face"
    assert len(await failure.locator("[data-part=detail]").inner_text()) > 20
    await assert_nothing_sticks_out(page)

    await press(page, "Mark the face by hand")
    stage = page.locator(".box-stage")
    await stage.scroll_into_view_if_needed()
    left, top, right, bottom = await shown_at(stage)
    width, height = right - left, bottom - top
    await page.mouse.move(left + 0.02 * width, top + 0.02 * height)
    await page.mouse.down()
    await page.mouse.move(left + 0.05 * width, top + 0.1 * height)
    await page.mouse.up()
    await page.mouse.move(left + 0.3 * width, top + 0.2 * height)
    await page.mouse.down()
    await page.mouse.move(left + 0.5 * width, top + 0.6 * height)
    await page.mouse.move(left + 0.7 * width, top + 0.8 * height)
    await page.mouse.up()
    drawn = [
        float(await page.input_value(f".box-form [name={side}]"))
        for side in ("left", "top", "right", "bottom")
    ]
    assert drawn == pytest.approx([96, 48, 224, 192], abs=3)  # pixels of the file
    await press(page, "Use this box")
    # A hand-made box is taken, or refused in words, but not without a face to look at.
    points = await until_drawn(page)
    left, top, right, bottom = await shown_at(page.locator(".approval .picture img"))
    at = await shown_at(points)
    assert 0.25 < ((at[0] + at[2]) / 2 - left) / (right - left) < 0.75
    # The failed one is forgotten.
    assert [job["state"] for job in await jobs(avatars_url) if job["name"] == "Nobody"] == [
        "awaiting_approval"
    ]
    await press(page, "Cancel")
    await expect(page.locator("#making")).to_be_hidden()
    assert "Nobody" not in {job["name"] for job in await jobs(avatars_url) if job["preview"]}


async def test_without_a_face_finder_it_is_marked_by_the_keyboard(
    open_page: OpenPage, blind_url: str
) -> None:
    page = await open_page(blind_url)
    await choose(page, portrait())
    await expect(page.locator(".failure code")).to_have_text("face_finder_missing")
    await press(page, "Mark the face by hand")
    await expect(button(page, "Use this box")).to_be_focused()
    box = {"left": 70, "top": 65, "right": 160, "bottom": 145}
    await page.keyboard.press("Shift+Tab")
    for side, value in reversed(box.items()):
        assert await page.evaluate("document.activeElement.name") == side
        await page.keyboard.press("Control+A")
        await page.keyboard.type(str(value))
        await page.keyboard.press("Shift+Tab")
    stage = await shown_at(page.locator(".box-stage"))
    drawn = await shown_at(page.locator(".hand-box"))
    scale = (stage[2] - stage[0]) / 256
    assert [(drawn[i] - stage[i % 2]) / scale for i in range(4)] == pytest.approx(
        list(box.values()), abs=1
    )
    await press(page, "Use this box")
    await until_drawn(page)
    await press(page, "Use another picture")
    await expect(page.locator("#making")).to_be_hidden()


async def test_a_reload_goes_on_and_names_stay_text(open_page: OpenPage, avatars_url: str) -> None:
    page = await open_page()
    await choose(page, portrait(), f"{MARKUP}.jpg")
    await expect(page.locator(".making [data-part=words]")).to_have_text(TAKEN)
    await page.reload()
    card = page.locator(".making")
    await expect(card.locator("[data-part=name]").first).to_have_text(MARKUP)
    await until_drawn(page)
    await page.reload()  # while it waits for somebody
    await until_drawn(page)
    # In the words of the failure, too.
    await press(page, "Cancel")
    await expect(page.locator("#making")).to_be_hidden()
    await choose(page, b"only text" * 50, f"{MARKUP}.jpg")
    await expect(page.locator(".failure code")).to_have_text(
        re.compile("unsupported_media|damaged_media")
    )
    await expect(card).to_contain_text(MARKUP)
    await press(page, "Dismiss")
    await expect(page.locator("#making")).to_be_hidden()
    assert (await page.title()).startswith("Avatars")


async def test_another_face_is_taken_by_a_tap(open_page: OpenPage, avatars_url: str) -> None:
    page = await open_page()
    await choose(page, two_people(), "two.jpg")
    points = await until_drawn(page)
    left, _, right, _ = await shown_at(page.locator(".approval .picture img"))
    middle = (left + right) / 2
    assert (await shown_at(points))[2] < middle
    await page.click("[aria-label='Face 2 of 2']")
    await expect(page.locator(".approval")).to_have_attribute("aria-busy", "true")
    await expect(page.locator("[aria-label='Face 2 of 2, chosen']")).to_be_visible(
        timeout=PATIENCE_MS
    )
    assert (await shown_at(points))[0] > middle

    # Somebody else cancels it, and has the server forget it.
    job = next(job for job in await jobs(avatars_url) if job["name"] == "Two")
    async with httpx.AsyncClient(base_url=avatars_url) as client:
        for _ in range(2):
            assert (await client.delete(f"/jobs/{job['job_id']}")).status_code == 204
    await expect(page.locator(".failure code")).to_have_text("job_not_found")
    await press(page, "Dismiss")
    await expect(page.locator("#making")).to_be_hidden()


async def test_an_upload_is_cancelled_and_a_lost_one_sent_again(open_page: OpenPage) -> None:
    page = await open_page()
    held = asyncio.Event()

    async def hold(route: Any) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        held.set()

    await page.route("**/avatars", hold)
    await choose(page, portrait())
    await held.wait()
    bar = page.locator(".making [role=progressbar]")
    await expect(bar).to_be_visible()
    await expect(bar).to_have_attribute("aria-valuetext", re.compile("file"))
    await press(page, "Cancel")
    await expect(page.locator("#making")).to_be_hidden()
    await page.unroute("**/avatars")

    await page.route("**/avatars", lambda route: route.abort(), times=1)
    await choose(page, b"only text" * 50)
    await expect(page.locator(".failure code")).to_have_text("unreachable")
    await press(page, "Try again")
    await expect(page.locator(".failure code")).to_have_text(
        re.compile("unsupported_media|damaged_media")
    )
    await expect(button(page, "Try again")).to_have_count(0)


async def test_a_server_that_is_gone_is_told_and_waited_for(
    open_page: OpenPage, tmp_path: Path
) -> None:
    flags = ("--capacity-fps", "100000", "--port", str(free_port()))
    with start_process(tmp_path, tmp_path / "avatars", *flags) as running:
        page = await open_page(running.url)
        await choose(page, portrait(), "waits.jpg")
        await until_drawn(page)
        await choose(page, portrait(), "runs.jpg")
        words = page.locator(".making [data-part=words]")  # the newest first
        await expect(words.first).to_have_text(TAKEN)
        running.stop()
        no_answer = "No answer from the server; trying again…"
        await expect(words).to_have_text([no_answer, no_answer])
        problem = page.locator("#gallery-problem")
        await expect(problem).to_contain_text("can't be reached")
    with start_process(tmp_path, tmp_path / "avatars", *flags):
        await expect(words).to_have_text(2 * ["Please have a look"], timeout=PATIENCE_MS)
        await expect(problem).to_be_hidden()


async def test_a_second_video_that_does_not_do_is_changed_or_left_out(
    open_page: OpenPage, avatars_url: str, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "ann.mp4", [head(256)[..., ::-1]] * 8)
    wide = write_video(tmp_path / "wide.mp4", [np.full((128, 256, 3), 110, np.uint8)] * 8)
    empty_room = write_video(tmp_path / "room.mp4", [np.full((256, 256, 3), 110, np.uint8)] * 8)
    page = await open_page()
    await page.set_input_files("#file", video)
    await page.fill(".draft [name=name]", "Ann at rest")
    await page.click(".draft summary")
    await page.select_option(".draft [name=loop]", "forward")
    await page.set_input_files(".draft [name=idle]", wide)
    await press(page, "Make the avatar")

    await expect(page.locator(".failure code")).to_have_text("invalid_parameter")
    await press(page, "Choose another second video")
    await expect(page.locator(".draft [name=idle]")).to_be_focused()
    assert await page.input_value(".draft [name=name]") == "Ann at rest"
    assert await page.input_value(".draft [name=loop]") == "forward"
    await page.set_input_files(".draft [name=idle]", empty_room)
    await press(page, "Make the avatar")
    await until_drawn(page)
    await press(page, "Looks right")

    # The face was found: to mark it would be of no use.
    await expect(page.locator(".failure code")).to_have_text("no_face", timeout=PATIENCE_MS)
    await expect(button(page, "Choose another second video")).to_be_visible()
    await expect(button(page, "Mark the face by hand")).to_have_count(0)
    await press(page, "Leave it out")
    await until_drawn(page)
    await press(page, "Looks right")
    card = page.locator("#gallery .avatar", has_text="Ann at rest")
    await expect(card).to_be_visible(timeout=PATIENCE_MS)
    assert "Ann at rest" not in {
        job["name"] for job in await jobs(avatars_url) if job["state"] == "failed"
    }


async def test_a_second_video_is_checked_before_it_is_sent(open_page: OpenPage) -> None:
    page = await open_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    await page.set_input_files("#file", video_file(b"no video"))
    await page.click(".draft summary")
    await page.evaluate(
        """() => {
            const input = document.querySelector(".draft [name=idle]");
            const file = Object.defineProperty(new File(["."], "film.mp4"), "size", { value: 3e9 });
            Object.defineProperty(input, "files", { value: [file] });
            input.dispatchEvent(new Event("change"));
        }"""
    )
    problem = page.locator(".draft [role=alert]")
    await expect(problem).to_contain_text("3000 MB is more than")
    await page.click(".draft summary")
    await press(page, "Make the avatar")
    await expect(page.locator(".draft [name=idle]")).to_be_focused()
    await expect(problem).to_be_visible()
    assert "POST" not in sent


async def test_an_empty_file_is_not_sent(open_page: OpenPage) -> None:
    page = await open_page()
    await page.set_input_files("#file", video_file(b""))
    failure = page.locator(".failure")
    await expect(failure).to_contain_text("The file is empty. Choose another one.")
    await expect(failure.get_by_role("button")).to_have_text(["Choose another picture"])


@pytest.mark.parametrize(
    ("kind", "may_move"), [("jpeg", False), ("png", True), ("webp", True), ("avif", True)]
)
async def test_pictures_that_may_move_have_options(
    open_page: OpenPage, kind: str, may_move: bool
) -> None:
    page = await open_page()
    file = {"name": f"moving.{kind}", "mimeType": f"image/{kind}", "buffer": b"anything"}
    await page.set_input_files("#file", file)  # type: ignore[arg-type]
    await expect(page.locator(".draft [name=name]")).to_be_visible()
    await expect(page.locator(".draft summary")).to_be_visible(visible=may_move)


async def test_a_file_that_is_too_large_is_not_sent(open_page: OpenPage) -> None:
    page = await open_page()
    await page.evaluate(
        """() => {
            const file = Object.defineProperty(new File(["."], "film.mp4"), "size", { value: 3e9 });
            const event = new Event("drop", { cancelable: true });
            event.dataTransfer = { types: ["Files"], files: [file] };
            window.dispatchEvent(event);
        }"""
    )
    await expect(page.locator(".failure code")).to_have_text("upload_too_large")
    await expect(page.locator(".failure")).to_contain_text("3000 MB")


async def test_deleting_is_asked_twice_and_once_more_in_use(
    open_page: OpenPage, avatars_url: str
) -> None:
    page = await open_page()
    assert not await page.locator("[data-id=demo] [data-part=delete]").is_visible()

    await page.click("[aria-label='Delete Doomed']")
    await press(page, "Keep it")
    assert "doomed" in await avatar_ids(avatars_url)
    await page.click("[aria-label='Delete Doomed']")
    await page.keyboard.press("Escape")
    await page.click("[aria-label='Delete Doomed']")
    await page.click("#delete-go")
    await expect(page.locator("[data-id=doomed]")).to_have_count(0)
    assert "doomed" not in await avatar_ids(avatars_url)

    viewer = await open_page()
    await viewer.goto(f"{avatars_url}/?avatar=watched")
    await expect(viewer.locator("#state")).to_have_text("idle")
    await page.click("[aria-label='Delete Watched']")
    await page.click("#delete-go")
    await expect(page.locator("#delete-go")).to_have_text("Delete it anyway")
    assert len(await page.inner_text("#delete-detail")) > 20
    assert "watched" in await avatar_ids(avatars_url)
    await page.click("#delete-go")
    await expect(page.locator("[data-id=watched]")).to_have_count(0)
    assert "watched" not in await avatar_ids(avatars_url)
    await expect(viewer.locator("#no-session-text")).to_have_text("Its avatar was deleted.")


async def test_thumbnails_move_where_motion_is_wanted(open_page: OpenPage) -> None:
    moving, still = await open_page(), await open_page(reduced_motion="reduce")
    video = "document.querySelector('[data-id=demo] video')"
    await holds(moving, f"{video}.currentTime > 0.2")
    await holds(still, f"{video}.readyState >= 2")
    assert await still.evaluate(f"{video}.paused && {video}.currentTime === 0")
    await moving.emulate_media(reduced_motion="reduce")
    await holds(moving, f"{video}.paused")


async def test_an_avatar_that_is_gone_is_told_by_the_start_page(open_page: OpenPage) -> None:
    page = await open_page()
    await page.goto(page.url.replace("/avatars", "/?avatar=long-gone"))
    await expect(page.locator("#problem-code")).to_have_text("avatar_not_found")
    await page.click("#avatars-link")
    await page.wait_for_selector("#gallery .avatar")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1280, 800), (1920, 1080)])
async def test_nothing_sticks_out(open_page: OpenPage, width: int, height: int) -> None:
    page = await open_page(viewport={"width": width, "height": height})
    file = video_file(b"no video", "a_" + "very" * 30 + ".mp4")
    await page.set_input_files("#file", file)
    await page.click(".draft summary")
    await page.set_input_files(".draft [name=idle]", file)
    await assert_nothing_sticks_out(page)
    _, _, end, _ = await shown_at(page.locator(".making"))
    for part in (button(page, "Make the avatar"), page.locator(".draft [name=idle]")):
        left, _, right, _ = await shown_at(part)
        assert left >= 0
        assert right <= end
