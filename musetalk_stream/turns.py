"""The turns of one session in their order: which wait, which are over, and which can be stopped."""

from collections.abc import Iterator

from .delivery import Delivery
from .errors import UtteranceNotFound
from .session_state import State, TurnState, session_state
from .sse import Event
from .timeline import EAR_RATE
from .turn import Turn

# Turns that are over and seen, and still told about; the oldest go.
_KEPT = 16
# Of those that nobody has seen yet, too, the oldest go beyond this many; the log of events holds
# no more of them.
_MOST = 256
# What is told of an utterance while it is spoken; of one that is stopped, no more.
_OF_SPEECH = ("queued", "captions", "started", "first_frame", "chunk", "complete", "error")


class Turns:
    """Bounded: max_queue + 1 that are active, and _MOST that are over. Instants are of the
    monotonic clock."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}
        self._cancelled: dict[str, int] = {}  # request id -> last event id by then

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns.values())

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._turns

    def __repr__(self) -> str:
        return f"<Turns {len(self.active)} active of {len(self._turns)}>"

    @property
    def num_waiting(self) -> int:
        """Those whose turn has not come."""
        return sum(turn.status is TurnState.QUEUED for turn in self)

    def add(self, turn: Turn, now_s: float) -> None:
        """The last one; who is over gives way, if viewers have seen it."""
        still = {id(each) for each in self.stoppable(now_s)}
        over = [each for each in self if not each.status.is_active]
        seen = [each for each in over if id(each) not in still]
        for each in [*seen[: max(0, len(seen) - _KEPT + 1)], *over[: max(0, len(over) - _MOST)]]:
            self.forget(each.request_id)
        self._turns[turn.request_id] = turn

    def forget(self, request_id: str) -> None:
        self._turns.pop(request_id, None)

    def get(self, request_id: str) -> Turn:
        """Raises UtteranceNotFound."""
        try:
            return self._turns[request_id]
        except KeyError:
            raise UtteranceNotFound(
                "there is no such utterance in this session, or it was long ago"
            ) from None

    def said(self, key: str) -> Turn | None:
        """The one that was sent with a key."""
        return next((turn for turn in self if turn.key == key), None)

    @property
    def active(self) -> list[Turn]:
        """The first of them speaks, or is about to."""
        return [turn for turn in self if turn.status.is_active]

    @property
    def state(self) -> State:
        return session_state((turn.status, not turn.is_arriving) for turn in self)

    @property
    def deliveries(self) -> list[Delivery]:
        """Of everything that may be seen: playback may be some turns behind."""
        return [turn.delivery for turn in self if not turn.status.is_stopped]

    @property
    def shown(self) -> Turn | None:
        """The one that speaks, else the last that did."""
        spoken = [turn for turn in self if turn.begun_s is not None]
        speaking = [turn for turn in spoken if turn.status is TurnState.SPEAKING]
        return next(reversed(speaking or spoken), None)

    @property
    def current(self) -> Turn | None:
        """The one that speaks or is the next to, else the last that did."""
        waiting = [turn for turn in self.active[:1] if turn.has_sound]
        return waiting[0] if waiting else self.shown

    def before(self, turn: Turn) -> Turn | None:
        """The last one before it of which there is anything to be seen."""
        seen = [each for each in self if each.delivery.chunks and each is not turn]
        return next((each for each in reversed(seen) if not each.status.is_stopped), None)

    def place(self) -> None:
        """Number those that wait."""
        waiting = [turn for turn in self if turn.status is TurnState.QUEUED]
        for position, turn in enumerate(waiting):
            turn.position = position

    def waiting_s(self) -> float:
        """Seconds of sound that wait behind the first."""
        sounds = [turn.speech.sound for turn in self.active[1:]]
        return sum(sound.num_ear for sound in sounds if sound) / EAR_RATE

    def stoppable(self, now_s: float, *, late_s: float = 0.0) -> list[Turn]:
        """Those of which anything is still to be made, seen or heard: from the first of which this
        is known on.

        late_s  by which players may be later than they seemed to be
        """
        turns = [turn for turn in self if turn.may_be_heard]
        for place, turn in enumerate(turns):
            if turn.status.is_active or turn.is_seen_at(now_s, late_s=late_s):
                return turns[place:]
        return []

    # --- what was told

    def cancelled(self, turn: Turn, *, first_id: int, last_id: int) -> None:
        """What the log of events, from `first_id` to `last_id`, says of one is void."""
        self._cancelled = {its: last for its, last in self._cancelled.items() if last >= first_id}
        self._cancelled[turn.request_id] = last_id

    def is_dead(self, event: Event, epoch: int) -> bool:
        """Whether an event of the log is about speech that has been stopped since."""
        if event["event"] not in _OF_SPEECH:
            return False
        return event["request_id"] in self._cancelled or event["epoch"] < epoch
