"""WebKitGTK's MiniBrowser, by W3C WebDriver, on a screen of its own."""

import asyncio
import base64
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from drivers import HEIGHT, WIDTH, Engine, NotInstalled, Setting, Tab, find_program, running
from rpc import ANSWER_WITHIN_S, CommandFailed, Json
from servers import free_port

PACKAGE = "webkit2gtk-driver"
MINI_BROWSERS = "*/webkit2gtk-4.*/MiniBrowser"
POLICIES = {Setting.USUAL: "allow", Setting.WANTS_GESTURE: "allow-without-sound"}
# Of the window around the page; its size is set when it is there.
TOOLBAR_HEIGHT = 90

_RUN = """const [argument, tell] = arguments;
(%s)(argument).then((value) => tell({ value }), (error) => tell({ error: String(error) }));"""


class WebKit(Engine):
    name = "webkit"

    def __init__(self, client: httpx.AsyncClient, window: str, stack: AsyncExitStack) -> None:
        self._client = client
        self._window = window  # that it began with, and that stays
        self._stack = stack

    @classmethod
    async def start(cls, setting: Setting = Setting.USUAL) -> "WebKit":
        driver = find_program(PACKAGE, "WebKitWebDriver")
        screen = find_program("xvfb", "Xvfb")
        browser = _find_mini_browser()
        async with AsyncExitStack() as stack:
            xvfb = await stack.enter_async_context(
                running(
                    screen, "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"
                )
            )
            display = await xvfb.says(r"^(\d+)$")
            port = free_port()
            await stack.enter_async_context(
                running(driver, f"--port={port}", environment={"DISPLAY": f":{display}"})
            )
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_WITHIN_S)
            )
            arguments = ["--automation", f"--autoplay-policy={POLICIES[setting]}"]
            await _until_listening(client)
            options = {"binary": str(browser), "args": arguments}
            made = await _do(
                client, "POST", "/session",
                {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}},
            )  # fmt: skip
            session = f"/session/{made['sessionId']}"
            client.base_url = client.base_url.join(session + "/")
            stack.push_async_callback(_do, client, "DELETE", "")
            timeouts = {"script": ANSWER_WITHIN_S * 1000, "pageLoad": 30_000}
            await _do(client, "POST", "timeouts", timeouts)
            return cls(client, await _do(client, "GET", "window"), stack.pop_all())
        raise AssertionError  # the block above returns or raises

    async def open(self) -> "WebKitTab":
        await _do(self._client, "POST", "window", {"handle": self._window})
        made = await _do(self._client, "POST", "window/new", {"type": "window"})
        tab = WebKitTab(self._client, made["handle"])
        await tab.prepare()
        return tab

    async def close(self) -> None:
        await self._stack.aclose()


async def _until_listening(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.get("/status")
            except httpx.TransportError:
                await asyncio.sleep(0.05)  # it says nothing when it listens
            else:
                return


def _find_mini_browser() -> Path:
    for folder in ("/usr/lib", "/usr/libexec"):
        for found in sorted(Path(folder).glob(MINI_BROWSERS)):
            return found
        for found in sorted(Path(folder).glob("*/" + MINI_BROWSERS)):
            return found
    raise NotInstalled(f"MiniBrowser isn't installed (apt-get install {PACKAGE})")


class WebKitTab(Tab):
    def __init__(self, client: httpx.AsyncClient, handle: str) -> None:
        self._client = client
        self._handle = handle

    async def prepare(self) -> None:
        """Give the page, not the window around it, its size."""
        size = {"width": WIDTH, "height": HEIGHT + TOOLBAR_HEIGHT}
        await self._do("POST", "window/rect", size)
        inner = await self.evaluate("() => [innerWidth, innerHeight]")
        size = {"width": size["width"] + WIDTH - inner[0],
                "height": size["height"] + HEIGHT - inner[1]}  # fmt: skip
        await self._do("POST", "window/rect", size)

    async def goto(self, url: str) -> None:
        await self._do("POST", "url", {"url": url})

    async def click(self, x: int, y: int) -> None:
        moves: list[Json] = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "actions": moves}
        await self._do("POST", "actions", {"actions": [pointer]})

    async def screenshot(self) -> bytes:
        return base64.b64decode(await self._do("GET", "screenshot"))

    async def close(self) -> None:
        await self._do("DELETE", "window")

    async def _call(self, function: str, argument: str) -> str:
        answer = await self._do(
            "POST", "execute/async", {"script": _RUN % function, "args": [argument]}
        )
        if "error" in answer:
            raise CommandFailed(answer["error"])
        text: str = answer["value"]
        return text

    async def _do(self, method: str, path: str, body: Json | None = None) -> Any:
        # A command goes to the window that was chosen last.
        await _do(self._client, "POST", "window", {"handle": self._handle})
        return await _do(self._client, method, path, body)


async def _do(client: httpx.AsyncClient, method: str, path: str, body: Json | None = None) -> Any:
    answer = await client.request(method, path, json=body)
    value = answer.json()["value"]
    if answer.is_error:
        raise CommandFailed(f"{method} {path}: {value['error']}: {value['message']}")
    return value
