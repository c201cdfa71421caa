"""What is kept of an utterance beside its chunks, and how the next server goes on with it."""

import time
from fractions import Fraction
from typing import Any

from .captions import Cue
from .delivery import Delivery
from .hls import Segment
from .options import SpeechOptions
from .session_state import TurnState
from .store import Found
from .timeline import CyclePhase
from .turn import Turn


def begun(session_id: str, turn: Turn) -> dict[str, Any]:
    """Of one that may come: the next server says that it was lost."""
    return {"session_id": session_id, "epoch": turn.epoch}


def ended(session_id: str, turn: Turn, status: TurnState) -> dict[str, Any]:
    """Of one that is over, or about to be with this status: the next server shows it as it was."""
    its = turn.delivery
    return {
        **begun(session_id, turn),
        "status": status.value,
        "mime": its.mime,
        "fps": str(its.fps),
        "frames": its.frames,
        "segments": [[s.name, s.size, s.init_size, str(s.duration)] for s in its.segments],
        # Sent again, one that broke off is not said to be there.
        "key": None if turn.ended_early else turn.key,
        "cues": [cue.to_json() for cue in turn.cues],
    }


def restored(found: Found, phase: CyclePhase, *, fps: Fraction, epoch: int) -> Turn:
    """What the last server noted, for this one; of what it did not come to the end of, that it
    failed. Viewers are taken to have seen what there is.

    fps    of one that had not begun
    epoch  of one that was lost: the session's own now, as nobody is told of those before

    Raises ValueError, KeyError, TypeError where the note is damaged.
    """
    note, ended_s = found.note, time.monotonic() - max(0.0, time.time() - found.at)
    fps = Fraction(note["fps"]) if found.ended else fps
    delivery = Delivery(found.request_id, int(note["epoch"]) if found.ended else epoch, fps, phase)
    delivery.has_ended = True
    status, key = TurnState.FAILED, None
    if found.ended:
        status, key = TurnState(note["status"]), note["key"]
        delivery.mime = str(note["mime"])
        delivery.frames = int(note["frames"])
        delivery.segments = [
            Segment(str(name), int(size), int(init_size), Fraction(duration))
            for name, size, init_size, duration in note["segments"]
        ]
        delivery.chunks = len(delivery.segments)
    delivery.num_frames = delivery.frames if status is TurnState.COMPLETE else None
    began_s = ended_s - delivery.seconds
    delivery.first_announced_s = delivery.loaded_s = delivery.watched_since_s = began_s
    turn = Turn(None, delivery, SpeechOptions(), key)
    turn.status, turn.has_failed = status, status is TurnState.FAILED
    turn.begun_s = began_s
    turn.cues = tuple(Cue(**cue) for cue in note.get("cues", ()))
    turn.was_finished.set()
    return turn
