"""An utterance's place in the conversation of its session: what became of it, and when."""

import asyncio
import secrets
import time
from typing import Any

from .captions import Cue
from .delivery import Delivery
from .errors import MuseTalkStreamError, UtteranceEnded
from .growing_file import anew
from .options import SpeechOptions
from .session_state import Trigger, TurnState, advance
from .speech import Speech
from .timeline import seconds

# A player that was so near the end has seen it.
_NEAR_END_S = 0.5


def mint_id() -> str:
    return secrets.token_urlsafe(16)


class Turn:
    """One utterance of a session, from its admission on. It outlives its sound.

    request_id   its id everywhere
    key          the Idempotency-Key of its sender
    delivery     how far it is
    cues         its captions
    cues_id      of the event that told of them
    has_failed   it was not made to its end, whatever became of it then
    task         waits for its turn and speaks it
    position     how many others wait before it, while it waits itself
    begun_s      monotonic clock, when it could be spoken and its turn had come
    played_ms    what viewers have heard of it; None until that is known
    was_cut      it was stopped while its sound was still arriving
    has_report   a player has said that it is over
    was_finished set then, or when nobody will say so
    stalls       that players have said, as far as they count; stalled_s: how long they were
    """

    def __init__(
        self, speech: Speech | None, delivery: Delivery, options: SpeechOptions, key: str | None
    ) -> None:
        """speech: None of one that another server spoke"""
        self.request_id = delivery.request_id
        self.epoch = delivery.epoch
        self.key = key
        self.options = options
        self.delivery = delivery
        self.cues: tuple[Cue, ...] = ()
        self.cues_id: int | None = None
        self.has_failed = False
        self.status = TurnState.QUEUED
        self.task: asyncio.Task[None] | None = None
        self.position = 0
        self.begun_s: float | None = None
        self.played_ms: int | None = None
        self.was_cut = False
        self.has_report = False
        self.was_finished = asyncio.Event()
        self.stalls = 0
        self.stalled_s = 0.0
        self._speech = speech
        self._received_s = speech.received_s if speech else time.monotonic()
        self._decoded_s: float | None = None
        self._ended_early: MuseTalkStreamError | None = None
        self._waited_s = 0.0

    def __repr__(self) -> str:
        return f"<Turn {self.request_id[:8]} {self.status.name}>"

    @property
    def speech(self) -> Speech:
        """Once there is nothing more to be said, raises why it ended early, or UtteranceEnded."""
        if self._speech is None and self._ended_early is not None:
            raise anew(self._ended_early)
        if self._speech is None:
            raise UtteranceEnded(f"the utterance is {self.status.value}: begin another")
        return self._speech

    @property
    def has_sound(self) -> bool:
        """Whether something of it can be, or has been, spoken."""
        if self._speech is None:
            return self._decoded_s is not None
        return self._speech.sound is not None and self._speech.sound.num_ear > 0

    @property
    def is_arriving(self) -> bool:
        return self._speech is not None and not self._speech.has_ended

    def advance(self, trigger: Trigger) -> None:
        """The only way to another state; what is over lets go of its sound."""
        self.status = advance(self.status, trigger)
        self.has_failed |= trigger is Trigger.FAIL
        if not self.status.is_active and self._speech is not None:
            self._remember(self._speech)
            self.was_cut = self.is_arriving
            self._speech.close()
            self._speech = None

    def _remember(self, speech: Speech) -> None:
        self.delivery.num_frames = self._num_frames
        self._decoded_s = speech.decoded_s
        self._waited_s = speech.waited_s
        self._ended_early = speech.ended_early

    @property
    def ended_early(self) -> MuseTalkStreamError | None:
        """Why there is no more of its sound, though there should be."""
        return self._speech.ended_early if self._speech else self._ended_early

    @property
    def waited_s(self) -> float:
        """Silence that was put in where sound did not come in time."""
        return self._speech.waited_s if self._speech else self._waited_s

    @property
    def _num_frames(self) -> int | None:
        """Of all of it; None until its end is known."""
        if self.delivery.num_frames is None and self._speech is not None and self.has_sound:
            return self._speech.total_frames(self.delivery.fps)
        return self.delivery.num_frames

    @property
    def duration_s(self) -> float | None:
        return None if self._num_frames is None else seconds(self._num_frames, self.delivery.fps)

    @property
    def was_heard_out(self) -> bool:
        """Whether a player has played all of it, or so near."""
        has_played = (self.played_ms or 0) / 1000 >= self.delivery.seconds - _NEAR_END_S
        return self.has_report and self.delivery.has_ended and has_played

    @property
    def may_be_heard(self) -> bool:
        """Whether there is, or will be, anything of it that nobody is known to have heard out."""
        is_made = self.status in (TurnState.COMPLETE, TurnState.FAILED) and self.delivery.chunks > 0
        return self.status.is_active or (is_made and not self.was_heard_out)

    def is_heard_at(self, instant_s: float) -> bool:
        """Whether viewers have begun to hear it by then, as far as one can know."""
        since_s = self.delivery.watched_since_s
        return since_s is not None and since_s < instant_s

    def is_seen_at(self, instant_s: float, *, late_s: float = 0.0) -> bool:
        """Whether viewers have not seen all of it by then. Whoever has said that it began may be
        late, by `late_s` at most, until it has said that it is over."""
        if self.delivery.painted_s is not None and not self.has_report:
            instant_s -= late_s
        return self.delivery.position_s(instant_s) is not None

    def describe(self) -> dict[str, Any]:
        """As clients are told."""
        return {
            "request_id": self.request_id,
            "epoch": self.epoch,
            "status": self.status.value,
            "arriving": self.is_arriving,
            "position": self.position if self.status is TurnState.QUEUED else None,
            "duration": self.duration_s,
            "chunks": self.delivery.chunks,
            "seconds": self.delivery.seconds,
            "played_ms": self.played_ms,
            "ended_early": self.ended_early.code if self.ended_early else None,
            "waited": round(self.waited_s, 3),
            "timings_ms": self.timings_ms(),
        }

    def timings_ms(self) -> dict[str, int | None]:
        """Since its request; None: not yet."""
        its = self.delivery
        instants = {
            "received": self._received_s,
            "decoded": self._speech.decoded_s if self._speech else self._decoded_s,
            "first_batch": its.first_batch_s,
            "first_chunk": its.first_announced_s,
            "first_frame_painted": its.painted_s,
        }
        return {
            name: None if at_s is None else round((at_s - self._received_s) * 1000)
            for name, at_s in instants.items()
        }
