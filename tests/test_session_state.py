"""Every trigger in every state; and what a session does, by what its turns do."""

import itertools

import pytest

from musetalk_stream.session_state import (
    IllegalTransition,
    State,
    Trigger,
    TurnState,
    advance,
    session_state,
)

_STOPPABLE = (TurnState.QUEUED, TurnState.SPEAKING, TurnState.COMPLETE, TurnState.FAILED)
ALLOWED = {
    (TurnState.QUEUED, Trigger.SPEAK): TurnState.SPEAKING,
    (TurnState.QUEUED, Trigger.DROP): TurnState.DROPPED,
    (TurnState.SPEAKING, Trigger.FINISH): TurnState.COMPLETE,
    (TurnState.QUEUED, Trigger.FAIL): TurnState.FAILED,
    (TurnState.SPEAKING, Trigger.FAIL): TurnState.FAILED,
    **{(state, Trigger.INTERRUPT): TurnState.INTERRUPTED for state in _STOPPABLE},
    **{(state, Trigger.CANCEL): TurnState.CANCELLED for state in _STOPPABLE},
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(TurnState, Trigger)))
def test_transitions(state: TurnState, trigger: Trigger) -> None:
    if (state, trigger) in ALLOWED:
        assert advance(state, trigger) is ALLOWED[state, trigger]
    else:
        with pytest.raises(IllegalTransition, match=f"{trigger.name} while {state.name}"):
            advance(state, trigger)


def test_what_is_stopped_stays_so_and_nothing_else_does() -> None:
    final = {state for state in TurnState if not any(known is state for known, _ in ALLOWED)}
    assert final == {state for state in TurnState if state.is_stopped}
    assert not any(state.is_active and state.is_stopped for state in TurnState)


@pytest.mark.parametrize(
    ("turns", "state"),
    [
        ([], State.IDLE),
        ([(TurnState.COMPLETE, True), (TurnState.FAILED, True)], State.IDLE),
        ([(TurnState.INTERRUPTED, True), (TurnState.CANCELLED, False)], State.IDLE),
        ([(TurnState.QUEUED, False)], State.RECEIVING),
        ([(TurnState.QUEUED, True)], State.SPEAKING),  # in a moment
        ([(TurnState.QUEUED, False), (TurnState.QUEUED, True)], State.RECEIVING),
        ([(TurnState.SPEAKING, False)], State.SPEAKING),
        ([(TurnState.SPEAKING, True), (TurnState.QUEUED, False)], State.SPEAKING),
        ([(TurnState.COMPLETE, True), (TurnState.QUEUED, False)], State.RECEIVING),
    ],
)
def test_what_a_session_does(turns: list[tuple[TurnState, bool]], state: State) -> None:
    assert session_state(turns) is state
