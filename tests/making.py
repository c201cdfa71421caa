"""How tests ask a server to make avatars, and what they upload."""

import io
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import httpx
import httpx_sse
import numpy as np
import numpy.typing as npt
import skimage
from pictures import write_video
from PIL import Image
from servers import Events, Json, Server

from musetalk_stream.prepare.work import PREPARING

_OVER = ("done", "failed", "cancelled")


def portrait() -> npt.NDArray[np.uint8]:
    """A face of 92 pixels, [256, 256, 3]."""
    return np.ascontiguousarray(skimage.data.astronaut()[:256, 100:356])


def jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return file.getvalue()


@cache
def clip() -> bytes:
    """A video of four pictures of a face: it becomes an avatar in less time than a photo does."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "clip.mp4", [portrait()] * 4, Fraction(8))
        return path.read_bytes()


def nobody() -> bytes:
    """A photo without a face."""
    return jpeg(np.random.default_rng(1).integers(0, 255, (256, 256, 3)).astype(np.uint8))


PHOTO = jpeg(portrait())


class Avatars:
    """What tests ask of a server that makes avatars."""

    def __init__(self, server: Server, store: Path) -> None:
        self.server = server
        self.client = server.client
        self.store = store

    async def post(
        self, data: bytes = PHOTO, file_name: str = "Anna.jpg", /, **fields: str | bytes
    ) -> Json:
        """The job of an upload that is taken."""
        answer = await self.try_post(data, file_name, **fields)
        assert answer.status_code == 202, answer.text
        job: Json = answer.json()
        assert answer.headers["Location"] == f"/jobs/{job['job_id']}"
        return job

    async def try_post(
        self, data: bytes = PHOTO, file_name: str = "Anna.jpg", /, **fields: str | bytes
    ) -> httpx.Response:
        """Fields of bytes are files, too."""
        texts = {name: value for name, value in fields.items() if isinstance(value, str)}
        files = {name: (name, value) for name, value in fields.items() if isinstance(value, bytes)}
        return await self.client.post(
            "/avatars", files={"file": (file_name, data), **files}, data=texts
        )

    async def job(self, job_id: str) -> Json:
        answer = await self.client.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        document: Json = answer.json()
        return document

    async def approve(self, job_id: str, **body: object) -> httpx.Response:
        return await self.client.post(f"/jobs/{job_id}/approve", json=body)

    async def cancel(self, job_id: str) -> None:
        assert (await self.client.delete(f"/jobs/{job_id}")).status_code == 204

    @asynccontextmanager
    async def events(self, job_id: str) -> AsyncIterator[Events]:
        async with httpx_sse.aconnect_sse(self.client, "GET", f"/jobs/{job_id}/events") as source:
            yield Events(source)

    async def follow(self, job_id: str, *until: str) -> list[Json]:
        """The job as it changes, to one of these states, or its end."""
        seen: list[Json] = []
        async with self.events(job_id) as events:
            while not seen or seen[-1]["state"] not in {*until, *_OVER}:
                seen.append(await events.next())
        return seen

    async def until_state(self, job_id: str, state: str) -> Json:
        last = (await self.follow(job_id, state))[-1]
        assert last["state"] == state, last
        return last

    async def process(self, avatar_id: str) -> int:
        """The number of the process that prepares an avatar, once there is one."""
        found: list[int] = []

        async def is_there() -> bool:
            found[:] = processes(self.store / PREPARING / avatar_id)
            return bool(found)

        await self.server.until(is_there)
        return found[0]

    async def until_nothing_is_left(self) -> None:
        async def is_so() -> bool:
            return self.in_the_making() == []

        await self.server.until(is_so)

    def in_the_making(self) -> list[str]:
        """Everything in the folder of what is being made, but for the lock of the server."""
        return sorted(path.name for path in (self.store / PREPARING).glob("*/"))

    def ids(self) -> list[str]:
        return sorted(path.name for path in self.store.iterdir() if path.name != PREPARING)


def is_alive(pid: int) -> bool:
    """Also true of what has ended and was not waited for."""
    return Path(f"/proc/{pid}").exists()


def processes(folder: Path) -> list[int]:
    """Of those that work in a folder, and their children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@asynccontextmanager
async def stopped(avatars: Avatars, avatar_id: str) -> AsyncIterator[int]:
    """A job that stands still while this block runs, in the number of its process."""
    pid = await avatars.process(avatar_id)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
