"""How far a preparation is: its stages, what it tells, how long the rest of it will take."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What a preparation does, in this order."""

    READING = "reading"  # the file, into pictures of a constant rate
    LOOKING = "looking"  # for the face, in the first pictures
    ANIMATING = "animating"  # a still picture
    FOLLOWING = "following"  # the face, through all pictures
    ENCODING = "encoding"  # the loop that is shown in silence
    LATENTS = "latents"  # what the renderer needs besides; by the server itself


@dataclass(frozen=True, slots=True)
class Progress:
    """share: 0 to 1, of this stage alone."""

    stage: Stage
    share: float


Tell = Callable[[Progress], None]

# Shares of the whole time, as measured: a 10 s video of 720p, a photo of 512 pixels. A still is
# hardly read at all, so whoever begins by looking has a still, until it is seen to be followed.
_VIDEO = {Stage.READING: 0.33, Stage.LOOKING: 0.05, Stage.FOLLOWING: 0.42, Stage.ENCODING: 0.2}
_STILL = {Stage.LOOKING: 0.15, Stage.ANIMATING: 0.75, Stage.ENCODING: 0.1}

_BEFORE_LATENTS = 0.4  # of the whole; they may take a second or an hour, so this is for the eye

_TOO_EARLY_S = 1.0  # and
_TOO_LITTLE = 0.03  # of the whole: nothing can be told from them about the rest
# No step tells nothing for longer; what lies between two is then somebody else's time, as when the
# face waits to be approved.
_LONGEST_STEP_S = 15.0


class Estimate:
    """The whole from its stages: percent never fall, and reach 100 for nobody but who is done."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, latents: bool = False
    ) -> None:
        """`latents`: whether the renderer needs some, after all other stages."""
        self._clock = clock
        self._before_latents = _BEFORE_LATENTS if latents else 1.0
        self._shares = _STILL
        self._now = Progress(Stage.READING, 0.0)
        self._done = 0.0  # of the whole
        self._began: float | None = None  # what was done already when this began
        self._worked_s = 0.0  # since then
        self._stage_worked_s = 0.0  # in the present stage
        self._told_s = 0.0

    def __repr__(self) -> str:
        return f"<Estimate {self._now.stage.value} {self.percent} %>"

    def update(self, progress: Progress) -> None:
        now_s = self._clock()
        if self._began is not None:
            step_s = min(now_s - self._told_s, _LONGEST_STEP_S)
            self._worked_s += step_s
            same = progress.stage is self._now.stage
            self._stage_worked_s = self._stage_worked_s + step_s if same else 0.0
        if progress.stage in (Stage.READING, Stage.FOLLOWING):
            self._shares = _VIDEO
        elif progress.stage is Stage.ANIMATING:
            self._shares = _STILL
        self._told_s, self._now = now_s, progress
        self._done = max(self._done, self._share_done())
        if self._began is None:
            self._began = self._done

    @property
    def stage(self) -> Stage:
        return self._now.stage

    @property
    def percent(self) -> int:
        """0 to 99."""
        return min(99, int(100 * self._done))

    @property
    def seconds_left(self) -> float | None:
        """None while nobody can know."""
        if self._began is None:
            return None
        if self._now.stage is Stage.LATENTS:  # the last one, and of a speed of its own
            done, worked_s = self._now.share, self._stage_worked_s
            rest = 1 - done
        else:  # as far as can be known: up to the latents
            done, worked_s = self._done - self._began, self._worked_s
            rest = self._before_latents - self._done
        if worked_s < _TOO_EARLY_S or done < _TOO_LITTLE:
            return None
        return worked_s * rest / done

    def _share_done(self) -> float:
        """Of the whole."""
        if self._now.stage is Stage.LATENTS:
            return self._before_latents + (1 - self._before_latents) * self._now.share
        before = 0.0
        for stage, share in self._shares.items():
            if stage is self._now.stage:
                return self._before_latents * (before + share * self._now.share)
            before += share
        raise AssertionError(f"{self._now.stage} goes with neither stills nor videos")
