"""How far an utterance has got, and the events that say so. Counts and arithmetic, no I/O."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from .captions import Cue
from .errors import MuseTalkStreamError
from .hls import Segment
from .options import number
from .sse import Event
from .timeline import CyclePhase, cycle_frame, seconds, share_of_speaking

# From an announced first chunk to its first frame on the screen: a request, an append, a paint.
PLAYER_DELAY_S = 0.12
# A first chunk gives way to those of others that are due within this time: more than a part's
# length at common rates, so that nobody's first part delays somebody's second.
_FIRST_CHUNK_PATIENCE_S = 0.5
# From the idle loop to pictures of speech and back: heads lie elsewhere in the two.
_CHANGE_S = 0.32
# Back, where the end is known only this long before it comes (`timeline.ear_samples_needed`).
_CHANGE_OF_LIVE_S = Fraction(1, 5)


@dataclass(slots=True)
class Delivery:
    """The chunks of one utterance made so far. Instants are of the monotonic clock.

    It outlives the utterance's sound and encoders, for viewers who come late.
    """

    request_id: str
    epoch: int
    fps: Fraction
    phase: CyclePhase  # where the placeholder was when the speech came

    num_frames: int | None = None  # of all of it; None until its end is known
    is_live: bool = False  # its sound was still arriving when it began
    prebuffer_s: float = 0.0  # by which playback starts later than it could
    follows: str | None = None  # the utterance whose end it goes on from
    not_before_s: float = 0.0  # when viewers have seen that end
    start_frame: int = 0  # cycle frame under output frame 0
    frames: int = 0
    chunks: int = 0
    first_event_id: int | None = None
    first_batch_s: float | None = None
    first_announced_s: float | None = None
    loaded_s: float | None = None  # when players can show it
    watched_since_s: float | None = None  # what a player said, or what is likely
    painted_s: float | None = None  # what a player said
    hurries: bool = False  # it is made as fast as can be: the server is about to end
    unfetched_since_s: float | None = None  # there was something new; nobody has come since
    last_fetched: int = -1  # the latest chunk that somebody has fetched
    has_ended: bool = False  # complete, failed, interrupted or cancelled
    mime: str = ""  # of its chunks, once it has begun
    segments: list[Segment] = field(default_factory=list)  # the chunks that were announced

    @property
    def duration_s(self) -> float | None:
        return None if self.num_frames is None else seconds(self.num_frames, self.fps)

    @property
    def seconds(self) -> float:
        """Media made so far."""
        return seconds(self.frames, self.fps)

    @property
    def runs_dry_s(self) -> float | None:
        """The instant at which a viewer who started as soon as possible has seen all there is."""
        if self.first_announced_s is None:
            return None
        starts_s = self.first_announced_s + self.prebuffer_s
        if self.follows:
            starts_s = max(self.first_announced_s, self.not_before_s)
        return starts_s + self.seconds

    @property
    def viewers_run_dry_s(self) -> float | None:
        """The instant at which viewers have seen all there is, as far as we know; None while there
        is nothing to be seen."""
        return self.watched_until_s or (self.runs_dry_s and self.runs_dry_s + PLAYER_DELAY_S)

    def deadline_s(self, now_s: float) -> float:
        """The instant by which the next chunk should be there. Nobody sees a first chunk that
        comes a little later, but everybody sees a face that freezes."""
        return self.runs_dry_s or max(now_s + _FIRST_CHUNK_PATIENCE_S, self.not_before_s)

    def position_s(self, now_s: float) -> float | None:
        """Seconds that viewers have seen; None once they have seen all that there will be.

        Generation runs ahead of playback: an utterance can be seen for a while after its end, and
        one that nobody has watched yet waits for its first viewer.
        """
        available_s = self.seconds if self.has_ended else self.duration_s
        since_s = self.watched_since_s
        seen_s = 0.0 if since_s is None else max(0.0, now_s - since_s)
        if available_s is None:
            return min(seen_s, self.seconds)
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
        fade = math.ceil(_CHANGE_S * self.fps)
        # What lies further from the end than this is made before the end is known.
        end_fade = max(1, math.floor(_CHANGE_OF_LIVE_S * self.fps)) if self.is_live else fade
        return share_of_speaking(frame, self.num_frames, fade, end_fade)

    @property
    def next_cycle_frame(self) -> int:
        """Where the placeholder goes on when everything made so far has been seen."""
        return self.cycle_frame(self.frames)

    def start(self, phase: CyclePhase, visible_at_s: float) -> None:
        """Begin on the frame that the placeholder will show at that instant."""
        self.phase = phase
        self.start_frame = phase.frame_at(visible_at_s)

    def start_after(self, other: "Delivery") -> None:
        """Begin where another one, which is complete, ends."""
        self.phase = other.phase
        self.start_frame = other.next_cycle_frame
        self.follows = other.request_id
        self.not_before_s = other.watched_until_s or other.runs_dry_s or 0.0

    def made(self, count: int) -> None:
        """A chunk of `count` frames is complete."""
        self.frames += count
        self.chunks += 1

    def announced(self, segment: Segment, now_s: float) -> None:
        """There is another chunk to be fetched."""
        self.segments.append(segment)
        if self.unfetched_since_s is None:
            self.unfetched_since_s = now_s

    def fetched(self, file: str | None) -> None:
        """Somebody fetches a chunk (None: more of a recording, or a list), so it is watched."""
        self.unfetched_since_s = None
        for index in range(self.last_fetched + 1, len(self.segments)):
            if self.segments[index].name == file:
                self.last_fetched = index

    @property
    def has_unfetched(self) -> bool:
        """Whether somebody who fetches chunk by chunk has not come to the last one."""
        return 0 <= self.last_fetched < len(self.segments) - 1

    def unwatched_s(self, now_s: float) -> float:
        """Since when nobody has come for what there is; 0 if there is nothing new."""
        return 0.0 if self.unfetched_since_s is None else now_s - self.unfetched_since_s

    def queued_event(self, position: int) -> Event:
        return {
            "event": "queued",
            "request_id": self.request_id,
            "epoch": self.epoch,
            "position": position,
        }

    def captions_event(self, cues: Sequence[Cue]) -> Event:
        return {
            "event": "captions",
            "request_id": self.request_id,
            "epoch": self.epoch,
            "cues": [cue.to_json() for cue in cues],
        }

    def started_event(self) -> Event:
        return {
            "event": "started",
            "request_id": self.request_id,
            "epoch": self.epoch,
            "duration": self.duration_s,
            "fps": number(self.fps),
            "mime": self.mime,
            "avatar_frame": self.start_frame,
            "follows": self.follows,
            "prebuffer": self.prebuffer_s,
        }

    def first_frame_event(self) -> Event:
        return {"event": "first_frame", "request_id": self.request_id, "epoch": self.epoch}

    def chunk_event(self, count: int, file: str, levels: Sequence[int]) -> Event:
        """The next chunk, of `count` frames, kept under the name `file`; how loud each is."""
        return {
            "event": "chunk",
            "url": f"/chunks/{self.request_id}/{file}",
            "index": self.chunks,
            "request_id": self.request_id,
            "epoch": self.epoch,
            "start": self.seconds,
            "duration": seconds(count, self.fps),
            "mime": self.mime,
            "avatar_frames": [
                self.cycle_frame(self.frames),
                self.cycle_frame(self.frames + count - 1),
            ],
            "levels": list(levels),
        }

    def complete_event(self, *, sound_s: float, ended_early: str | None, waited_s: float) -> Event:
        """sound_s: without the silence under the rest of the last frame; ended_early: why, if its
        sender did not say that it was all"""
        return {
            "event": "complete",
            "request_id": self.request_id,
            "epoch": self.epoch,
            "total_chunks": self.chunks,
            "duration": self.duration_s,
            "sound_duration": round(sound_s, 6),
            "avatar_frame": self.next_cycle_frame,
            "ended_early": ended_early,
            "waited": round(waited_s, 3),
        }

    def error_event(self, error: MuseTalkStreamError) -> Event:
        return {
            "event": "error",
            "message": error.detail,
            "code": error.code,
            "retryable": error.retryable,
            "request_id": self.request_id,
            "epoch": self.epoch,
        }

    def cancelled_event(self) -> Event:
        return {"event": "cancelled", "request_id": self.request_id, "epoch": self.epoch}

    def playback_started_event(self) -> Event:
        return {"event": "playback_started", "request_id": self.request_id}

    def playback_finished_event(self, *, played_ms: int, interrupted: bool) -> Event:
        return {
            "event": "playback_finished",
            "request_id": self.request_id,
            "played_ms": played_ms,
            "interrupted": interrupted,
        }
