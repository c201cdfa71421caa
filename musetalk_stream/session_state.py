"""The life of a turn as a table: what may happen in which state; and what a session does, by what
its turns do."""

from collections.abc import Iterable
from enum import Enum, StrEnum, auto

from .errors import MuseTalkStreamError


class TurnState(StrEnum):
    QUEUED = "queued"  # its sound is on its way, or others are before it
    SPEAKING = "speaking"  # it is being generated
    COMPLETE = "complete"  # all of it is there; viewers may not have seen it yet
    FAILED = "failed"  # so far, and no further
    INTERRUPTED = "interrupted"  # with everything else of its epoch
    CANCELLED = "cancelled"  # alone, or with its session
    DROPPED = "dropped"  # nothing of it could be spoken: as if it had never been

    @property
    def is_active(self) -> bool:
        """Whether something is still to be done for it."""
        return self in (TurnState.QUEUED, TurnState.SPEAKING)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing of it may be seen or heard any more."""
        return self in (TurnState.INTERRUPTED, TurnState.CANCELLED, TurnState.DROPPED)


class Trigger(Enum):
    SPEAK = auto()
    FINISH = auto()
    FAIL = auto()
    INTERRUPT = auto()
    CANCEL = auto()
    DROP = auto()


_STOPS = {Trigger.INTERRUPT: TurnState.INTERRUPTED, Trigger.CANCEL: TurnState.CANCELLED}

TRANSITIONS: dict[TurnState, dict[Trigger, TurnState]] = {
    TurnState.QUEUED: {
        Trigger.SPEAK: TurnState.SPEAKING,
        Trigger.FAIL: TurnState.FAILED,
        Trigger.DROP: TurnState.DROPPED,
        **_STOPS,
    },
    TurnState.SPEAKING: {
        Trigger.FINISH: TurnState.COMPLETE,
        Trigger.FAIL: TurnState.FAILED,
        **_STOPS,
    },
    # What is generated and not seen yet can still be stopped.
    TurnState.COMPLETE: _STOPS,
    TurnState.FAILED: _STOPS,
    TurnState.INTERRUPTED: {},
    TurnState.CANCELLED: {},
    TurnState.DROPPED: {},
}


class IllegalTransition(MuseTalkStreamError):
    """A move that the table does not have; nothing was changed."""


def advance(state: TurnState, trigger: Trigger) -> TurnState:
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTransition(f"can't {trigger.name} while {state.name}") from None


class State(StrEnum):
    IDLE = "idle"  # the placeholder plays, or what has been generated
    RECEIVING = "receiving"  # the first sound of an utterance is arriving or being decoded
    SPEAKING = "speaking"  # an utterance is being generated
    CLOSED = "closed"  # deleted, expired or shut down; final


def session_state(turns: Iterable[tuple[TurnState, bool]]) -> State:
    """What an open session does.

    turns  of each turn its state, and whether all of its sound is there: then it is spoken as soon
           as nothing is before it
    """
    known = list(turns)
    if any(state is TurnState.SPEAKING for state, _ in known):
        return State.SPEAKING
    waiting = [is_there for state, is_there in known if state is TurnState.QUEUED]
    if not waiting:
        return State.IDLE
    return State.SPEAKING if waiting[0] else State.RECEIVING
