"""What players say of an utterance: it is on the screen, it stood still, it is over."""

import asyncio
import time
from contextlib import suppress

from .events import EventLog
from .stats import EngineStats
from .turn import Turn
from .turns import Turns
from .viewing import line_up

_MOST_STALLS = 20  # of one utterance that count


class PlayerReports:
    """Of one session. What can't be true is left out, as anybody may watch, and say anything.

    All that take a request id raise UtteranceNotFound.
    """

    def __init__(self, turns: Turns, stats: EngineStats, events: EventLog) -> None:
        self._turns = turns
        self._stats = stats
        self._events = events

    def __repr__(self) -> str:
        return f"<PlayerReports of {self._turns!r}>"

    def started(self, request_id: str, *, ago_s: float, first_frame_s: float | None) -> None:
        """A player has shown its first frame; the first to say so counts."""
        turn, now_s = self._turns.get(request_id), time.monotonic()
        delivery = turn.delivery
        if delivery.painted_s is not None or delivery.first_announced_s is None:
            return
        delivery.painted_s = max(delivery.first_announced_s, now_s - ago_s)
        delivery.watched_since_s = delivery.painted_s
        line_up(self._turns.deliveries, now_s)
        if turn.begun_s is not None and not delivery.follows:
            self._stats.first_painted(delivery.painted_s - turn.begun_s)
        if first_frame_s is not None:
            self._stats.first_frame.observe(first_frame_s)
        if not turn.status.is_stopped:
            self._events.publish(delivery.playback_started_event())

    def stalled(self, request_id: str, stalled_s: float) -> None:
        """A player stood still for want of more of it."""
        turn = self._turns.get(request_id)
        began_s = turn.delivery.first_announced_s
        if began_s is None or turn.stalls >= _MOST_STALLS:
            return
        counted_s = min(stalled_s, time.monotonic() - began_s - turn.stalled_s)
        turn.stalls += 1
        turn.stalled_s += counted_s
        self._stats.stalled(counted_s)

    def finished(self, request_id: str, *, played_ms: int, interrupted: bool) -> None:
        """A player has come to the end of it, or to where it was stopped; of several the longest
        counts, as one of them may have failed."""
        turn = self._turns.get(request_id)
        if turn.delivery.first_announced_s is None:
            return
        played_ms = min(played_ms, round(turn.delivery.seconds * 1000))
        is_expected = not turn.was_finished.is_set()
        if turn.has_report and not is_expected and played_ms <= (turn.played_ms or 0):
            return
        turn.has_report = True
        turn.played_ms = max(played_ms, turn.played_ms or 0)
        turn.was_finished.set()
        self._events.publish(
            turn.delivery.playback_finished_event(played_ms=turn.played_ms, interrupted=interrupted)
        )

    def expect(self, turn: Turn, *, is_heard: bool) -> None:
        """Of one that is being stopped: the player says now how much of it was heard, if any."""
        if is_heard:
            turn.was_finished.clear()
        elif not turn.has_report:
            turn.played_ms = 0
            turn.was_finished.set()

    async def played_ms(self, request_id: str, timeout_s: float) -> int | None:
        """What viewers heard of one that was stopped; None if no player says so in time."""
        turn = self._turns.get(request_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await turn.was_finished.wait()
        return turn.played_ms
