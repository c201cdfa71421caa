"""One viewer's connection: speak, watch, close."""

import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from .avatar import Avatar
from .captions import Cue
from .conversation import Conversation, Interruption
from .engine import Engine
from .errors import SessionGone, UtteranceEnded
from .events import MemoryEventLog, Missed
from .options import SessionOptions, SpeechOptions
from .session_state import State
from .sse import Event
from .turn import Turn, mint_id
from .utterance import LOOK_AGAIN_S

log = logging.getLogger(__name__)

# A page that is loaded anew, or opened a little after its session was created, keeps its share.
SHARE_GRACE_S = 30.0


class Session:
    """One viewer's connection to one avatar. Outlives many utterances."""

    def __init__(
        self,
        avatar: Avatar,
        options: SessionOptions,
        user_id: str | None,
        engine: Engine,
        *,
        max_queue: int,
    ) -> None:
        self.id = mint_id()
        self.avatar = avatar
        self.options = options
        self.user_id = user_id
        self.connections = 0  # over which somebody may speak at any time
        self.holds_share = True  # of what the server can make; the registry takes it and gives it
        self.last_used_s = time.monotonic()
        self.events = MemoryEventLog()
        self._conversation = Conversation(
            self.id, avatar, options, engine, self.events, max_queue=max_queue
        )
        self._is_closed = False
        self._close_reason = ""

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
        self._conversation.playback_started(request_id, ago_s=ago_s, first_frame_s=first_frame_s)

    def playback_stalled(self, request_id: str, stalled_s: float) -> None:
        """A player had to wait for more of an utterance. Raises UtteranceNotFound."""
        self._conversation.playback_stalled(request_id, stalled_s)

    def playback_finished(self, request_id: str, *, played_ms: int, interrupted: bool) -> None:
        """A player has come to its end, or to where it was stopped. Raises UtteranceNotFound."""
        self._conversation.playback_finished(
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

    def fetched(self, request_id: str) -> None:
        """Somebody fetches a chunk: if it is of this session, that has a viewer."""
        self._conversation.fetched(request_id)

    async def subscribe(
        self, last_event_id: int | None
    ) -> AsyncGenerator[tuple[int | None, Event], None]:
        """Events with their ids (None: not in the log), until the session is closed."""
        self._conversation.subscribers += 1
        after = last_event_id
        try:
            while True:
                if after is None:
                    after, state = self._join()
                    yield None, state
                try:
                    async with aclosing(self.events.follow(after)) as entries:
                        async for entry in entries:
                            if self._conversation.is_dead(entry.event):
                                continue
                            yield entry.id, entry.event
                except Missed:
                    yield None, {"event": "reset"}
                    after = None
                    continue
                yield None, {"event": "closed", "reason": self._close_reason}
                return
        finally:
            self._conversation.subscribers -= 1
            self.last_used_s = time.monotonic()

    def _join(self) -> tuple[int, Event]:
        """Where a new subscriber begins: with the utterance that viewers see now, if any."""
        now_s = time.monotonic()
        after, request_id, position = self.events.last_id, None, None
        for delivery in self._conversation.turns.deliveries:
            seen_s = delivery.position_s(now_s)
            if seen_s is None:
                continue
            # Of one whose sound is still to come, everything is.
            if delivery.first_event_id is not None:
                request_id, position = delivery.request_id, seen_s
                # A very long utterance may have outgrown the log: then from where the log begins.
                after = max(delivery.first_event_id, self.events.first_id) - 1
            break
        state = {
            "event": "state",
            "state": self.state.value,
            "request_id": request_id,
            "position": position,
            "epoch": self.epoch,
        }
        return after, state

    # --- ending

    def _check_open(self) -> None:
        if self._is_closed:
            raise SessionGone("this session has ended; create another")

    def is_idle_since(self, instant_s: float) -> bool:
        busy = self.subscribers or self.connections or self.state is not State.IDLE
        return not busy and max(self.last_used_s, self._conversation.last_spoken_s) < instant_s

    def needs_share(self, now_s: float) -> bool:
        """Whether somebody watches it, it speaks or is about to, viewers have not seen all of it,
        or any of this was so a moment ago."""
        deliveries = self._conversation.turns.deliveries
        if any((delivery.watched_until_s or 0.0) > now_s for delivery in deliveries):
            return True
        return not self.is_idle_since(now_s - SHARE_GRACE_S)

    async def forget_chunks_before(self, instant_s: float) -> None:
        """Delete the chunks of utterances that ended before an instant."""
        await self._conversation.forget_chunks_before(instant_s)

    async def close(self, reason: str) -> None:
        """Stop what is being said, end the event streams, delete the chunks."""
        if self._is_closed:
            return
        self._is_closed = True
        self._close_reason = reason
        await self._conversation.close()
        self.events.close()
        await self._conversation.forget_all_chunks()
        log.info("%r: %s", self, reason)

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
                "events": self.events.last_id,
            },
        }
