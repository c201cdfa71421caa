"""Who is served next, and how much: decisions without clocks, threads or torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar

from .timeline import PART_FRAMES

# Time for a finished chunk to travel to the viewer and be appended.
DELIVERY_MARGIN_S = 0.1
# The next chunk may be made at this share of the speed measured so far and still be in time.
SPEED_SHARE = 0.5
# Media seconds per second above which a single part is lead enough.
_STARTING_SPEED = 2.0
# A last chunk shorter than this is not worth a request: it joins the chunk before it, or that one
# leaves it more.
MIN_TAIL_S = Fraction(1, 5)
# Fewer frames than this may have no whole AAC frame under them.
_MIN_FRAMES = PART_FRAMES // 2


def next_chunk_frames(
    *, fps: Fraction, remaining: int, limit: int, lead_s: float, speed: float
) -> int:
    """How many frames the next chunk takes.

    A chunk of d seconds is made in d/speed seconds, and the viewer has `lead_s` seconds left to
    watch: it is in time if d/speed + DELIVERY_MARGIN_S <= lead_s. So the first chunk (no lead) is
    one part, and chunks grow to `limit` frames as the lead does. A chunk is never longer than the
    lead: if all sessions start to speak at once and the speed drops to real time, it is still in
    time. The last chunk is never shorter than MIN_TAIL_S.

    fps        frames per second
    remaining  frames left in the utterance, at least 1
    limit      frames of a full chunk, a multiple of PART_FRAMES
    lead_s     seconds delivered and not yet watched
    speed      seconds of media generated per second so far; 0 if not measured yet
    """
    affordable_s = max(0.0, lead_s - DELIVERY_MARGIN_S) * min(1.0, speed * SPEED_SHARE)
    parts = max(1, math.floor(affordable_s * fps / PART_FRAMES))
    frames = min(parts * PART_FRAMES, limit, remaining)
    if frames == remaining or remaining - frames >= MIN_TAIL_S * fps:
        return frames
    shortened = remaining - math.ceil(MIN_TAIL_S * fps)
    if lead_s <= 0 or remaining / fps <= affordable_s or shortened < _MIN_FRAMES:
        return remaining
    return shortened


def may_start(num_chunks: int, speed: float) -> bool:
    """Whether viewers may be told of an utterance's first chunks.

    A busy engine may not have the second chunk ready when the first has been watched: then the
    first waits for it. An idle one is many times faster than this.
    """
    return speed >= _STARTING_SPEED or num_chunks >= 2


T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[T]):
    """Frames of one stream that wait to be rendered, in order."""

    deadline_s: float  # the instant at which this stream's viewer runs dry
    per_turn: int  # frames of this job that may ride in one batch
    waiting: list[T] = field(default_factory=list)


def next_batch(jobs: Iterable[Job[T]], max_batch: int) -> list[tuple[Job[T], list[T]]]:
    """Take up to `max_batch` frames off the jobs: earliest deadline first, `per_turn` of each.

    When every job has had its turn and there is room left, the earliest get another: a batch is
    never smaller than the work at hand allows.
    """
    order = sorted((job for job in jobs if job.waiting), key=lambda job: job.deadline_s)
    taken: dict[int, list[T]] = {}
    room = max_batch
    while room and any(job.waiting for job in order):
        for job in order:
            count = min(job.per_turn, room, len(job.waiting))
            taken.setdefault(id(job), []).extend(job.waiting[:count])
            del job.waiting[:count]
            room -= count
    return [(job, taken[id(job)]) for job in order if taken.get(id(job))]
