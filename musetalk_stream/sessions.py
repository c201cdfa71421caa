"""Sessions and their registry: create, receive, speak, watch, expire, close."""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, BinaryIO

from .audio import decode
from .avatar import Avatar
from .config import SessionConfig
from .delivery import Delivery
from .engine import Engine, Utterance
from .errors import AtCapacity, SessionGone, SessionNotFound, StreamActive, TooManySessions
from .events import MemoryEventLog, Missed
from .options import SessionOptions, number
from .schedule import admits
from .session_state import State, Trigger, advance
from .sse import Event
from .timeline import CyclePhase, frames_covering
from .utterance import PLAYER_DELAY_S, perform

log = logging.getLogger(__name__)

_REMEMBERED = 10_000  # ids of closed sessions that still answer 410; the oldest then answer 404
_WHY_GONE = {"avatar_deleted": "has ended, as its avatar was deleted"}
_HOUSEKEEPING_S = 1.0
_DELIVERIES_KEPT = 16
# A page that is loaded anew, or opened a little after its session was created, keeps its share.
SHARE_GRACE_S = 30.0
_TRY_AGAIN_S = 5  # what whoever finds the server full is told to wait


def mint_id() -> str:
    return secrets.token_urlsafe(16)


class Session:
    """One viewer's connection to one avatar. Outlives many utterances."""

    def __init__(
        self, avatar: Avatar, options: SessionOptions, user_id: str | None, engine: Engine
    ) -> None:
        self.id = mint_id()
        self.avatar = avatar
        self.options = options
        self.user_id = user_id
        self.state = State.IDLE
        self.subscribers = 0
        self.holds_share = True  # of what the server can make; the registry takes it and gives it
        self.last_used_s = time.monotonic()
        self.events = MemoryEventLog()
        self._engine = engine
        self._close_reason = ""
        self._phase = CyclePhase(
            0, time.monotonic(), avatar.manifest.fps, avatar.manifest.cycle_length
        )
        # Of the latest utterances, in order: playback may be some utterances behind generation.
        self._deliveries: deque[Delivery] = deque(maxlen=_DELIVERIES_KEPT)
        self._task: asyncio.Task[None] | None = None
        self._finished: OrderedDict[str, float] = OrderedDict()  # request id -> when it ended
        self._utterances = 0

    def __repr__(self) -> str:
        return f"<Session {self.id[:8]} {self.state.name}>"

    # --- speaking

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Holds the session while an upload arrives; StreamActive if it is taken, RendererLost if
        nothing can be spoken any more.

        Whatever goes wrong inside the block leaves the session idle.
        """
        if self.state is State.SPEAKING:
            raise StreamActive("this session is still speaking: wait for its complete event")
        if self.state is State.RECEIVING:
            raise StreamActive("another upload to this session is still arriving")
        self._check_open()
        self._engine.batcher.raise_if_lost()
        self.state = advance(self.state, Trigger.UPLOAD)
        try:
            yield
        finally:
            if self.state is State.RECEIVING:
                self.state = advance(self.state, Trigger.REJECT)

    async def speak(
        self, file: BinaryIO, *, trailing_silence_s: float, max_duration_s: float
    ) -> Delivery:
        """Decode an upload inside `receiving()` and start to speak it.

        Raises what `audio.decode` raises, and SessionGone if the session was closed meanwhile.
        """
        decode_it = partial(
            decode, file, max_duration_s=max_duration_s, trailing_silence_s=trailing_silence_s
        )
        sound = await self._engine.decoders.run(decode_it, deadline_s=time.monotonic())
        self._check_open()
        self.state = advance(self.state, Trigger.SPEAK)
        utterance = Utterance(
            mint_id(), self.id, self.avatar, sound, self.options, time.monotonic()
        )
        fps = self.options.playback_fps
        delivery = Delivery(
            utterance.request_id, fps, frames_covering(sound.num_ear, fps), self._phase
        )
        self._deliveries.append(delivery)
        self._utterances += 1
        self._task = asyncio.create_task(
            self._perform(utterance, delivery), name=f"utterance-{utterance.request_id[:8]}"
        )
        log.info("%r: utterance %s, %.2f s", self, utterance.request_id[:8], sound.duration_s)
        return delivery

    async def _perform(self, utterance: Utterance, delivery: Delivery) -> None:
        try:
            await perform(utterance, self._engine, self.events, delivery)
        finally:
            if self.state is State.SPEAKING:
                self.state = advance(self.state, Trigger.FINISH)
            delivery.has_ended = True
            self._finished[utterance.request_id] = self.last_used_s = time.monotonic()
            self._engine.store.finish(utterance.request_id)
            if delivery.runs_dry_s is not None:
                ends_s = delivery.watched_until_s or delivery.runs_dry_s + PLAYER_DELAY_S
                self._phase = self._phase.moved_to(delivery.next_cycle_frame, ends_s)

    def placeholder_at(self, avatar_frame: int) -> None:
        """The player says which cycle frame its placeholder shows now."""
        self._phase = self._phase.moved_to(avatar_frame, time.monotonic())

    # --- watching

    async def subscribe(
        self, last_event_id: int | None
    ) -> AsyncGenerator[tuple[int | None, Event], None]:
        """Events with their ids (None: not in the log), until the session is closed."""
        self.subscribers += 1
        after = last_event_id
        try:
            while True:
                if after is None:
                    after, state = self._join()
                    yield None, state
                try:
                    async with aclosing(self.events.follow(after)) as entries:
                        async for entry in entries:
                            self._watched(entry.event)
                            yield entry.id, entry.event
                except Missed:
                    yield None, {"event": "reset"}
                    after = None
                    continue
                yield None, {"event": "closed", "reason": self._close_reason}
                return
        finally:
            self.subscribers -= 1
            self.last_used_s = time.monotonic()

    def _join(self) -> tuple[int, Event]:
        """Where a new subscriber begins: with the utterance that viewers see now, if any."""
        now_s = time.monotonic()
        after, request_id, position = self.events.last_id, None, None
        for delivery in self._deliveries:
            position = delivery.position_s(now_s)
            if position is not None and delivery.first_event_id is not None:
                request_id = delivery.request_id
                # A very long utterance may have outgrown the log: then from where the log begins.
                after = max(delivery.first_event_id, self.events.first_id) - 1
                break
        state = {
            "event": "state",
            "state": self.state.value,
            "request_id": request_id,
            "position": position,
        }
        return after, state

    def _watched(self, event: Event) -> None:
        """A subscriber gets a chunk: if it is the first of its utterance, viewers see it as soon
        as they have seen the utterance before it."""
        if event["event"] != "chunk":
            return
        starts_s = time.monotonic() + PLAYER_DELAY_S
        for delivery in self._deliveries:
            if delivery.request_id == event["request_id"]:
                if delivery.watched_since_s is None:
                    delivery.watched_since_s = starts_s
                return
            starts_s = max(starts_s, delivery.watched_until_s or 0.0)

    # --- ending

    def _check_open(self) -> None:
        if self.state is State.CLOSED:
            raise SessionGone("this session has ended; create another")

    def is_idle_since(self, instant_s: float) -> bool:
        busy = self.subscribers or self.state is not State.IDLE
        return not busy and self.last_used_s < instant_s

    def needs_share(self, now_s: float) -> bool:
        """Whether somebody watches it, it speaks or is about to, viewers have not seen all of it,
        or any of this was so a moment ago."""
        if any((delivery.watched_until_s or 0.0) > now_s for delivery in self._deliveries):
            return True
        return not self.is_idle_since(now_s - SHARE_GRACE_S)

    async def forget_chunks_before(self, instant_s: float) -> None:
        """Delete the chunks of utterances that ended before an instant."""
        for request_id in [r for r, ended_s in self._finished.items() if ended_s < instant_s]:
            await self._engine.store.delete(request_id)
            self._finished.pop(request_id, None)
            for delivery in [d for d in self._deliveries if d.request_id == request_id]:
                self._deliveries.remove(delivery)

    async def close(self, reason: str) -> None:
        """Cancel what is being generated, end the event streams, delete the chunks."""
        if self.state is State.CLOSED:
            return
        self.state = advance(self.state, Trigger.CLOSE)
        self._close_reason = reason
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
            # Its CancelledError refers to frames that refer to this session and to the sound:
            # a cycle of up to hundreds of megabytes that would wait for the garbage collector.
            self._task = None
        self.events.close()
        for request_id in list(self._finished):  # housekeeping may be at it, too
            await self._engine.store.delete(request_id)
        log.info("%r: %s", self, reason)

    # --- describing

    def describe(self) -> dict[str, Any]:
        latest = self._deliveries[-1] if self._deliveries else None
        return {
            "session_id": self.id,
            "state": self.state.value,
            "avatar_id": self.avatar.id,
            "user_id": self.user_id,
            "config": self.options.to_json(),
            "subscribers": self.subscribers,
            "utterance": latest
            and {
                "request_id": latest.request_id,
                "duration": latest.duration_s,
                "chunks": latest.chunks,
                "frames": latest.frames,
                "seconds": latest.seconds,
            },
            "counters": {"utterances": self._utterances, "events": self.events.last_id},
        }


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
        capacity_fps = self._engine.batcher.capacity_fps
        if not admits(capacity_fps, self.reserved_fps, float(options.playback_fps)):
            raise AtCapacity(
                f"this server makes {capacity_fps:.0f} frames per second; its sessions play "
                f"{self.reserved_fps:g}, and {number(options.playback_fps)} more would make them "
                "stall: delete one, ask for less or try again later",
                retry_after_s=_TRY_AGAIN_S,
            )

    def create(self, avatar: Avatar, options: SessionOptions, user_id: str | None) -> Session:
        """Raises what `require_room` raises."""
        self.require_room(options)
        session = Session(avatar, options, user_id, self._engine)
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

    def showing(self, avatar_id: str) -> list[Session]:
        return [session for session in self.all() if session.avatar.id == avatar_id]

    @property
    def reserved_fps(self) -> float:
        """Frames per second that the sessions that hold their share play when all of them speak.
        Each is rendered, at `playback_fps`: the picture under held lips is another one."""
        return float(sum(each.options.playback_fps for each in self.all() if each.holds_share))

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
            now = time.monotonic()
            self._free_shares()
            for session in self.all():
                if session.is_idle_since(now - self._config.session_idle_s):
                    await self.close(session.id, "expired")
                else:
                    await session.forget_chunks_before(now - self._chunk_retention_s)
