"""Arithmetic of time: frames, audio samples and ticks, all counted, never measured.

Rates are `Fraction`s and instants are integers; seconds appear only at the edges.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

EAR_RATE = 48_000  # audio samples per second of the sound that is heard
MODEL_RATE = 16_000  # audio samples per second of the sound that a renderer listens to
AAC_FRAME = 1024  # audio samples per AAC-LC frame (ISO 14496-3)

# At 48 kHz, 8 frames span whole AAC frames at 15 and 25 fps: borders exact to the sample.
PART_FRAMES = 8

# Below this timescale FFmpeg's MP4 muxer picks another of its own.
_MIN_TIMESCALE = 10_000


# What a mouth may depend on after the last of its frames has been shown: a fade, or a pause that
# turns out to be one, needs a glance ahead. In frames, and in 48 kHz audio samples besides.
_AHEAD_FRAMES = Fraction(3, 2)
_AHEAD_SAMPLES = EAR_RATE // 5


def ear_samples_needed(frames: int, fps: Fraction) -> int:
    """48 kHz audio samples that must have come before the first `frames` frames can be made of
    sound that goes on. Renderers look no further ahead, whatever is there."""
    return math.ceil((frames + _AHEAD_FRAMES) * EAR_RATE / fps) + _AHEAD_SAMPLES


def model_samples_needed(frames: int, fps: Fraction) -> int:
    """Likewise in 16 kHz audio samples."""
    return math.ceil(Fraction(ear_samples_needed(frames, fps) * MODEL_RATE, EAR_RATE))


def frames_ready(num_ear: int, fps: Fraction) -> int:
    """How many frames can be made of the first `num_ear` 48 kHz samples of sound that goes on."""
    return max(0, math.floor((num_ear - _AHEAD_SAMPLES) * fps / EAR_RATE - _AHEAD_FRAMES))


def output_frames_ready(num_ear: int, fps: Fraction, playback_fps: Fraction) -> int:
    """Likewise of output frames at `playback_fps`: those whose lips, at `fps`, are known, on either
    side of their instants (`lips_under`)."""
    last = frames_ready(num_ear, fps) - 1  # the last lips frame that can be made
    return max(0, math.floor(last * playback_fps / fps) + 1)


def lips_under(frame: int, fps: Fraction, playback_fps: Fraction) -> tuple[int, float]:
    """Where output frame `frame` lies between lips frames: the one before it, and the share of the
    next one, from 0 to less than 1. With both rates the same, always itself and 0."""
    place = frame * fps / playback_fps
    before = math.floor(place)
    return before, float(place - before)


def output_frame_under(lips_frame: int, fps: Fraction, playback_fps: Fraction) -> int:
    """The output frame that is shown at the instant of a lips frame."""
    return math.floor(lips_frame * playback_fps / fps)


def frames_covering(num_samples: int, fps: Fraction) -> int:
    """Video frames needed to show `num_samples` of 48 kHz sound to the end, at least one."""
    return max(1, math.ceil(num_samples * fps / EAR_RATE))


def aac_frames_before(frame: int, fps: Fraction) -> int:
    """AAC frames that begin before video frame `frame` does.

    An AAC frame that straddles the border belongs to the earlier side, so that sound never ends
    before the picture does.
    """
    return math.ceil(frame * EAR_RATE / fps / AAC_FRAME)


def ticks_per_second(fps: Fraction) -> int:
    """A video timescale in which every frame lasts a whole number of ticks."""
    timescale = fps.numerator
    return timescale * math.ceil(_MIN_TIMESCALE / timescale)


def ticks_per_frame(fps: Fraction) -> int:
    """The duration of a frame in the timescale of `ticks_per_second`, exactly."""
    exact = ticks_per_second(fps) / fps
    assert exact.denominator == 1, f"a frame at {fps} fps lasts {exact} ticks"
    return exact.numerator


def seconds(frames: int, fps: Fraction) -> float:
    return float(frames / fps)


def chunk_frames(chunk_duration_s: float, fps: Fraction) -> int:
    """The chunk length that comes closest to `chunk_duration_s` in whole parts, at least one."""
    return max(1, round(chunk_duration_s * float(fps) / PART_FRAMES)) * PART_FRAMES


@dataclass(frozen=True, slots=True)
class CyclePhase:
    """Where on its cycle an avatar's placeholder stands: `frame` at the instant `at_s`."""

    frame: int
    at_s: float  # of the monotonic clock
    fps: Fraction  # the avatar's own rate
    cycle_length: int

    def frame_at(self, when_s: float) -> int:
        """The cycle frame shown at an instant; before `at_s` the placeholder stands still."""
        elapsed = max(0, math.floor((when_s - self.at_s) * float(self.fps)))
        return (self.frame + elapsed) % self.cycle_length

    def moved_to(self, frame: int, at_s: float) -> "CyclePhase":
        return CyclePhase(frame % self.cycle_length, at_s, self.fps, self.cycle_length)


def share_of_speaking(frame: int, num_frames: int | None, fade: int, end_fade: int) -> float:
    """How much of the speaking picture output frame `frame` of `num_frames` (None: it goes on)
    shows, where speech has pictures of its own: 0 at both ends, which are the idle loop's, and 1
    from `fade` frames after the first to `end_fade` before the last."""
    near = frame / fade
    if num_frames is not None:
        near = min(near, (num_frames - 1 - frame) / end_fade)
    return 1.0 if near >= 1 else near * near * (3 - 2 * near)  # without a jerk at either end


def cycle_frame(start: int, frame: int, fps: Fraction, avatar_fps: Fraction) -> int:
    """The (unwrapped) cycle frame under output frame `frame`: natural speed at every rate."""
    return start + math.floor(frame * avatar_fps / fps)
