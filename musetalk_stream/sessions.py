"""One viewer's connection: speak, watch, close."""

import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from typing import Any

from .avatar import Avatar
from .captions import Cue
from .consent import Consent
from .conversation import Conversation, Interruption
from .delivery import Delivery
from .engine import Engine
from .errors import ChunkNotFound, SessionGone, ShuttingDown, UtteranceEnded
from .events import LoggedEvent, MemoryEventLog, Missed, forever
from .options import SessionOptions, SpeechOptions
from .recordings import Piece, Recording
from .records import SessionRecord
from .schedule import Rates
from .session_state import State
from .sse import Event
from .store import Found
from .turn import Turn, mint_id
from .utterance import LOOK_AGAIN_S

log = logging.getLogger(__name__)

# A page that is loaded anew, or opened a little after its session was created, keeps its share.
SHARE_GRACE_S = 30.0
# Event ids go on above all that the servers before this one can have given.
_EVENTS_PER_RUN = 1 << 32


class Session:
    """One viewer's connection to one avatar. Outlives many utterances."""

    def __init__(
        self, avatar: Avatar, record: SessionRecord, engine: Engine, *, max_queue: int
    ) -> None:
        self.id = record.session_id
        self.avatar = avatar
        self.kept = record  # as it was written last
        self.options = options = record.options
        self.user_id = record.user_id
        self.owner = record.owner  # id of the API key that made it; empty on a server without keys
        self.rates = rates_of(self.options)  # what it asks for when it speaks
        self.connections = 0  # over which somebody may speak at any time
        self.holds_share = True  # of what the server can make; the registry takes it and gives it
        self.last_used_s = time.monotonic()
        self._began_after = (record.runs - 1) * _EVENTS_PER_RUN
        self.events = MemoryEventLog(after=self._began_after)
        self._conversation = Conversation(
            self.id,
            avatar,
            options,
            engine,
            self.events,
            max_queue=max_queue,
            epoch=record.epoch,
        )
        self._engine = engine
        self._consent: Consent | None = None
        self._is_closed = False
        self._closed_event: Event = {}
        self._lost_until = 0  # id of the last event that only says what a restart has lost

    def __repr__(self) -> str:
        return f"<Session {self.id[:8]} {self.state.name}>"

    @property
    def state(self) -> State:
        return State.CLOSED if self._is_closed else self._conversation.state

    @property
    def subscribers(self) -> int:
        """Who read its events now."""
        return self._conversation.subscribers

    @property
    def num_waiting(self) -> int:
        """Utterances that wait for their turn."""
        return self._conversation.turns.num_waiting

    @property
    def num_active(self) -> int:
        """Utterances that are spoken, or wait."""
        return len(self._conversation.turns.active)

    @property
    def epoch(self) -> int:
        """Grows by one with every interruption."""
        return self._conversation.epoch

    # --- speaking

    @contextmanager
    def admit(self, options: SpeechOptions, *, key: str | None = None) -> Iterator[Turn]:
        """A place in the queue for speech that arrives inside the block.

        An error that leaves the block ends the speech early with it: what came is spoken. If
        nothing came, it has never been. Raises SessionGone, now or when the session was closed
        meanwhile; and what `Conversation.admit` raises.
        """
        self._check_open()
        try:
            with self._conversation.admit(options, key=key) as turn:
                yield turn
        except UtteranceEnded:
            self._check_open()
            raise
        self._check_open()

    def said(self, key: str) -> Turn | None:
        """The utterance that was sent with an Idempotency-Key."""
        return self._conversation.turns.said(key)

    def turn(self, request_id: str) -> Turn:
        """Raises UtteranceNotFound."""
        return self._conversation.turns.get(request_id)

    def knows(self, request_id: str) -> bool:
        """Whether an utterance is, or was, of this session, and its chunks may be there."""
        return self._conversation.knows(request_id)

    def is_next(self, turn: Turn) -> bool:
        """Whether nothing is to be spoken before it."""
        return turn in self._conversation.turns.active[:1]

    @property
    def current(self) -> Turn | None:
        """The utterance that speaks or is the next to, else the last that did."""
        return self._conversation.turns.current

    def caption(self, request_id: str, cues: tuple[Cue, ...]) -> None:
        """What is said in an utterance, in place of what was given before. Raises
        UtteranceNotFound."""
        self._conversation.caption(request_id, cues)

    def utterances(self) -> list[dict[str, Any]]:
        """The latest, oldest first."""
        return [turn.describe() for turn in self._conversation.turns]

    def interrupt(self) -> Interruption:
        """Stop everything that is being said, or is still to be."""
        return self._conversation.interrupt()

    async def played_ms(self, interruption: Interruption, timeout_s: float) -> int | None:
        """What viewers heard of what was interrupted; None if no player says so in time."""
        return await self._conversation.played_ms(interruption, timeout_s)

    def cancel(self, request_id: str) -> None:
        """Stop one utterance; no change if it is over. Raises UtteranceNotFound."""
        self._conversation.cancel(request_id)

    def playback_started(
        self, request_id: str, *, ago_s: float, first_frame_s: float | None = None
    ) -> None:
        """A player shows the first frame of an utterance; `first_frame_s` after its upload, if it
        knows that. Raises UtteranceNotFound."""
        self._conversation.reports.started(request_id, ago_s=ago_s, first_frame_s=first_frame_s)

    def playback_stalled(self, request_id: str, stalled_s: float) -> None:
        """A player had to wait for more of an utterance. Raises UtteranceNotFound."""
        self._conversation.reports.stalled(request_id, stalled_s)

    def playback_finished(self, request_id: str, *, played_ms: int, interrupted: bool) -> None:
        """A player has come to its end, or to where it was stopped. Raises UtteranceNotFound."""
        self._conversation.reports.finished(
            request_id, played_ms=played_ms, interrupted=interrupted
        )

    def placeholder_at(self, avatar_frame: int) -> None:
        """The player says which cycle frame its placeholder shows now."""
        self._conversation.placeholder_at(avatar_frame)

    # --- watching

    async def until(self, is_so: Callable[[], bool], timeout_s: float = math.inf) -> bool:
        """Whether something about its utterances becomes so within that time. Raises SessionGone
        when the session is closed before."""
        end_s = time.monotonic() + timeout_s
        while not is_so():
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            await self._conversation.moves(min(left_s, LOOK_AGAIN_S))
            self._check_open()
        return True

    @contextmanager
    def connected(self) -> Iterator[None]:
        """It does not expire within the block: somebody is there, who may take their time."""
        self.connections += 1
        try:
            yield
        finally:
            self.connections -= 1
            self.last_used_s = time.monotonic()

    def fetched(self, request_id: str, file: str | None = None) -> None:
        """Somebody fetches a chunk (None: a recording): if it is of this session, that has a
        viewer."""
        self._conversation.fetched(request_id, file)

    def looked_at(self, request_id: str) -> None:
        """Somebody who fetches an utterance, or lists of it, is still there."""
        self._conversation.looked_at(request_id)

    async def subscribe(
        self, last_event_id: int | None, patience_s: Callable[[], float] = forever
    ) -> AsyncGenerator[list[LoggedEvent], None]:
        """Events, those that are there together, until the session is closed; none of them when
        there was none for so long."""
        self._conversation.subscribers += 1
        self._engine.stats.reconnects += last_event_id is not None
        after, has_missed = last_event_id, False
        try:
            while True:
                if after is None:
                    after, state = self._join(knows_last_run=has_missed)
                    # With an id, or who is cut off before the next event would miss what follows.
                    yield [LoggedEvent(after, state)]
                try:
                    async with aclosing(self.events.batches(after, patience_s)) as batches:
                        async for entries in batches:
                            alive = self._alive(entries)
                            if alive or not entries:
                                yield alive
                except Missed:
                    self._engine.stats.resets += 1
                    yield [LoggedEvent(None, {"event": "reset"})]
                    has_missed, after = after < self._began_after, None
                    continue
                yield [LoggedEvent(None, self._closed_event)]
                return
        finally:
            self._conversation.subscribers -= 1
            self.last_used_s = time.monotonic()

    def _alive(self, entries: list[LoggedEvent]) -> list[LoggedEvent]:
        """Without those about speech that has been stopped since."""
        return [entry for entry in entries if not self._conversation.is_dead(entry.event)]

    def _join(self, *, knows_last_run: bool) -> tuple[int, Event]:
        """Where a new subscriber begins: with the utterance that viewers see now, if any; after the
        server was started again, with what was lost by that, if it may have waited for it."""
        now_s = time.monotonic()
        after, request_id, position = self.events.last_id, None, None
        if knows_last_run or after == self._lost_until:
            after = max(self._began_after, self.events.first_id - 1)
        for delivery in self._conversation.turns.deliveries:
            seen_s = delivery.position_s(now_s)
            if seen_s is None:
                continue
            # Of one whose sound is still to come, everything is.
            if delivery.first_event_id is not None:
                request_id, position = delivery.request_id, seen_s
                # A very long utterance may have outgrown the log: then from where the log begins.
                after = min(after, max(delivery.first_event_id, self.events.first_id) - 1)
            break
        state = {
            "event": "state",
            "state": self.state.value,
            "request_id": request_id,
            "position": position,
            "epoch": self.epoch,
            "recording": self._consent is not None,
        }
        if knows_last_run:
            state["resumed"] = True  # so the epoch is another, and nothing was interrupted
        return after, state

    # --- being recorded

    @property
    def consent(self) -> Consent | None:
        """To be recorded, if that was given."""
        return self._consent

    def record(self, consent: Consent | None) -> None:
        """What is spoken from now on is recorded; None: no more, nor what is being said."""
        if consent == self._consent:
            return
        self._consent = consent
        self._conversation.keep_it = None if consent is None else partial(self._keep, consent)
        event: Event = {"event": "recording", "on": consent is not None}
        if consent is not None:
            event = {**event, "consent": consent.to_viewers()}
        self.events.publish(event)

    async def _keep(self, consent: Consent, delivery: Delivery) -> None:
        store, pieces = self._engine.store, list[Piece]()
        recording = Recording(
            mint_id(),
            session_id=self.id,
            request_id=delivery.request_id,
            avatar_id=self.avatar.id,
            owner=self.owner,
            user_id=self.user_id,
            recorded_at=time.time(),
            duration_s=delivery.seconds,
            mime=delivery.mime,
            consent=consent,
        )
        try:
            for segment in delivery.segments:
                start = segment.init_size if pieces else 0
                path = store.get(delivery.request_id, segment.name).path
                pieces.append(Piece(path, start, segment.size - start))
        except ChunkNotFound:  # it was so long that its first chunks made room for others
            log.error("%r: %s is not recorded: its chunks are gone", self, delivery.request_id[:8])
            return
        await self._engine.recordings.keep(recording, pieces, lambda: self._consent is consent)

    # --- ending

    async def drain(self, limit_s: float, grace_s: float) -> None:
        """Begin nothing more and speak to the end, within that time, in the second half of which no
        more sound is taken; then leave those who fetch some time to come to the last chunk."""
        its = self._conversation
        its.drain()
        with suppress(SessionGone):
            await self.until(lambda: self.state is not State.SPEAKING, limit_s / 2)
            its.end_sound()
            await self.until(lambda: self.state is not State.SPEAKING, limit_s / 2)
            its.give_up()
            if self.is_watched:
                await self.until(lambda: not its.has_unfetched, grace_s)

    @property
    def is_watched(self) -> bool:
        """Whether anybody has its events, or a recording that grows, open."""
        return bool(self.subscribers or self.connections)

    def _check_open(self) -> None:
        if not self._is_closed:
            return
        if self._closed_event.get("resumable"):
            raise ShuttingDown("the server is shutting down; this session goes on with the next")
        raise SessionGone("this session has ended; create another")

    @property
    def unused_s(self) -> float:
        """How long nobody has been there, and nothing said."""
        return max(0.0, time.monotonic() - self._in_use_until_s)

    def is_idle_since(self, instant_s: float) -> bool:
        return self._in_use_until_s < instant_s

    @property
    def _in_use_until_s(self) -> float:
        if self.subscribers or self.connections or self.state is not State.IDLE:
            return math.inf
        return max(self.last_used_s, self._conversation.last_spoken_s)

    def needs_share(self, now_s: float) -> bool:
        """Whether somebody watches it, it speaks or is about to, viewers have not seen all of it,
        or any of this was so a moment ago."""
        if self.subscribers or self.connections:
            return True
        deliveries = self._conversation.turns.deliveries
        if any((delivery.watched_until_s or 0.0) > now_s for delivery in deliveries):
            return True
        return not self.is_idle_since(now_s - SHARE_GRACE_S)

    async def forget_chunks_before(self, instant_s: float) -> None:
        """Delete the chunks of utterances that ended before an instant."""
        await self._conversation.forget_chunks_before(instant_s)

    def resume(self, found: Sequence[Found], *, unused_s: float) -> None:
        """Go on with what the last server left of it. It holds no share until it speaks."""
        self._conversation.resume(found)
        self._lost_until = self.events.last_id
        if self._engine.recordings.are_allowed:
            self.record(self.kept.consent)
        self.holds_share = False
        self.last_used_s = self._conversation.last_spoken_s = time.monotonic() - unused_s

    async def close(self, reason: str) -> None:
        """Stop what is being said, end the event streams, delete the chunks."""
        await self._end({"event": "closed", "reason": reason})
        log.info("%r: %s", self, reason)
        await self._conversation.forget_all_chunks()

    async def rest(self) -> None:
        """Likewise, but the next server goes on with it: what was said can still be fetched."""
        await self._end({"event": "closed", "reason": "shutdown", "resumable": True})

    async def _end(self, closed: Event) -> None:
        """One that rests already can still be deleted."""
        self._is_closed, self._closed_event = True, closed
        await self._conversation.close()
        self.events.close()

    # --- describing

    def describe(self) -> dict[str, Any]:
        shown = self._conversation.turns.shown
        return {
            "session_id": self.id,
            "state": self.state.value,
            "epoch": self.epoch,
            "avatar_id": self.avatar.id,
            "user_id": self.user_id,
            "config": self.options.to_json(),
            "recording": self._consent is not None,
            "subscribers": self.subscribers,
            "utterance": shown
            and {
                "request_id": shown.request_id,
                "duration": shown.duration_s,
                "chunks": shown.delivery.chunks,
                "frames": shown.delivery.frames,
                "seconds": shown.delivery.seconds,
                "timings_ms": shown.timings_ms(),
            },
            "counters": {
                "utterances": self._conversation.num_spoken,
                "events": self.events.last_id - self._began_after,
            },
        }


def rates_of(options: SessionOptions) -> Rates:
    return Rates(float(options.fps), float(options.playback_fps))
