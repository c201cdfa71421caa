"""Who is served next, and how much: decisions without clocks, threads or torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
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
# Sound that goes on is spoken as soon as frames for about this long are there.
_LIVE_PART_S = Fraction(2, 5)
# Batches handed to the device and not yet waited for: one that is rendered, one that is ready.
MAX_IN_FLIGHT = 2
# A batch is padded to a larger size only if it fills this share of it.
_MIN_FILL = Fraction(3, 4)
# Sessions may ask for this share of what the renderer was measured to make: the rest is for audio
# windows, smaller batches than the fastest, and avatars that are being prepared.
CAPACITY_SHARE = 0.9
# And for this share of what the encoders were measured to take with every core to themselves, in
# which mouths are put into pictures: the rest is for sound, muxing, serving, and a renderer that
# works on the same cores. With the built-in one, which moves lips on these threads, 20 sessions of
# 25 frames per second were held by two cores that take 700, and 24 were not.
ENCODER_SHARE = 0.7


def next_chunk_frames(
    *,
    fps: Fraction,
    remaining: int,
    limit: int,
    lead_s: float,
    speed: float,
    goes_on: bool = False,
    may_wait: bool = True,
) -> int:
    """How many frames the next chunk takes; 0 to wait for more sound, where it goes on.

    A chunk of d seconds is made in d/speed seconds, and the viewer has `lead_s` seconds left to
    watch: it is in time if d/speed + DELIVERY_MARGIN_S <= lead_s. So the first chunk (no lead) is
    one part, and chunks grow to `limit` frames as the lead does. A chunk is never longer than the
    lead: if all sessions start to speak at once and the speed drops to real time, it is still in
    time. The last chunk is never shorter than MIN_TAIL_S: where sound goes on, that much is held
    back anyway (`timeline.frames_ready`), and as many frames as make whole parts of live sound
    are taken of the rest.

    fps        frames per second
    remaining  frames that can be made now; at least 1, unless sound goes on
    limit      frames of a full chunk, a multiple of PART_FRAMES
    lead_s     seconds delivered and not yet watched
    speed      seconds of media generated per second so far; 0 if not measured yet
    goes_on    more frames will come
    may_wait   for a whole part of them, as the viewer has enough to watch
    """
    affordable_s = max(0.0, lead_s - DELIVERY_MARGIN_S) * min(1.0, speed * SPEED_SHARE)
    parts = max(1, math.floor(affordable_s * fps / PART_FRAMES))
    frames = min(parts * PART_FRAMES, limit, remaining)
    if goes_on:
        whole = frames - frames % live_part_frames(fps)
        return whole if whole or may_wait or frames < _MIN_FRAMES else frames
    if frames == remaining or remaining - frames >= MIN_TAIL_S * fps:
        return frames
    shortened = remaining - math.ceil(MIN_TAIL_S * fps)
    if lead_s <= 0 or remaining / fps <= affordable_s or shortened < _MIN_FRAMES:
        return remaining
    return shortened


def live_part_frames(fps: Fraction) -> int:
    """What is made at once of sound that goes on: a part, or less of it where a part is so long
    that it would be heard late."""
    return PART_FRAMES if _LIVE_PART_S * fps >= PART_FRAMES else _MIN_FRAMES


def patience_s(*, fps: Fraction, left_s: float, speed: float) -> float:
    """How long speech may wait for more of its sound before a part of silence must be made, so that
    viewers do not run dry; not above 0 when it is time.

    left_s  seconds until viewers have seen all there is
    speed   seconds of media generated per second so far
    """
    making_s = float(PART_FRAMES / fps) / speed
    return left_s - making_s - DELIVERY_MARGIN_S


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

    When every job has had its turn and there is room left, the earliest get another: as many
    frames are taken as there are, up to `max_batch`.
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


def usable_sizes(sizes: Sequence[int], limit: int) -> Sequence[int]:
    """The batch sizes up to a limit; the limit itself if all are larger."""
    return [size for size in sizes if size <= limit] or [limit]


def padded_size(count: int, sizes: Sequence[int]) -> int:
    """What a batch of `count` frames costs: as much as the next larger size, if there is one."""
    return next((size for size in sizes if size >= count), count)


def batch_size(waiting: int, sizes: Sequence[int]) -> int:
    """How many of the waiting frames make the next batch.

    With sizes 8 and 16, 9 frames are a full batch of 8 and one more, but 12 are a batch of 16 with
    a little room: that costs less than 8 and 4.

    waiting  at least 1
    sizes    ascending; a batch in between costs as much as the next larger one
    """
    larger = next((size for size in sizes if size >= waiting), None)
    if larger is not None and (waiting >= _MIN_FILL * larger or larger == sizes[0]):
        return waiting
    return max(size for size in sizes if size <= waiting)


@dataclass(frozen=True, slots=True)
class Rates:
    """Frames per second: those of lips are rendered, and those of output are encoded."""

    lips: float
    output: float


def capacity(speeds: Mapping[int, float], max_batch: int, encoders_fps: float) -> Rates:
    """What sessions may ask for together, given the measured frames per second of each batch size
    and of all encoders; no lips if none of the usable sizes was measured."""
    usable = [speed for size, speed in speeds.items() if size <= max_batch]
    return Rates(CAPACITY_SHARE * max(usable, default=0.0), ENCODER_SHARE * encoders_fps)


def admits(most: Rates, reserved: Rates, wanted: Rates) -> bool:
    """Whether a session can be taken beside those that have reserved theirs.

    The first one always is: a machine that is too slow even for one can still show what it does.
    """
    if not reserved.output:
        return True
    lips, output = reserved.lips + wanted.lips, reserved.output + wanted.output
    return lips <= most.lips and output <= most.output
