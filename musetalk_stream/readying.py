"""Which avatars can the renderer show at once, and how far are the others?"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from .avatar import Avatar
from .batcher import Batcher
from .errors import (
    AvatarNotFound,
    AvatarNotPrepared,
    MuseTalkStreamError,
    PreparationFailed,
    RendererLost,
)

log = logging.getLogger(__name__)

_TRY_AGAIN_S = 3.0  # told while nobody can know better
_LONGEST_RETRY_S = 60.0  # what clients are told to wait, however long it takes
_FAILURE_LASTS_S = 60.0  # what could not be prepared is not tried sooner: it may take minutes


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    until_s: float  # the instant from which on it is tried anew


class Readying:
    """Prepares avatars between the batches of those who speak, one avatar at a time.

    Its queue is bounded by the number of avatars: each is in it at most once. Another avatar that
    has come under the same id is another one here, too.
    """

    def __init__(self, batcher: Batcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._batcher = batcher
        self._clock = clock
        self._progress: dict[Avatar, float] = {}  # of the one in work, and of those in the queue
        self._left_s: float | None = None  # of the avatar in work, as soon as that can be told
        self._failed: WeakKeyDictionary[Avatar, _Failure] = WeakKeyDictionary()  # the latest time
        self._dropped: WeakSet[Avatar] = WeakSet()
        self._changed = asyncio.Event()

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

    def renew(self, batcher: Batcher) -> None:
        """Another renderer takes the place of a lost one: it is asked from now on."""
        self._batcher = batcher
        self._failed.clear()
        self._notify()

    def require(self, avatar: Avatar) -> None:
        """Raises AvatarNotPrepared, having asked for it, if the avatar can't be shown at once;
        AvatarNotFound if it was dropped; and RendererLost."""
        self._batcher.raise_if_lost()
        if avatar in self._dropped:
            raise _dropped(avatar)
        if self._batcher.is_prepared(avatar):
            return
        failed = self._failed.get(avatar)
        if failed and self._clock() < failed.until_s:
            state = f"could not be prepared ({failed.reason}) and is not tried anew yet"
            raise _not_prepared(avatar, state, failed.until_s - self._clock())
        if avatar not in self._progress:
            self._progress[avatar] = 0.0
            self._notify()
        state = f"is being prepared, {self._told(self._progress[avatar])}"
        # Who waits for another avatar waits at least as long as that takes.
        raise _not_prepared(avatar, state, self._left_s or _TRY_AGAIN_S)

    async def until_prepared(self, avatar: Avatar) -> AsyncGenerator[float, None]:
        """Asks for an avatar; yields how far it is (0 to 1), ends when it can be shown. Raises
        PreparationFailed, AvatarNotFound if it is dropped, and RendererLost."""
        while True:
            try:
                self.require(avatar)
                return
            except AvatarNotPrepared as exc:
                if avatar not in self._progress:
                    raise PreparationFailed(exc.detail) from exc
            changed = self._changed
            yield self._progress[avatar]
            if changed is self._changed:
                await changed.wait()

    def drop(self, avatar: Avatar) -> None:
        """It is deleted: nobody waits for it any more, and what is done for it ends after the step
        that is in work."""
        self._dropped.add(avatar)
        if self._progress.pop(avatar, None) is not None:
            self._notify()

    def _notify(self) -> None:
        """Wake everyone who waits now; whoever comes later waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def describe(self, avatar: Avatar) -> dict[str, Any]:
        """`prepared`, and `progress` (0 to 1) while it is being prepared or waits for that."""
        document: dict[str, Any] = {"prepared": self._batcher.is_prepared(avatar)}
        if avatar in self._progress:
            document["progress"] = self._progress[avatar]
        return document

    async def prepare(self, avatar: Avatar, progress: Callable[[str], None]) -> None:
        """Prepare an avatar now; batches go between the steps. Raises AvatarNotFound if it is
        dropped meanwhile."""
        log.info("preparing avatar %s for the renderer", avatar.id)
        try:
            await self._take_steps(avatar, progress)
            self._failed.pop(avatar, None)
        finally:
            self._left_s = None
            self._progress.pop(avatar, None)
            self._notify()

    async def _take_steps(self, avatar: Avatar, progress: Callable[[str], None]) -> None:
        began_s = self._clock()
        share: float | None = 0.0
        steps = await self._batcher.call(lambda renderer: renderer.prepare(avatar), spare=True)
        try:
            while share is not None:
                if avatar in self._dropped:
                    raise _dropped(avatar)
                self._progress[avatar] = share
                if share:
                    self._left_s = (self._clock() - began_s) * (1 - share) / share
                progress(f"preparing avatar {avatar.id}: {self._told(share)}")
                self._notify()
                share = await self._batcher.call(lambda _: next(steps, None), spare=True)
        finally:
            # Lets go of them, so that they clean up at once, or when the one in work is done; the
            # exception that ends this task would keep them.
            steps = iter(())

    def _told(self, share: float) -> str:
        """How far an avatar is and, where that is long, how long it will still take."""
        told = f"{share * 100:.0f} %"
        if share and self._left_s and self._left_s >= 60:
            told += f", about {self._left_s / 60:.0f} min left"
        return told

    async def _work(self) -> None:
        while True:
            changed = self._changed
            if not self._progress:
                await changed.wait()
                continue
            await self._prepare_next(next(iter(self._progress)))

    async def _prepare_next(self, avatar: Avatar) -> None:
        try:
            await self.prepare(avatar, log.debug)
        except AvatarNotFound as exc:
            log.info("%s", exc)
        except RendererLost as exc:  # it is not the avatar's fault: whoever asks again gets it
            log.warning("avatar %s was not prepared: %s", avatar.id, exc.detail)
        except MuseTalkStreamError as exc:
            log.error("avatar %s can't be prepared: %s", avatar.id, exc.detail)
            self._failed[avatar] = _Failure(exc.detail, self._clock() + _FAILURE_LASTS_S)
            self._notify()


def _dropped(avatar: Avatar) -> AvatarNotFound:
    return AvatarNotFound(f"avatar {avatar.id} has been deleted")


def _not_prepared(avatar: Avatar, state: str, wait_s: float) -> AvatarNotPrepared:
    retry_after_s = math.ceil(min(max(wait_s, 1.0), _LONGEST_RETRY_S))
    return AvatarNotPrepared(
        f"avatar {avatar.id} {state}: try again in {retry_after_s} s", retry_after_s
    )
