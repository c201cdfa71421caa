"""Which avatars can the renderer show at once, and how far are the others?"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from .avatar import Avatar
from .batcher import Batcher
from .errors import AvatarNotPrepared, MuseTalkStreamError

log = logging.getLogger(__name__)

_TRY_AGAIN_S = 3


class Readying:
    """Prepares avatars between the batches of those who speak, one avatar at a time.

    Its queue is bounded by the number of avatars: each is in it at most once.
    """

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._queue: asyncio.Queue[Avatar] = asyncio.Queue()
        self._progress: dict[str, float] = {}  # of avatars in the queue or in work, by id
        self._failed: dict[str, str] = {}  # why the latest attempt failed, by id

    def __repr__(self) -> str:
        return f"<Readying {self._progress}>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Readying"]:
        """What has been asked for is prepared while this block runs."""
        worker = asyncio.create_task(self._work(), name="readying")
        try:
            yield self
        finally:
            worker.cancel()
            await asyncio.wait([worker])

    def require(self, avatar: Avatar) -> None:
        """Raises AvatarNotPrepared, having asked for it, if the avatar can't be shown at once; and
        RendererLost."""
        self._batcher.raise_if_lost()
        if self._batcher.is_prepared(avatar):
            return
        failed = self._failed.pop(avatar.id, None)
        if avatar.id not in self._progress:
            self._progress[avatar.id] = 0.0
            self._queue.put_nowait(avatar)
        state = f"avatar {avatar.id} is being prepared, {_percent(self._progress[avatar.id])} done"
        if failed:
            state = f"avatar {avatar.id} could not be prepared ({failed}); it is tried anew"
        raise AvatarNotPrepared(f"{state}: try again in some seconds", retry_after_s=_TRY_AGAIN_S)

    def describe(self, avatar: Avatar) -> dict[str, Any]:
        """`prepared`, and `progress` (0 to 1) while it is being prepared or waits for that."""
        document: dict[str, Any] = {"prepared": self._batcher.is_prepared(avatar)}
        if avatar.id in self._progress:
            document["progress"] = self._progress[avatar.id]
        return document

    async def prepare(self, avatar: Avatar, progress: Callable[[str], None]) -> None:
        """Prepare an avatar now; batches go between the steps."""
        log.info("preparing avatar %s for the renderer", avatar.id)
        share: float | None = 0.0
        try:
            steps = await self._batcher.call(lambda renderer: renderer.prepare(avatar), spare=True)
            while share is not None:
                self._progress[avatar.id] = share
                progress(f"preparing avatar {avatar.id}: {_percent(share)}")
                share = await self._batcher.call(lambda _: next(steps, None), spare=True)
        finally:
            self._progress.pop(avatar.id, None)

    async def _work(self) -> None:
        while True:
            avatar = await self._queue.get()
            try:
                await self.prepare(avatar, log.debug)
            except MuseTalkStreamError as exc:
                log.error("avatar %s can't be prepared: %s", avatar.id, exc.detail)
                self._failed[avatar.id] = exc.detail


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
