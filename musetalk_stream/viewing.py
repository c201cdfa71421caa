"""What the viewers of a session see, as far as one can know: where the placeholder stands, since
when they watch an utterance, and so on which cycle frame the next one begins."""

from collections.abc import Sequence

from .delivery import PLAYER_DELAY_S, Delivery
from .timeline import CyclePhase

# From an interruption until the player shows the loop again: a message, a fade, a dissolve.
_RETURN_S = 0.2


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

    def stopped(self, deliveries: Sequence[Delivery], now_s: float) -> None:
        """The placeholder goes on where viewers were cut, or where it was before if they had not
        begun to see any of these."""
        begun = [delivery for delivery in deliveries if delivery.chunks]
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


def got_chunk(deliveries: Sequence[Delivery], request_id: str, now_s: float) -> None:
    """A chunk is fetched, which is what players do: if it is the first of its utterance, viewers
    see it as soon as they have seen the ones before it."""
    busy_s = 0.0
    for delivery in deliveries:
        if delivery.request_id == request_id:
            if delivery.watched_since_s is None:
                starts_s = now_s + PLAYER_DELAY_S
                starts_s += 0.0 if delivery.follows else delivery.prebuffer_s
                delivery.watched_since_s = max(starts_s, busy_s)
            return
        busy_s = max(busy_s, delivery.watched_until_s or 0.0)


def moved_up(deliveries: Sequence[Delivery], gone: Delivery, now_s: float) -> None:
    """One that viewers were watching has gone: those behind it are seen as much earlier."""
    left_s = (gone.watched_until_s or now_s) - now_s
    for delivery in deliveries:
        delivery.not_before_s = min(delivery.not_before_s, now_s)
        if (delivery.watched_since_s or 0.0) > now_s:
            delivery.watched_since_s = max(now_s, (delivery.watched_since_s or 0.0) - left_s)
