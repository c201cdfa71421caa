"""From start to ready: what is said meanwhile, what ends it, and who may end it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from fakes import NumberRenderer
from servers import Begin

from musetalk_stream.avatar import Avatar
from musetalk_stream.errors import SetupError
from musetalk_stream.renderers import FrameRequest, Mouths


class Stuck(NumberRenderer):
    """Never comes to the end of one phase of its start."""

    def __init__(self, phase: str) -> None:
        super().__init__(batch_sizes=(8,) * 10_000, unprepared={"tiny"})
        self.phase = phase

    def load(self, progress: Callable[[str], None]) -> None:
        while self.phase == "load":
            progress("loading the U-Net")
            time.sleep(0.001)

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        while self.phase == "prepare":
            yield 0.4
        yield from super().prepare(avatar)

    def render(self, batch: Sequence[FrameRequest]) -> Mouths:
        time.sleep(0.001)
        return super().render(batch)


PHASES = {
    "load": "loading the U-Net",
    "prepare": "preparing avatar tiny: 40 %",
    "measure": "measuring batches of 8",
}


@pytest.mark.parametrize("phase", PHASES)
async def test_each_phase_is_told_and_can_be_interrupted(begin: Begin, phase: str) -> None:
    starting = await begin(Stuck(phase), capacity_fps=0)
    await starting.until_detail(PHASES[phase])
    refused = await starting.server.client.post("/sessions/create")
    assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert PHASES[phase] in refused.json()["detail"]
    assert (await starting.server.client.get("/healthz")).status_code == 200
    async with asyncio.timeout(5):
        await starting.runner.cleanup()
    assert starting.readiness.failed is None
    assert "renderer" not in [thread.name for thread in threading.enumerate()]


async def test_the_default_avatar_is_prepared(begin: Begin) -> None:
    renderer = NumberRenderer(unprepared={"tiny", "other"})
    starting = await begin(renderer)
    await starting.readiness.settled()
    assert renderer.unprepared == {"other"}
    await starting.server.create()


async def test_a_configured_capacity_needs_no_measuring(begin: Begin) -> None:
    renderer = NumberRenderer()
    await (await begin(renderer, capacity_fps=50)).readiness.settled()
    assert renderer.batches == []


class Broken(NumberRenderer):
    """What it can't load, it says; what it can't prepare, it does not say well."""

    def __init__(self, phase: str) -> None:
        super().__init__(unprepared={"tiny"})
        self.phase = phase

    def load(self, progress: Callable[[str], None]) -> None:
        if self.phase == "load":
            raise SetupError("there are no weights in models/")

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        if self.phase == "prepare":
            raise ValueError("no face anywhere")
        yield from super().prepare(avatar)


@pytest.mark.parametrize(
    ("renderer", "words"),
    [
        (Broken("load"), "there are no weights in models/"),
        (Broken("prepare"), "no face anywhere"),
        (NumberRenderer(fits=0), "not even a batch of 1 fits"),
        (NumberRenderer(fails_on=lambda avatar_id, frame: True), "broken on purpose"),
        (NumberRenderer(lost="unspecified launch failure"), "unspecified launch failure"),
    ],
    ids=["load", "prepare", "memory", "render", "device"],
)
async def test_what_fails_at_start_ends_it(
    begin: Begin, renderer: NumberRenderer, words: str
) -> None:
    starting = await begin(renderer, capacity_fps=0)
    await starting.readiness.settled()
    assert words in (starting.readiness.failed or "")
    ready = await starting.server.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "failed")
    assert words in ready.json()["detail"]
    async with asyncio.timeout(5):
        await starting.runner.cleanup()
