"""What viewers see, by what is known of chunks, players and the clock; all without waiting."""

from fractions import Fraction

import pytest

from musetalk_stream.delivery import PLAYER_DELAY_S, Delivery
from musetalk_stream.timeline import CyclePhase
from musetalk_stream.viewing import Viewing, got_chunk, line_up

FPS = Fraction(25)
LOOP = CyclePhase(0, 0.0, FPS, 100)


def made(name: str, seconds: float, at_s: float = 0.0, *, follows: str | None = None) -> Delivery:
    """A complete utterance, announced at an instant."""
    delivery = Delivery(name, 0, FPS, LOOP, follows=follows, has_ended=True, chunks=1)
    delivery.frames = delivery.num_frames = round(seconds * FPS)
    delivery.first_announced_s = at_s
    return delivery


def queue(*, watched: bool = True) -> list[Delivery]:
    """Three of two seconds, loaded as soon as they are there."""
    them = [made("a", 2.0), made("b", 2.0, follows="a"), made("c", 2.0, follows="b")]
    if watched:
        for delivery in them:
            got_chunk(them, delivery.request_id, 0.0)
    return them


def starts(deliveries: list[Delivery]) -> list[float | None]:
    return [delivery.watched_since_s for delivery in deliveries]


# --- since when something is watched


def test_each_is_seen_after_the_one_before() -> None:
    them = queue()
    assert starts(them) == pytest.approx([PLAYER_DELAY_S, 2 + PLAYER_DELAY_S, 4 + PLAYER_DELAY_S])
    assert [each.not_before_s for each in them[1:]] == pytest.approx(starts(them)[1:])


def test_what_nobody_fetches_nobody_sees() -> None:
    assert starts(queue(watched=False)) == [None] * 3


def test_the_first_to_fetch_counts() -> None:
    alone = made("a", 2.0)
    got_chunk([alone], "a", 5.0)
    got_chunk([alone], "a", 6.0)
    got_chunk([alone], "b", 6.0)
    assert alone.watched_since_s == 5.0 + PLAYER_DELAY_S


@pytest.mark.parametrize("follows", [None, "before"])
def test_a_prebuffer_delays_what_does_not_follow(follows: str | None) -> None:
    alone = made("a", 2.0, follows=follows)
    alone.prebuffer_s = 0.5
    got_chunk([alone], "a", 1.0)
    assert alone.watched_since_s == 1.0 + PLAYER_DELAY_S + (0.0 if follows else 0.5)


@pytest.mark.parametrize("painted_s", [0.05, 1.5])
def test_a_player_that_begins_at_another_time_moves_those_behind(painted_s: float) -> None:
    them = queue()
    them[0].painted_s = them[0].watched_since_s = painted_s
    line_up(them, painted_s)
    assert starts(them) == pytest.approx([painted_s, painted_s + 2, painted_s + 4])
    assert [each.not_before_s for each in them[1:]] == pytest.approx(starts(them)[1:])


def test_what_a_player_has_said_stays() -> None:
    them = queue()
    them[1].painted_s = them[1].watched_since_s = 2.5
    line_up(them, 2.5)
    assert starts(them) == pytest.approx([PLAYER_DELAY_S, 2.5, 4.5])


@pytest.mark.parametrize(
    ("gone", "then"),
    [
        (0, [1.0, 3.0]),  # it was being watched: the next begins now
        (1, [PLAYER_DELAY_S, 2 + PLAYER_DELAY_S]),  # it was not: the gap closes
        (2, [PLAYER_DELAY_S, 2 + PLAYER_DELAY_S]),
    ],
)
def test_those_behind_one_that_has_gone_move_up(gone: int, then: list[float]) -> None:
    them = queue()
    del them[gone]
    line_up(them, 1.0)
    assert starts(them) == pytest.approx(then)
    if gone < 2:
        assert them[1].not_before_s == pytest.approx(then[1])


def test_what_has_begun_does_not_begin_again() -> None:
    them = queue()
    line_up(them[1:], 3.0)
    assert starts(them) == pytest.approx([PLAYER_DELAY_S, 2 + PLAYER_DELAY_S, 4 + PLAYER_DELAY_S])


# --- where the loop is


def test_speech_begins_on_the_frame_that_is_visible_then() -> None:
    viewing, delivery = Viewing(LOOP), made("a", 2.0)
    viewing.begin(delivery, 1.0)
    assert delivery.start_frame == 25
    delivery.prebuffer_s = 0.4
    viewing.begin(delivery, 1.0)
    assert delivery.start_frame == 35
    viewing.placeholder_at(50, 1.0)
    viewing.begin(delivery, 2.0)
    assert delivery.start_frame == 85


@pytest.mark.parametrize("watched", [False, True])
def test_the_loop_goes_on_after_speech(watched: bool) -> None:
    viewing, delivery = Viewing(LOOP), made("a", 2.0)
    delivery.start_frame = 7
    if watched:
        got_chunk([delivery], "a", 1.0)
    viewing.ended(delivery)
    ends_s = 2 + PLAYER_DELAY_S + watched
    assert (viewing.phase.frame_at(ends_s), viewing.phase.frame_at(ends_s + 1)) == (57, 82)


def test_the_loop_goes_on_where_speech_was_cut() -> None:
    viewing, delivery = Viewing(LOOP), made("a", 2.0)
    delivery.start_frame = 7
    delivery.watched_since_s = 1.0
    viewing.stopped([delivery], 2.0)
    assert viewing.phase.frame_at(2.0) == 7 + 25
    after = made("b", 1.0)
    viewing.begin(after, 2.0)  # the player is not back at the loop yet
    assert after.start_frame == 7 + 25 + 2


def test_what_nobody_saw_leaves_the_loop_where_it_was() -> None:
    viewing, delivery = Viewing(LOOP), made("a", 2.0)
    viewing.ended(delivery)
    viewing.stopped([delivery], 1.0)
    assert viewing.phase == LOOP
    viewing.stopped([Delivery("b", 0, FPS, LOOP)], 1.0)  # nothing of it was made
    assert viewing.phase == LOOP


@pytest.mark.parametrize("gone", [0, 1])
def test_the_loop_goes_on_after_what_is_left(gone: int) -> None:
    """One of two has gone, watched or not; the other is still to be seen to its end."""
    viewing, them = Viewing(LOOP), queue()[:2]
    them[1].start_frame = 50
    viewing.ended(them[1])
    stopped = them.pop(gone)
    line_up(them, 1.0)
    viewing.stopped([stopped], 1.0, them)
    ends_s = them[0].watched_until_s
    assert ends_s == pytest.approx(3.0 if gone == 0 else 2 + PLAYER_DELAY_S)
    assert ends_s is not None
    assert viewing.phase.frame_at(ends_s) == (0 if gone == 0 else 50)
