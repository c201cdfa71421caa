"""What the viewers of a session see, as far as one can know: where the placeholder stands, since
when they watch an utterance, and so on which cycle frame the next one begins."""

from collections.abc import Sequence

from .delivery import PLAYER_DELAY_S, Delivery
from .timeline import CyclePhase

# From an interruption until the player shows the loop again: a message and a dissolve.
_RETURN_S = 0.1


class Viewing:
    """Instants are of the monotonic clock."""

    def __init__(self, phase: CyclePhase) -> None:
        self.phase = phase  # of the placeholder, now or when all that is announced has been seen
        self._free_s = 0.0  # when the player has returned from what was stopped

    def placeholder_at(self, avatar_frame: int, now_s: float) -> None:
        """The player says which cycle frame its placeholder shows now."""
        self.phase = self.phase.moved_to(avatar_frame, now_s)

    def begin(self, delivery: Delivery, visible_at_s: float) -> None:
        """An utterance begins on the cycle frame that will be on the screen then."""
        visible_at_s = max(visible_at_s + delivery.prebuffer_s, self._free_s)
        delivery.start(self.phase, visible_at_s)

    def ended(self, delivery: Delivery) -> None:
        """All of an utterance is made, or all that will be: the placeholder goes on after it."""
        if (ends_s := delivery.viewers_run_dry_s) is not None:
            self.phase = delivery.phase.moved_to(delivery.next_cycle_frame, ends_s)

    def stopped(
        self, gone: Sequence[Delivery], now_s: float, others: Sequence[Delivery] = ()
    ) -> None:
        """The placeholder goes on after the last of those `others` that are made and not seen yet;
        else where viewers were cut, or where it was before if they had not begun to see any of
        those that are gone."""
        begun = [delivery for delivery in gone if delivery.chunks]
        if not begun:
            return
        first = begun[0]
        position_s = first.position_s(now_s)
        if first.watched_since_s is not None and position_s:
            frame = first.cycle_frame(int(position_s * first.fps))
            self.phase = first.phase.moved_to(frame, now_s)
            self._free_s = now_s + _RETURN_S
        elif not first.follows:
            self.phase = first.phase
        for delivery in others:
            if delivery.has_ended and (delivery.viewers_run_dry_s or 0.0) > now_s:
                self.ended(delivery)


def got_chunk(deliveries: Sequence[Delivery], request_id: str, now_s: float) -> None:
    """A chunk is fetched, which is what players do: with the first of an utterance they can show
    it."""
    for delivery in deliveries:
        if delivery.request_id == request_id and delivery.loaded_s is None:
            prebuffer_s = 0.0 if delivery.follows else delivery.prebuffer_s
            delivery.loaded_s = now_s + PLAYER_DELAY_S + prebuffer_s
            line_up(deliveries, now_s)


def line_up(deliveries: Sequence[Delivery], now_s: float) -> None:
    """Each of them, in order, is seen as soon as players have it and viewers have seen those before
    it, unless a player has said since when. What has not begun by now, as something was before it
    that has gone, begins now and not earlier."""
    seen_s = made_s = 0.0
    for delivery in deliveries:
        if delivery.follows:
            delivery.not_before_s = max(made_s, min(delivery.not_before_s, now_s))
        if delivery.loaded_s is not None and delivery.painted_s is None:
            known_s = min(delivery.watched_since_s or 0.0, now_s)
            delivery.watched_since_s = max(delivery.loaded_s, seen_s, known_s)
        seen_s = max(seen_s, delivery.watched_until_s or 0.0)
        made_s = max(made_s, delivery.watched_until_s or delivery.runs_dry_s or 0.0)
