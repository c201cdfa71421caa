"""What may become of a job, and when."""

from enum import Enum, StrEnum, auto


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trigger(Enum):
    START = auto()  # it is its turn
    LOOKED = auto()  # the face has been found; somebody is to say whether it is the right one
    APPROVE = auto()  # it is, or where else to look
    FINISH = auto()
    FAIL = auto()
    CANCEL = auto()


TRANSITIONS: dict[JobState, dict[Trigger, JobState]] = {
    JobState.QUEUED: {
        Trigger.START: JobState.RUNNING,
        Trigger.FAIL: JobState.FAILED,
        Trigger.CANCEL: JobState.CANCELLED,
    },
    JobState.RUNNING: {
        Trigger.LOOKED: JobState.AWAITING_APPROVAL,
        Trigger.FINISH: JobState.DONE,
        Trigger.FAIL: JobState.FAILED,
        Trigger.CANCEL: JobState.CANCELLED,
    },
    JobState.AWAITING_APPROVAL: {
        Trigger.APPROVE: JobState.QUEUED,
        Trigger.FAIL: JobState.FAILED,
        Trigger.CANCEL: JobState.CANCELLED,
    },
    JobState.DONE: {},
    JobState.FAILED: {},
    JobState.CANCELLED: {},
}


class IllegalTransition(Exception):
    """A mistake of ours."""


def advance(state: JobState, trigger: Trigger) -> JobState:
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTransition(f"can't {trigger.name} while {state.name}") from None
