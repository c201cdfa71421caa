"""All sessions of a server: which may be opened, and when each ends."""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from .access import ANYBODY, Caller
from .avatar import Avatar
from .config import SessionConfig
from .consent import Consent
from .engine import Engine
from .errors import (
    AtCapacity,
    MuseTalkStreamError,
    SessionGone,
    SessionNotFound,
    ShuttingDown,
    StorageFull,
    TooManySessions,
)
from .options import OnBusy, SessionOptions, number
from .records import EPOCHS_AHEAD, SessionRecord, SessionRecords
from .schedule import Rates, admits
from .sessions import Session, rates_of
from .shelf import AvatarShelf
from .store import Found
from .threads import to_its_end
from .turn import mint_id
from .users import UserLimits

log = logging.getLogger(__name__)

_REMEMBERED = 10_000  # ids of closed sessions that still answer 410; the oldest then answer 404
_WHY_GONE = {"avatar_deleted": "has ended, as its avatar was deleted"}
_HOUSEKEEPING_S = 1.0
_TELL_USED_S = 15.0  # how much younger than known a session may be, to the next server
_RETURN_S = 30.0  # which viewers have to come back in, once the next server is ready
_TRY_AGAIN_S = 5  # what whoever finds the server full is told to wait


class _Gone(NamedTuple):
    """What is remembered of a session that has ended."""

    reason: str
    owner: str


