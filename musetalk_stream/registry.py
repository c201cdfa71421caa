"""All sessions of a server: which may be opened, and when each ends."""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .avatar import Avatar
from .config import SessionConfig
from .engine import Engine
from .errors import AtCapacity, SessionGone, SessionNotFound, TooManySessions
from .options import SessionOptions, number
from .schedule import Rates, admits
from .sessions import Session

log = logging.getLogger(__name__)

_REMEMBERED = 10_000  # ids of closed sessions that still answer 410; the oldest then answer 404
_WHY_GONE = {"avatar_deleted": "has ended, as its avatar was deleted"}
_HOUSEKEEPING_S = 1.0
_TRY_AGAIN_S = 5  # what whoever finds the server full is told to wait


class SessionRegistry:
    """All sessions of a server; the only place that opens and closes them."""

    def __init__(self, engine: Engine, config: SessionConfig, *, chunk_retention_s: float) -> None:
        self._engine = engine
        self._config = config
        self._chunk_retention_s = chunk_retention_s
        self._sessions: dict[str, Session] = {}
        self._gone: OrderedDict[str, str] = OrderedDict()  # id -> why
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<SessionRegistry {len(self._sessions)} sessions>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SessionRegistry"]:
        """Sessions expire while this block runs, and are all closed at its end."""
        housekeeper = asyncio.create_task(self._keep_house(), name="housekeeping")
        try:
            yield self
        finally:
            housekeeper.cancel()
            await asyncio.wait([housekeeper])
            await self._close_all("shutdown")

    def require_room(self, options: SessionOptions) -> None:
        """Raises TooManySessions, AtCapacity or RendererLost if `create` would."""
        self._engine.batcher.raise_if_lost()
        if len(self._sessions) >= self._config.max_sessions:
            raise TooManySessions(
                f"this server takes {self._config.max_sessions} sessions and has as many: "
                "delete one or try again later",
                retry_after_s=_TRY_AGAIN_S,
            )
        self._require_share(options)

    def _require_share(self, options: SessionOptions) -> None:
        self._free_shares()
        most, reserved = self._engine.batcher.capacity, self.reserved
        if not admits(most, reserved, _rates(options)):
            lips = f" and lips for {most.lips:.0f}" if math.isfinite(most.lips) else ""
            raise AtCapacity(
                f"this server makes {most.output:.0f} frames per second{lips}; its sessions play "
                f"{reserved.output:g} with lips for {reserved.lips:g}, and "
                f"{number(options.playback_fps)} more with lips for {number(options.fps)} would "
                "make them stall: "
                "delete one, ask for less or try again later",
                retry_after_s=_TRY_AGAIN_S,
            )

    def create(self, avatar: Avatar, options: SessionOptions, user_id: str | None) -> Session:
        """Raises what `require_room` raises."""
        self.require_room(options)
        session = Session(avatar, options, user_id, self._engine, max_queue=self._config.max_queue)
        self._sessions[session.id] = session
        log.info("%r: created, avatar %s", session, avatar.id)
        return session

    def _free_shares(self) -> None:
        """Take its share from every session that does not need it now."""
        now_s = time.monotonic()
        for session in self.all():
            session.holds_share &= session.needs_share(now_s)

    def renew_share(self, session: Session) -> None:
        """For a session that is about to speak and may have lost its share since it was last used.
        Raises AtCapacity."""
        if not session.holds_share:
            self._require_share(session.options)
            session.holds_share = True

    def get(self, session_id: str) -> Session:
        """Raises SessionNotFound, or SessionGone while the id is remembered."""
        if session_id in self._gone:
            why = _WHY_GONE.get(self._gone[session_id], f"was {self._gone[session_id]}")
            raise SessionGone(f"this session {why}; create another")
        try:
            session = self._sessions[session_id]
        except KeyError:
            raise SessionNotFound("there is no such session; create one") from None
        session.last_used_s = time.monotonic()
        return session

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    def fetched(self, request_id: str) -> None:
        """Somebody fetches a chunk of an utterance."""
        for session in self.all():
            session.fetched(request_id)

    def showing(self, avatar_id: str) -> list[Session]:
        return [session for session in self.all() if session.avatar.id == avatar_id]

    @property
    def reserved(self) -> Rates:
        """What the sessions that hold their share ask for when all of them speak."""
        holding = [_rates(each.options) for each in self.all() if each.holds_share]
        return Rates(sum(each.lips for each in holding), sum(each.output for each in holding))

    async def close(self, session_id: str, reason: str) -> None:
        """Close a session, to the end even if the caller is cancelled. Raises what `get` raises."""
        session = self.get(session_id)
        del self._sessions[session_id]
        self._gone[session_id] = reason
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        closing = asyncio.create_task(session.close(reason), name=f"close-{session_id[:8]}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def _close_all(self, reason: str) -> None:
        await asyncio.gather(*(self.close(session_id, reason) for session_id in self._sessions))
        if self._closing:
            await asyncio.wait(self._closing)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            await self._tidy(time.monotonic())

    async def _tidy(self, now_s: float) -> None:
        """A function of its own, so that whoever keeps house holds no session between times."""
        self._free_shares()
        for session in self.all():
            if session.is_idle_since(now_s - self._config.session_idle_s):
                await self.close(session.id, "expired")
            else:
                await session.forget_chunks_before(now_s - self._chunk_retention_s)


def _rates(options: SessionOptions) -> Rates:
    return Rates(float(options.fps), float(options.playback_fps))
