"""Sessions and their registry: create, receive, speak, watch, expire, close."""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, BinaryIO

from .audio import decode
from .avatar import Avatar
from .config import SessionConfig
from .delivery import Delivery
from .errors import SessionGone, SessionNotFound, StreamActive, TooManySessions
from .events import MemoryEventLog, Missed
from .options import SessionOptions
from .session_state import State, Trigger, advance
from .sse import Event
from .timeline import CyclePhase, frames_covering
from .utterance import PLAYER_DELAY_S, Engine, Utterance, perform

log = logging.getLogger(__name__)

_REMEMBERED = 10_000  # ids of closed sessions that still answer 410; the oldest then answer 404
_HOUSEKEEPING_S = 1.0


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
        self.last_used_s = time.monotonic()
        self.events = MemoryEventLog()
        self._engine = engine
        self._close_reason = ""
        self._phase = CyclePhase(
            0, time.monotonic(), avatar.manifest.fps, avatar.manifest.cycle_length
        )
        self._delivery: Delivery | None = None  # of the latest utterance
        self._task: asyncio.Task[None] | None = None
        self._watched_since_s: float | None = None
        self._finished: OrderedDict[str, float] = OrderedDict()  # request id -> when it ended
        self._utterances = 0

    def __repr__(self) -> str:
        return f"<Session {self.id[:8]} {self.state.name}>"

    # --- speaking

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Holds the session while an upload arrives; StreamActive if it is taken.

        Whatever goes wrong inside the block leaves the session idle.
        """
        if self.state in (State.RECEIVING, State.SPEAKING):
            raise StreamActive("this session is still speaking: wait for its complete event")
        self._check_open()
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
        pcm = await asyncio.to_thread(
            decode, file, max_duration_s=max_duration_s, trailing_silence_s=trailing_silence_s
        )
        self._check_open()
        self.state = advance(self.state, Trigger.SPEAK)
        utterance = Utterance(mint_id(), self.avatar, pcm, self.options, time.monotonic())
        fps = self.options.playback_fps
        delivery = Delivery(
            utterance.request_id, fps, frames_covering(len(pcm.ear), fps), self._phase
        )
        self._delivery, self._watched_since_s = delivery, None
        self._utterances += 1
        self._task = asyncio.create_task(
            self._perform(utterance, delivery), name=f"utterance-{utterance.request_id[:8]}"
        )
        log.info("%r: utterance %s, %.2f s", self, utterance.request_id[:8], pcm.duration_s)
        return delivery

    async def _perform(self, utterance: Utterance, delivery: Delivery) -> None:
        try:
            await perform(utterance, self._engine, self.events, delivery)
        finally:
            if self.state is State.SPEAKING:
                self.state = advance(self.state, Trigger.FINISH)
            self._finished[utterance.request_id] = time.monotonic()
            if delivery.runs_dry_s is not None:
                ends_s = delivery.runs_dry_s + PLAYER_DELAY_S
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
        """Where a new subscriber begins: at the running utterance if it can still be seen."""
        position = self._position_s()
        request_id = None
        after = self.events.last_id
        if position is not None and self._delivery and self._delivery.first_event_id:
            request_id = self._delivery.request_id
            # A very long utterance may have outgrown the log: then from where the log begins.
            after = max(self._delivery.first_event_id, self.events.first_id) - 1
        state = {
            "event": "state",
            "state": self.state.value,
            "request_id": request_id,
            "position": position,
        }
        return after, state

    def _position_s(self) -> float | None:
        """Seconds of the latest utterance that viewers have seen; None if they have seen it all.

        Generation runs ahead of playback: an utterance can be seen for a while after its end, and
        one that nobody has watched yet waits for its first viewer.
        """
        if self._delivery is None:
            return None
        if self._watched_since_s is None:
            return 0.0
        position = time.monotonic() - self._watched_since_s
        return position if position < self._delivery.duration_s else None

    def _watched(self, event: Event) -> None:
        """A replay of earlier utterances says nothing about the one that runs."""
        running = self._delivery and event.get("request_id") == self._delivery.request_id
        if running and event["event"] == "chunk" and self._watched_since_s is None:
            self._watched_since_s = time.monotonic() + PLAYER_DELAY_S

    # --- ending

    def _check_open(self) -> None:
        if self.state is State.CLOSED:
            raise SessionGone("this session has ended; create another")

    def is_idle_since(self, instant_s: float) -> bool:
        busy = self.subscribers or self.state is not State.IDLE
        return not busy and self.last_used_s < instant_s

    async def forget_chunks_before(self, instant_s: float) -> None:
        """Delete the chunks of utterances that ended before an instant."""
        for request_id in [r for r, ended_s in self._finished.items() if ended_s < instant_s]:
            del self._finished[request_id]
            await self._engine.store.delete(request_id)
            if self._delivery and self._delivery.request_id == request_id:
                self._delivery = None

    async def close(self, reason: str) -> None:
        """Cancel what is being generated, end the event streams, delete the chunks."""
        if self.state is State.CLOSED:
            return
        self.state = advance(self.state, Trigger.CLOSE)
        self._close_reason = reason
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.events.close()
        for request_id in list(self._finished):  # housekeeping may be at it, too
            await self._engine.store.delete(request_id)
        log.info("%r: %s", self, reason)

    # --- describing

    def describe(self) -> dict[str, Any]:
        latest = self._delivery
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

    def __repr__(self) -> str:
        return f"<SessionRegistry {len(self._sessions)} sessions>"

    @property
    def idle_timeout_s(self) -> float:
        return self._config.session_idle_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SessionRegistry"]:
        """Sessions expire while this block runs, and are all closed at its end."""
        housekeeper = asyncio.create_task(self._keep_house(), name="housekeeping")
        try:
            yield self
        finally:
            housekeeper.cancel()
            await asyncio.wait([housekeeper])
            await self.close_all("shutdown")

    def create(self, avatar: Avatar, options: SessionOptions, user_id: str | None) -> Session:
        """Raises TooManySessions."""
        if len(self._sessions) >= self._config.max_sessions:
            raise TooManySessions(
                f"this server takes {self._config.max_sessions} sessions and has as many: "
                "delete one or try again later",
                retry_after_s=5,
            )
        session = Session(avatar, options, user_id, self._engine)
        self._sessions[session.id] = session
        log.info("%r: created, avatar %s", session, avatar.id)
        return session

    def get(self, session_id: str) -> Session:
        """Raises SessionNotFound, or SessionGone while the id is remembered."""
        if session_id in self._gone:
            raise SessionGone(f"this session was {self._gone[session_id]}; create another")
        try:
            session = self._sessions[session_id]
        except KeyError:
            raise SessionNotFound("there is no such session; create one") from None
        session.last_used_s = time.monotonic()
        return session

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    async def close(self, session_id: str, reason: str) -> None:
        """Raises what `get` raises."""
        session = self.get(session_id)
        del self._sessions[session_id]
        self._gone[session_id] = reason
        if len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
        await session.close(reason)

    async def close_all(self, reason: str) -> None:
        await asyncio.gather(*(self.close(session_id, reason) for session_id in self._sessions))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            now = time.monotonic()
            for session in self.all():
                if session.is_idle_since(now - self._config.session_idle_s):
                    await self.close(session.id, "expired")
                else:
                    await session.forget_chunks_before(now - self._chunk_retention_s)
