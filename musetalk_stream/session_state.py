"""The life of a session as a table: what may happen in which state."""

from enum import Enum, StrEnum, auto

from .errors import MuseTalkStreamError


class State(StrEnum):
    IDLE = "idle"  # the placeholder plays
    RECEIVING = "receiving"  # an upload is arriving or being decoded
    SPEAKING = "speaking"  # an utterance is being generated
    CLOSED = "closed"  # deleted, expired or shut down; final


class Trigger(Enum):
    UPLOAD = auto()
    REJECT = auto()
    SPEAK = auto()
    FINISH = auto()
    CLOSE = auto()


TRANSITIONS: dict[State, dict[Trigger, State]] = {
    State.IDLE: {Trigger.UPLOAD: State.RECEIVING, Trigger.CLOSE: State.CLOSED},
    State.RECEIVING: {
        Trigger.SPEAK: State.SPEAKING,
        Trigger.REJECT: State.IDLE,
        Trigger.CLOSE: State.CLOSED,
    },
    State.SPEAKING: {Trigger.FINISH: State.IDLE, Trigger.CLOSE: State.CLOSED},
    State.CLOSED: {},
}


class IllegalTransition(MuseTalkStreamError):
    """A move that the table does not have; nothing was changed."""


def advance(state: State, trigger: Trigger) -> State:
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTransition(f"can't {trigger.name} while {state.name}") from None
