"""How far an utterance has got, and the events that say so. Counts and arithmetic, no I/O."""

import math
from dataclasses import dataclass
from fractions import Fraction

from .options import number
from .sse import Event
from .timeline import CyclePhase, cycle_frame, seconds, share_of_speaking

# A first chunk gives way to those of others that are due within this time: more than a part's
# length at common rates, so that nobody's first part delays somebody's second.
_FIRST_CHUNK_PATIENCE_S = 0.5
# From the idle loop to pictures of speech and back: heads lie elsewhere in the two.
_CHANGE_S = 0.32


@dataclass(slots=True)
class Delivery:
    """The chunks of one utterance made so far. Instants are of the monotonic clock.

    It outlives the utterance's sound and encoders, for viewers who come late.
    """

    request_id: str
    fps: Fraction
    num_frames: int
    phase: CyclePhase  # where the placeholder was when the speech came

    start_frame: int = 0  # cycle frame under output frame 0
    frames: int = 0
    chunks: int = 0
    first_event_id: int | None = None
    first_announced_s: float | None = None
    watched_since_s: float | None = None
    has_ended: bool = False  # complete, failed or cancelled

    @property
    def duration_s(self) -> float:
        return seconds(self.num_frames, self.fps)

    @property
    def seconds(self) -> float:
        """Media made so far."""
        return seconds(self.frames, self.fps)

    @property
    def remaining(self) -> int:
        """Frames not yet made."""
        return self.num_frames - self.frames

    @property
    def runs_dry_s(self) -> float | None:
        """The instant at which a viewer who started at once has seen all there is."""
        return self.first_announced_s and self.first_announced_s + self.seconds

    def deadline_s(self, now_s: float) -> float:
        """The instant by which the next chunk should be there. Nobody sees a first chunk that
        comes a little later, but everybody sees a face that freezes."""
        return self.runs_dry_s or now_s + _FIRST_CHUNK_PATIENCE_S

    def position_s(self, now_s: float) -> float | None:
        """Seconds that viewers have seen; None once they have seen all that there will be.

        Generation runs ahead of playback: an utterance can be seen for a while after its end, and
        one that nobody has watched yet waits for its first viewer.
        """
        available_s = self.seconds if self.has_ended else self.duration_s
        since_s = self.watched_since_s
        seen_s = 0.0 if since_s is None else max(0.0, now_s - since_s)
        return seen_s if seen_s < available_s else None

    @property
    def watched_until_s(self) -> float | None:
        """The instant at which viewers have seen everything made so far."""
        return self.watched_since_s and self.watched_since_s + self.seconds

    def cycle_frame(self, frame: int) -> int:
        """The cycle frame under an output frame, from 0 to cycle_length-1."""
        return self.avatar_frame(frame) % self.phase.cycle_length

    def avatar_frame(self, frame: int) -> int:
        """Likewise, but counted on over the cycle's end."""
        return cycle_frame(self.start_frame, frame, self.fps, self.phase.fps)

    def share_of_speaking(self, frame: int) -> float:
        """How much an output frame shows of the speaking picture, where there are such."""
        return share_of_speaking(frame, self.num_frames, math.ceil(_CHANGE_S * self.fps))

    @property
    def next_cycle_frame(self) -> int:
        """Where the placeholder goes on when everything made so far has been seen."""
        return self.cycle_frame(self.frames)

    def start(self, visible_at_s: float) -> None:
        """Begin on the frame that the placeholder will show at that instant."""
        self.start_frame = self.phase.frame_at(visible_at_s)

    def made(self, count: int) -> None:
        """A chunk of `count` frames is complete."""
        self.frames += count
        self.chunks += 1

    def started_event(self, mime: str) -> Event:
        return {
            "event": "started",
            "request_id": self.request_id,
            "duration": self.duration_s,
            "fps": number(self.fps),
            "mime": mime,
            "avatar_frame": self.start_frame,
        }

    def chunk_event(self, count: int, file: str, mime: str) -> Event:
        """The next chunk, of `count` frames, kept under the name `file`."""
        return {
            "event": "chunk",
            "url": f"/chunks/{self.request_id}/{file}",
            "index": self.chunks,
            "request_id": self.request_id,
            "start": self.seconds,
            "duration": seconds(count, self.fps),
            "mime": mime,
            "avatar_frames": [
                self.cycle_frame(self.frames),
                self.cycle_frame(self.frames + count - 1),
            ],
        }

    def complete_event(self) -> Event:
        return {
            "event": "complete",
            "request_id": self.request_id,
            "total_chunks": self.chunks,
            "duration": self.duration_s,
            "avatar_frame": self.next_cycle_frame,
        }
