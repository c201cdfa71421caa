"""Chromium, by the Chrome DevTools Protocol."""

import base64
import json
import tempfile
from contextlib import AsyncExitStack

from drivers import HEIGHT, WIDTH, Engine, Setting, Tab, find_program, running
from rpc import CommandFailed, Json, Rpc

from benchmarks.browser import ALOUD, FLAGS

DRIVEN = ["--headless=new", "--remote-debugging-port=0"]
SET_UP = {
    Setting.USUAL: [ALOUD],
    Setting.WANTS_GESTURE: ["--autoplay-policy=user-gesture-required"],
}


class Chromium(Engine):
    name = "chromium"

    def __init__(self, rpc: Rpc, stack: AsyncExitStack) -> None:
        self._rpc = rpc
        self._stack = stack

    @classmethod
    async def start(cls, setting: Setting = Setting.USUAL) -> "Chromium":
        program = find_program("chromium", "chromium", "chromium-browser", "google-chrome")
        async with AsyncExitStack() as stack:
            profile = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
            )
            browser = await stack.enter_async_context(
                running(program, *DRIVEN, *FLAGS, *SET_UP[setting], f"--user-data-dir={profile}")
            )
            rpc = await Rpc.connect(await browser.says(r"listening on (ws://\S+)"))
            stack.push_async_callback(rpc.close)
            return cls(rpc, stack.pop_all())
        raise AssertionError  # the block above returns or raises

    async def open(self) -> "ChromiumTab":
        target = await self._rpc(
            "Target.createTarget", url="about:blank", newWindow=True, width=WIDTH, height=HEIGHT
        )
        target_id: str = target["targetId"]
        session = await self._rpc("Target.attachToTarget", targetId=target_id, flatten=True)
        tab = ChromiumTab(self._rpc, target_id, session["sessionId"])
        await tab.prepare()
        return tab

    async def close(self) -> None:
        await self._stack.aclose()


class ChromiumTab(Tab):
    def __init__(self, rpc: Rpc, target_id: str, session_id: str) -> None:
        self._rpc = rpc
        self._target_id = target_id
        self._session_id = session_id

    async def prepare(self) -> None:
        await self._do("Page.enable")
        await self._do(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    async def goto(self, url: str) -> None:
        answer = await self._do("Page.navigate", url=url)
        if "errorText" in answer:
            raise CommandFailed(f"{url}: {answer['errorText']}")

    async def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            await self._do(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self._do("Page.captureScreenshot"))["data"])

    async def close(self) -> None:
        await self._rpc("Target.closeTarget", targetId=self._target_id)

    async def _call(self, function: str, argument: str) -> str:
        answer = await self._do(
            "Runtime.evaluate",
            expression=f"({function})({_literal(argument)})",
            awaitPromise=True,
            returnByValue=True,
            userGesture=False,
        )
        if thrown := answer.get("exceptionDetails"):
            raise CommandFailed(thrown.get("exception", thrown).get("description", str(thrown)))
        text: str = answer["result"]["value"]
        return text

    async def _do(self, method: str, **params: object) -> Json:
        return await self._rpc.call(method, params, sessionId=self._session_id)


def _literal(text: str) -> str:
    """A text as JavaScript writes it; JSON does, too, since ES2019."""
    return json.dumps(text)
