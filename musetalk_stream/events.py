"""A session's events: an append-only log that any number of subscribers read at their own pace."""

import asyncio
from collections import deque
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
    last_id: int

    @property
    def first_id(self) -> int:
        """The oldest event still in the log, or the next one if it is empty."""
        ...

    def publish(self, event: Event) -> int:
        """Append an event; its id. Ids grow by one."""
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
    """The log of one session, kept in memory: a ring, and one cursor per follower."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._ring: deque[LoggedEvent] = deque(maxlen=capacity)
        self._changed = asyncio.Event()
        self._closed = False
        self.last_id = 0

    @property
    def first_id(self) -> int:
        """The oldest event still in the log, or the next one if it is empty."""
        return self.last_id + 1 - len(self._ring)

    def publish(self, event: Event) -> int:
        self.last_id += 1
        self._ring.append(LoggedEvent(self.last_id, event))
        self._notify()
        return self.last_id

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
                oldest = self._ring[0].id
                if after + 1 < oldest:
                    raise Missed
                entry = self._ring[after + 1 - oldest]
                after = entry.id
                yield entry
            if self._closed:
                return
            if changed is self._changed:
                await changed.wait()
