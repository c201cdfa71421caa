"""Firefox, by WebDriver BiDi."""

import base64
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from drivers import HEIGHT, WIDTH, Engine, Setting, Tab, find_program, running
from rpc import CommandFailed, Rpc

# Nothing is asked of other hosts, and no page but ours is shown.
QUIET = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutConfig.showWarning": False,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "remote.log.level": "Fatal",
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
SET_UP: dict[Setting, dict[str, object]] = {
    Setting.USUAL: {"media.autoplay.default": 0},
    Setting.WANTS_GESTURE: {"media.autoplay.default": 1},
    Setting.LITTLE_ROOM: {
        "media.autoplay.default": 0,
        "media.mediasource.eviction_threshold.video": 400_000,  # bytes
    },
}


class Firefox(Engine):
    name = "firefox"

    def __init__(self, rpc: Rpc, stack: AsyncExitStack) -> None:
        self._rpc = rpc
        self._stack = stack

    @classmethod
    async def start(cls, setting: Setting = Setting.USUAL) -> "Firefox":
        program = find_program("firefox-esr", "firefox-esr", "firefox")
        async with AsyncExitStack() as stack:
            profile = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True)
            )
            _write_settings(Path(profile), {**QUIET, **SET_UP[setting]})
            size = (f"--width={WIDTH}", f"--height={HEIGHT + 90}")
            browser = await stack.enter_async_context(
                running(
                    *(program, "--headless", "--no-remote", "--profile", profile, *size),
                    "--remote-debugging-port=0",
                )
            )
            address = await browser.says(r"BiDi listening on (ws://\S+)")
            rpc = await Rpc.connect(f"{address}/session")
            stack.push_async_callback(rpc.close)
            await rpc("session.new", capabilities={})
            return cls(rpc, stack.pop_all())
        raise AssertionError  # the block above returns or raises

    async def open(self) -> "FirefoxTab":
        made = await self._rpc("browsingContext.create", type="window")
        context: str = made["context"]
        viewport = {"width": WIDTH, "height": HEIGHT}
        await self._rpc("browsingContext.setViewport", context=context, viewport=viewport)
        return FirefoxTab(self._rpc, context)

    async def close(self) -> None:
        await self._stack.aclose()


def _write_settings(profile: Path, settings: dict[str, object]) -> None:
    lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in settings.items()]
    (profile / "user.js").write_text("".join(lines))


class FirefoxTab(Tab):
    def __init__(self, rpc: Rpc, context: str) -> None:
        self._rpc = rpc
        self._context = context

    async def goto(self, url: str) -> None:
        await self._rpc(
            "browsingContext.navigate", context=self._context, url=url, wait="interactive"
        )

    async def click(self, x: int, y: int) -> None:
        moves = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "actions": moves}
        await self._rpc("input.performActions", context=self._context, actions=[pointer])

    async def screenshot(self) -> bytes:
        taken = await self._rpc("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(taken["data"])

    async def close(self) -> None:
        await self._rpc("browsingContext.close", context=self._context)

    async def _call(self, function: str, argument: str) -> str:
        answer = await self._rpc(
            "script.callFunction",
            functionDeclaration=function,
            target={"context": self._context},
            arguments=[{"type": "string", "value": argument}],
            awaitPromise=True,
            userActivation=False,
        )
        if answer["type"] == "exception":
            raise CommandFailed(answer["exceptionDetails"]["text"])
        text: str = answer["result"]["value"]
        return text
