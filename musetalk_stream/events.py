"""A session's events: an append-only log that any number of subscribers read at their own pace."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from .sse import Event

# Enough for an hour of two-second chunks. A subscriber that falls further behind is told to start
# over (`reset`); one that does not read costs nothing.
CAPACITY = 2000


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    id: int
    event: Event


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
        self._events: dict[int, Event] = {}  # oldest first; ids that are not in it were withdrawn
        self._changed = asyncio.Event()
        self._closed = False
        self.first_id = after + 1
        self.last_id = after

    def publish(self, event: Event) -> int:
        self.last_id += 1
        self._events[self.last_id] = event
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
        if after > self.last_id:
            raise Missed
        while True:
            changed = self._changed
            while after < self.last_id:
                if after + 1 < self.first_id:
                    raise Missed
                after += 1
                if after in self._events:
                    yield LoggedEvent(after, self._events[after])
            if self._closed:
                return
            if changed is self._changed:
                await changed.wait()
