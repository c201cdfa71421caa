"""Which turns of a session are remembered, and which can be stopped; with no server."""

from fractions import Fraction

import pytest

from musetalk_stream.config import UploadConfig
from musetalk_stream.decoding import DecodeProcesses, Decoders
from musetalk_stream.delivery import Delivery
from musetalk_stream.errors import RendererLost, UtteranceEnded, UtteranceNotFound
from musetalk_stream.options import SpeechOptions
from musetalk_stream.session_state import Trigger
from musetalk_stream.speech import Speech
from musetalk_stream.timeline import CyclePhase
from musetalk_stream.turn import Turn
from musetalk_stream.turns import Turns
from musetalk_stream.workers import Workers

FPS = Fraction(25)


def turn(name: str, *triggers: Trigger) -> Turn:
    """One that is queued, or what became of it."""
    decoders = Decoders(Workers(1, "decoder"), DecodeProcesses(memory_mb=256, cpu_s=60))
    speech = Speech(SpeechOptions(), UploadConfig(), decoders)  # which nobody sends anything
    its = Turn(speech, Delivery(name, 0, FPS, CyclePhase(0, 0.0, FPS, 100)), SpeechOptions(), name)
    for trigger in triggers:
        its.advance(trigger)
    return its


def spoken(name: str, *, since_s: float | None = None) -> Turn:
    """One of a second that is complete, and that viewers have seen since then."""
    its = turn(name, Trigger.SPEAK, Trigger.FINISH)
    its.delivery.chunks, its.delivery.frames, its.delivery.num_frames = 1, 25, 25
    its.delivery.has_ended, its.delivery.watched_since_s = True, since_s
    return its


def names(turns: list[Turn]) -> list[str]:
    return [its.request_id for its in turns]


async def test_what_viewers_have_seen_gives_way_and_what_not_stays() -> None:
    turns = Turns()
    turns.add(spoken("unseen"), 100.0)
    for number in range(30):
        turns.add(spoken(f"seen {number}", since_s=1.0), 0.0)
    turns.add(turn("new"), 100.0)
    # The first that is unseen, and with it all behind it, can still be stopped.
    assert len(list(turns)) == 32
    turns.forget("unseen")
    turns.add(turn("newer"), 100.0)
    assert names(list(turns)) == [*(f"seen {n}" for n in range(15, 30)), "new", "newer"]
    with pytest.raises(UtteranceNotFound):
        turns.get("seen 0")
    assert turns.said("seen 29") is turns.get("seen 29")
    assert turns.said("seen 0") is None


async def test_what_nobody_sees_is_bounded() -> None:
    turns = Turns()
    for number in range(300):
        turns.add(spoken(str(number)), 0.0)
    assert names(list(turns)) == [str(number) for number in range(300 - 257, 300)]


@pytest.mark.parametrize(
    ("late_s", "says_so", "is_over", "left"),
    [
        (0.0, False, False, ["waits"]),  # by the clock it has been seen
        (0.0, True, False, ["waits"]),
        (5.0, False, False, ["waits"]),  # no player is known to be behind
        (5.0, True, False, ["first", "second", "waits"]),
        (5.0, True, True, ["waits"]),
        (0.5, True, False, ["waits"]),  # later than any player is
    ],
)
async def test_a_player_may_be_late(
    late_s: float, says_so: bool, is_over: bool, left: list[str]
) -> None:
    turns = Turns()
    for its in (spoken("first", since_s=1.0), spoken("second", since_s=2.0), turn("waits")):
        turns.add(its, 0.0)
    first = turns.get("first")
    first.delivery.painted_s = 1.0 if says_so else None
    first.has_report = is_over
    assert names(turns.stoppable(4.0, late_s=late_s)) == left


async def test_which_comes_before() -> None:
    turns = Turns()
    for its in (spoken("heard"), spoken("gone"), turn("silent", Trigger.DROP), turn("next")):
        turns.add(its, 0.0)
    assert turns.before(turns.get("next")) is turns.get("gone")
    turns.get("gone").advance(Trigger.CANCEL)
    assert turns.before(turns.get("next")) is turns.get("heard")
    assert turns.before(turns.get("heard")) is None


async def test_what_is_told_of_one_that_was_stopped_is_void() -> None:
    turns = Turns()
    chunk = {"event": "chunk", "request_id": "gone", "epoch": 1}
    assert not turns.is_dead(chunk, 1)
    assert turns.is_dead(chunk, 2), "of an epoch that has ended"
    turns.cancelled(turn("gone"), first_id=1, last_id=10)
    assert turns.is_dead(chunk, 1)
    assert not turns.is_dead({**chunk, "event": "cancelled"}, 2)
    turns.cancelled(turn("other"), first_id=11, last_id=12)
    assert not turns.is_dead(chunk, 1), "the log has nothing more of it"


def test_who_still_sends_is_told_why_it_is_over() -> None:
    lost, stopped = turn("lost", Trigger.SPEAK), turn("stopped", Trigger.SPEAK)
    lost.speech.end(RendererLost("its device is gone"))
    lost.advance(Trigger.FAIL)
    stopped.advance(Trigger.INTERRUPT)
    with pytest.raises(RendererLost, match="its device is gone"):
        _ = lost.speech
    with pytest.raises(UtteranceEnded, match="interrupted"):
        _ = stopped.speech
