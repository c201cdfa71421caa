"""Every trigger in every state."""

import itertools

import pytest

from musetalk_stream.session_state import IllegalTransition, State, Trigger, advance

ALLOWED = {
    (State.IDLE, Trigger.UPLOAD): State.RECEIVING,
    (State.IDLE, Trigger.CLOSE): State.CLOSED,
    (State.RECEIVING, Trigger.SPEAK): State.SPEAKING,
    (State.RECEIVING, Trigger.REJECT): State.IDLE,
    (State.RECEIVING, Trigger.CLOSE): State.CLOSED,
    (State.SPEAKING, Trigger.FINISH): State.IDLE,
    (State.SPEAKING, Trigger.CLOSE): State.CLOSED,
}


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(State, Trigger)))
def test_transitions(state: State, trigger: Trigger) -> None:
    if (state, trigger) in ALLOWED:
        assert advance(state, trigger) is ALLOWED[state, trigger]
    else:
        with pytest.raises(IllegalTransition, match=f"{trigger.name} while {state.name}"):
            advance(state, trigger)


def test_closed_is_final_and_every_other_state_can_close() -> None:
    assert all((state, Trigger.CLOSE) in ALLOWED for state in State if state is not State.CLOSED)
    assert not any(state is State.CLOSED for state, _ in ALLOWED)