class SessionRegistry:
    """All sessions of a server; the only place that opens and closes them."""

    def __init__(
        self,
        engine: Engine,
        config: SessionConfig,
        records: SessionRecords,
        *,
        chunk_retention_s: float,
        forget_on_stop: bool = False,
    ) -> None:
        self._engine = engine
        self._config = config
        self._records = records
        self._chunk_retention_s = chunk_retention_s
        self._forget_on_stop = forget_on_stop
        self._users = UserLimits(config.max_sessions_per_user, config.max_utterances_per_user)
        self._sessions: dict[str, Session] = {}
        self._gone: OrderedDict[str, _Gone] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()  # of records: what is removed is not written afterwards
        self._is_draining = False
        self._told_used_s = time.monotonic()
        self.created = 0
        self.resumed = 0  # of the server before this one

    def __repr__(self) -> str:
        return f"<SessionRegistry {len(self._sessions)} sessions>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SessionRegistry"]:
        """Sessions expire while this block runs, and all stop at its end."""
        housekeeper = asyncio.create_task(self._keep_house(), name="housekeeping")
        try:
            yield self
        finally:
            housekeeper.cancel()
            await asyncio.wait([housekeeper])
            await self.stop()

    async def resume(self, shelf: AvatarShelf, *, is_alone: bool) -> None:
        """Go on with the sessions of the server before this one, but for those whose time is over
        or whose avatar has gone.

        is_alone  no other server shares the place of the chunks

        Raises SetupError.
        """
        kept: dict[str, tuple[Avatar, SessionRecord]] = {}
        gone = []
        # Their viewers are on their way back, or were there too shortly to be noted.
        long_ago = time.time() - max(0.0, self._config.session_idle_s - _RETURN_S)
        for record in await asyncio.to_thread(self._records.load):
            avatar = self._avatar_of(record, shelf)
            if avatar is None:
                gone.append(record.session_id)
            else:
                used_at = max(record.used_at, long_ago)
                kept[record.session_id] = avatar, replace(record, used_at=used_at)
        await self._records.remove(gone)
        await asyncio.to_thread(self._records.take_over, [record for _, record in kept.values()])
        recover = partial(
            self._engine.store.recover, is_alone=is_alone, retention_s=self._chunk_retention_s
        )
        found: dict[str, list[Found]] = {}
        for each in await asyncio.to_thread(recover, kept.keys()):
            found.setdefault(each.note["session_id"], []).append(each)
        for session_id, (avatar, record) in kept.items():
            session = Session(avatar, record, self._engine, max_queue=self._config.max_queue)
            session.resume(found.get(session_id, []), unused_s=_unused_s(record))
            self._sessions[session_id] = session
        self.resumed = len(kept)
        if kept or gone:
            log.info("%d sessions go on, %d were over", len(kept), len(gone))
        await self._look_at_disks()

    def _avatar_of(self, record: SessionRecord, shelf: AvatarShelf) -> Avatar | None:
        """None where the session is over."""
        if _unused_s(record) > self._config.session_idle_s:
            return None
        try:
            return shelf.get(record.avatar_id)
        except MuseTalkStreamError as exc:
            log.warning("session %s can't go on: %s", record.session_id[:8], exc.detail)
            return None

    async def drain(self, limit_s: float, grace_s: float, *, only_watched: bool = False) -> None:
        """No session is opened and nothing new is said any more. What is being said may go on for
        so long, and who fetches it has a little longer to come to its end.

        only_watched  what nobody watches ends at once
        """
        self._is_draining = True
        await asyncio.gather(
            *(
                each.drain(limit_s if each.is_watched or not only_watched else 0.0, grace_s)
                for each in self.all()
            )
        )

    def require_room(self, options: SessionOptions) -> None:
        """Raises TooManySessions, AtCapacity, RendererLost, ShuttingDown or StorageFull if `create`
        would."""
        self._engine.batcher.raise_if_lost()
        if self._is_draining:
            raise ShuttingDown("the server is about to end: try again shortly", _TRY_AGAIN_S)
        self._engine.store.require_room()
        self._records.room.require()
        if len(self._sessions) >= self._config.max_sessions:
            raise TooManySessions(
                f"this server takes {self._config.max_sessions} sessions and has as many: "
                "delete one or try again later",
                retry_after_s=_TRY_AGAIN_S,
            )
        self._require_share(options)

    def _require_share(self, options: SessionOptions) -> None:
        most, wanted = self._engine.batcher.capacity, rates_of(options)
        if admits(most, self.reserved, wanted):
            return
        self._free_shares()  # those that nobody needs, which housekeeping finds a little later
        reserved = self.reserved
        if not admits(most, reserved, wanted):
            lips = f" and lips for {most.lips:.0f}" if math.isfinite(most.lips) else ""
            raise AtCapacity(
                f"this server makes {most.output:.0f} frames per second{lips}; its sessions play "
                f"{reserved.output:g} with lips for {reserved.lips:g}, and "
                f"{number(options.playback_fps)} more with lips for {number(options.fps)} would "
                "make them stall: "
                "delete one, ask for less or try again later",
                retry_after_s=_TRY_AGAIN_S,
            )

    async def create(
        self, avatar: Avatar, options: SessionOptions, user_id: str | None, owner: str = ""
    ) -> Session:
        """`owner`: the id of the API key that asks. Raises what `require_room` raises,
        TooManySessionsOfUser, and StorageFull where the session could not outlive the server."""
        self._users.require_session(self.all(), owner, user_id)
        self.require_room(options)
        now = time.time()
        record = SessionRecord(mint_id(), avatar.id, options, user_id, owner, now, now)
        session = Session(avatar, record, self._engine, max_queue=self._config.max_queue)
        self._sessions[session.id] = session
        try:
            async with self._writing:
                await self._write(session)
        except BaseException:
            await self.close(session.id, "deleted")
            raise
        self.created += 1
        log.info("%r: created, avatar %s", session, avatar.id)
        return session

    def _free_shares(self) -> None:
        """Take its share from every session that does not need it now."""
        now_s = time.monotonic()
        for session in self.all():
            if session.holds_share:
                session.holds_share = session.needs_share(now_s)

    def require_turn(self, session: Session, on_busy: OnBusy) -> None:
        """Raises TooManyUtterancesOfUser if something is said beyond that limit."""
        self._users.require_utterance(self.all(), session, on_busy)

    def renew_share(self, session: Session) -> None:
        """For a session that is about to speak and may have lost its share since it was last used.
        Raises AtCapacity."""
        if not session.holds_share:
            self._require_share(session.options)
            session.holds_share = True

    def get(self, session_id: str, caller: Caller = ANYBODY) -> Session:
        """Raises SessionNotFound, also if the session is another's; or SessionGone while the id is
        remembered."""
        gone = self._gone.get(session_id)
        if gone and caller.sees(gone.owner, session_id):
            why = _WHY_GONE.get(gone.reason, f"was {gone.reason}")
            raise SessionGone(f"this session {why}; create another")
        session = self._sessions.get(session_id)
        if session is None or not caller.sees(session.owner, session_id):
            raise SessionNotFound("there is no such session; create one")
        session.last_used_s = time.monotonic()
        return session

    def session_of(self, request_id: str) -> Session | None:
        """The session that said this, as long as its chunks are kept."""
        return next((each for each in self.all() if each.knows(request_id)), None)

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    def fetched(self, request_id: str, file: str | None = None) -> None:
        """Somebody fetches a chunk of an utterance."""
        for session in self.all():
            session.fetched(request_id, file)

    def showing(self, avatar_id: str) -> list[Session]:
        return [session for session in self.all() if session.avatar.id == avatar_id]

    @property
    def storage_trouble(self) -> str | None:
        """Why no session, or nothing of what is said in it, can be kept."""
        return self._engine.store.trouble or self._records.room.trouble

    @property
    def reserved(self) -> Rates:
        """What the sessions that hold their share ask for when all of them speak."""
        holding = [each.rates for each in self.all() if each.holds_share]
        return Rates(sum(each.lips for each in holding), sum(each.output for each in holding))

    async def close(self, session_id: str, reason: str) -> None:
        """Close a session, to the end even if the caller is cancelled. Raises what `get` raises."""
        await asyncio.shield(self._begin_to_close(self.get(session_id), reason))

    def _begin_to_close(self, session: Session, reason: str) -> asyncio.Task[None]:
        del self._sessions[session.id]
        self._gone[session.id] = _Gone(reason, session.owner)
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        closing = asyncio.create_task(self._close(session, reason), name=f"close-{session.id[:8]}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def _close(self, session: Session, reason: str) -> None:
        async with self._writing:
            await self._records.remove([session.id])  # first: what is deleted never comes back
        await session.close(reason)

    async def record(self, session: Session, consent: Consent | None) -> None:
        """What is spoken in a session is recorded from now on, or no more; also by the next server.
        Raises StorageFull, OSError, SessionGone."""
        if consent is None:
            session.record(None)  # whatever the disk does
        async with self._writing:
            await self._write(session, consent=consent)
            session.record(consent)

    async def stop(self) -> None:
        """All sessions rest until the next server goes on with them, or end (`forget_on_stop`)."""
        if self._forget_on_stop:
            for session in self.all():
                self._begin_to_close(session, "shutdown")
        else:
            await self._rest()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _rest(self) -> None:
        unused_s = {each: each.unused_s for each in self.all()}  # before their viewers leave
        await asyncio.gather(*(each.rest() for each in unused_s))
        async with self._writing:
            now = time.time()
            resting = [
                replace(each.kept, epoch=each.epoch, used_at=now - unused_s[each])
                for each in self.all()
                if each in unused_s
            ]
            await self._records.rest(resting)
        log.info("%d sessions rest until the next server", len(resting))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                await self._look_at_disks()
                await self._tidy(time.monotonic())
                await self._write_changes(time.monotonic())
                await self._engine.recordings.tidy()
            except Exception:  # whatever one of them meets must not keep the others for ever
                log.exception("housekeeping")

    async def _look_at_disks(self) -> None:
        await self._engine.store.look_again()
        await to_its_end(self._records.room.look_again)

    async def _tidy(self, now_s: float) -> None:
        """A function of its own, so that whoever keeps house holds no session between times."""
        self._free_shares()
        for session in self.all():
            if session.is_idle_since(now_s - self._config.session_idle_s):
                await self.close(session.id, "expired")
            else:
                await session.forget_chunks_before(now_s - self._chunk_retention_s)

    async def _write_changes(self, now_s: float) -> None:
        """What the next server must know of sessions, if this one is killed."""
        for session in self.all():
            if session.epoch - session.kept.epoch > EPOCHS_AHEAD // 2:
                try:
                    async with self._writing:
                        await self._write(session)
                except SessionGone:  # meanwhile
                    continue
                except (StorageFull, OSError) as exc:  # tried anew
                    log.warning("%r: what has changed can't be kept: %s", session, exc)
        if now_s - self._told_used_s > min(_TELL_USED_S, self._config.session_idle_s / 3):
            used = [each.id for each in self.all() if not each.is_idle_since(self._told_used_s)]
            self._told_used_s = now_s
            await self._records.used(used)

    async def _write(self, session: Session, **changes: Any) -> None:
        """Whoever writes holds the lock. Raises SessionGone, StorageFull, OSError."""
        if self._sessions.get(session.id) is not session:
            raise SessionGone("this session has ended; create another")
        used_at = time.time() - session.unused_s
        record = replace(session.kept, epoch=session.epoch, used_at=used_at, **changes)
        await self._records.write(record)
        session.kept = record


def _unused_s(record: SessionRecord) -> float:
    """Clocks of machines may be set back."""
    return max(0.0, time.time() - record.used_at)
