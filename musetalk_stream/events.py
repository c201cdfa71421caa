"""A session's events: an append-only log that any number of subscribers read at their own pace."""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from .sse import Event, encode_event

# Enough for an hour of two-second chunks. A subscriber that falls further behind is told to start
# over (`reset`); one that does not read costs nothing.
CAPACITY = 2000
# Read at a time: what is stopped meanwhile is not read any more.
_MOST_AT_ONCE = 64


@dataclass(slots=True)
class LoggedEvent:
    """id: of what is told to one follower alone, and is in no log: that of the last event that it
    need not be told any more, or None"""

    id: int | None
    event: Event
    _wire: bytes = field(default=b"", repr=False, compare=False)

    def wire(self) -> bytes:
        """As it is sent. It is encoded once, however many follow."""
        if not self._wire:
            self._wire = encode_event(self.event, self.id)
        return self._wire


def forever() -> float:
    """The patience of who has no other."""
    return math.inf


class Missed(Exception):
    """The events after the asked-for id are no longer in the log (or never were)."""


class EventLog(Protocol):
    first_id: int
    last_id: int

    def publish(self, event: Event) -> int:
        """Append an event; its id. Ids grow by one."""
        ...

    def withdraw(self, event_id: int) -> None:
        """Let go of an event: who has not read it yet never will."""
        ...

    def follow(self, after: int) -> AsyncGenerator[LoggedEvent, None]:
        """Every event after the given id, as they come, until the log is closed.

        Raises Missed when some of them are gone.
        """
        ...

    def batches(
        self, after: int, patience_s: Callable[[], float] = forever
    ) -> AsyncGenerator[list[LoggedEvent], None]:
        """Likewise, those that are there together; none of them when there was none for so long."""
        ...

    def close(self) -> None:
        """No more events: followers end once they have read all."""
        ...


class MemoryEventLog:
    """The log of one session, kept in memory: the latest events, and one cursor per follower.

    first_id  from which on nothing has been lost
    """

    def __init__(self, capacity: int = CAPACITY, *, after: int = 0) -> None:
        """after: the id that comes before the first"""
        self._capacity = capacity
        self._events: dict[
            int, LoggedEvent
        ] = {}  # oldest first; ids that are not in it were withdrawn
        self._changed = asyncio.Event()
        self._closed = False
        self.first_id = after + 1
        self.last_id = after

    def publish(self, event: Event) -> int:
        self.last_id += 1
        self._events[self.last_id] = LoggedEvent(self.last_id, event)
        if len(self._events) > self._capacity:
            oldest = next(iter(self._events))
            del self._events[oldest]
            self.first_id = oldest + 1
        self._notify()
        return self.last_id

    def withdraw(self, event_id: int) -> None:
        self._events.pop(event_id, None)

    def close(self) -> None:
        self._closed = True
        self._notify()

    def _notify(self) -> None:
        """Wake everyone who waits now; whoever comes later waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, after: int) -> AsyncGenerator[LoggedEvent, None]:
        async with aclosing(self.batches(after)) as batches:
            async for entries in batches:
                for entry in entries:
                    yield entry

    async def batches(
        self, after: int, patience_s: Callable[[], float] = forever
    ) -> AsyncGenerator[list[LoggedEvent], None]:
        if after > self.last_id:
            raise Missed
        while True:
            if after < self.last_id:
                if after + 1 < self.first_id:
                    raise Missed
                last = min(self.last_id, after + _MOST_AT_ONCE)
                ids = range(after + 1, last + 1)
                after = last
                if entries := [self._events[each] for each in ids if each in self._events]:
                    yield entries
            elif self._closed:
                return
            elif not await _is_set_within(self._changed, patience_s()):
                yield []


async def _is_set_within(event: asyncio.Event, timeout_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
            await event.wait()
    return event.is_set()
