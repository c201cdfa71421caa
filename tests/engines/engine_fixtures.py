"""The engines, one of each kind in a test run, and players in them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from avatar_page import AvatarPage, OpenPage
from chromium import Chromium
from drivers import Engine, NotInstalled, Setting
from firefox import Firefox
from servers import ProcessServer, Server
from webkit import WebKit
from wire import Wire, wire_to

ENGINES: dict[str, type[Chromium | Firefox | WebKit]] = {
    each.name: each for each in (Chromium, Firefox, WebKit)
}
# As on an iPhone, which has only the managed kind.
MANAGED_ONLY = "delete window.MediaSource;"


@dataclass(frozen=True)
class Kind:
    """An engine, and what its pages begin with."""

    engine: str
    script: str = ""


KINDS = {
    "chromium": Kind("chromium"),
    "firefox": Kind("firefox"),
    "webkit": Kind("webkit"),
    "webkit-managed": Kind("webkit", MANAGED_ONLY),
}


# For what is the same with every kind of MediaSource.
EACH_ENGINE = pytest.mark.parametrize("kind", sorted(ENGINES), indirect=True)


class Running:
    """Engines that are started when they are first asked for."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._engines: dict[tuple[str, Setting], Engine] = {}

    async def get(self, name: str, setting: Setting) -> Engine:
        key = name, setting
        if key not in self._engines:
            try:
                self._engines[key] = await ENGINES[name].start(setting)
            except NotInstalled as missing:
                pytest.skip(str(missing))
            self._stack.push_async_callback(self._engines[key].close)
        return self._engines[key]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines() -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        yield Running(stack)


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest_asyncio.fixture(loop_scope="session")
async def shared_server(process_server: ProcessServer) -> AsyncIterator[Server]:
    async with process_server.client() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def wire(process_server: ProcessServer) -> AsyncIterator[Wire]:
    async with wire_to(process_server.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    kind: Kind, engines: Running, wire: Wire, shared_server: Server
) -> AsyncIterator[OpenPage]:
    """Opens players of sessions of their own; afterwards nothing may have gone uncaught there."""
    pages: list[AvatarPage] = []

    async def open_one(
        *, setting: Setting = Setting.USUAL, script: str = "", **settings: object
    ) -> AvatarPage:
        engine = await engines.get(kind.engine, setting)
        page = await AvatarPage.open(
            engine, wire, shared_server, script=kind.script + script, **settings
        )
        pages.append(page)
        await page.until("idle")
        return page

    yield open_one
    wire.mend()
    assert [await page.close() for page in pages] == [[]] * len(pages)
