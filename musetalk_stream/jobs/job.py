"""One upload on its way to an avatar, as clients see it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

from ..avatar import Avatar
from ..errors import MuseTalkStreamError, PreparationFailed
from ..prepare.progress import Estimate, Progress, Stage
from ..prepare.work import Work
from ..sse import Event
from .state import JobState, Trigger, advance

log = logging.getLogger(__name__)

# Followers are told what changed at most five times in a second; a step tells far more often.
_QUIET_S = 0.2
_BEFORE_THE_LOOK = (Stage.READING, Stage.LOOKING)
# Who polls asks far more often.
_FOLLOWED_S = 60.0
_OVER = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Job:
    """
    position  in the queue, from 1; None outside of it
    task      which drives it to its end; its owner is `Jobs`
    is_made   the avatar is in its place; what is in the folder of the work is not this job's
    avatar    while the renderer gets ready for it
    """

    def __init__(
        self, work: Work, state: JobState = JobState.QUEUED, *, latents: bool = False
    ) -> None:
        """`latents`: whether the renderer needs some. Raises PreparationFailed if a face that is to
        be approved can't be read."""
        self.id = work.request.job_id
        self.work = work
        self.state = state
        self.position: int | None = None
        self.task: asyncio.Task[None] | None = None
        self.approved = asyncio.Event()
        self.is_made = False
        self.avatar: Avatar | None = None
        self.asked_s = time.monotonic()  # when somebody asked for it last
        self.awaiting_s = self.asked_s  # since when it waits for approval
        self._followers = 0
        self._estimate = Estimate(latents=latents)
        self._preview: dict[str, Any] | None = None
        self._notes: list[str] = []
        self._error: dict[str, Any] | None = None
        self._changed = asyncio.Event()
        self._is_closed = False
        if state is JobState.AWAITING_APPROVAL:
            self._estimate.update(Progress(Stage.LOOKING, 1.0))
            self._see()

    def __repr__(self) -> str:
        return f"<Job {self.id[:8]} {self.avatar_id} {self.state.name}>"

    @property
    def avatar_id(self) -> str:
        return self.work.request.avatar_id

    @property
    def owner(self) -> str:
        """Id of the API key that sent the upload; empty on a server without keys."""
        return self.work.request.owner

    @property
    def is_over(self) -> bool:
        return self.state in _OVER

    @property
    def is_followed(self) -> bool:
        """Whether somebody looks on, or did a moment ago."""
        return self._followers > 0 or time.monotonic() - self.asked_s < _FOLLOWED_S

    @property
    def has_picture(self) -> bool:
        return self._preview is not None

    @property
    def original_size(self) -> tuple[int, int]:
        """Upright width and height of the upload; of a job whose face has been found."""
        assert self._preview is not None, f"{self!r} has no preview"
        return self._preview["original_width"], self._preview["original_height"]

    @property
    def seconds_left(self) -> float | None:
        return self._estimate.seconds_left if self.state is JobState.RUNNING else None

    # --- what happens to it

    def advance(self, trigger: Trigger) -> None:
        self.state = advance(self.state, trigger)
        log.info("%r", self)
        if self.state is JobState.AWAITING_APPROVAL:
            self.approved.clear()
            self.awaiting_s = time.monotonic()
            self._see()
        if self.is_over:
            self._preview = self.avatar = None  # its picture goes with the folder
        self.touch()

    def tell(self, progress: Progress) -> None:
        is_new = progress.stage is not self._estimate.stage
        self._estimate.update(progress)
        looked = progress.stage not in _BEFORE_THE_LOOK and not self.is_made
        # A stage that has ended may have left notes.
        if (self._preview is None or is_new) and looked:
            # Heard late, it may come from a process that has finished, and removed its folder.
            self._see(may_be_gone=True)
        self.touch()

    def look_again(self) -> None:
        self._preview = None
        self._notes.clear()

    def finish_making(self) -> None:
        """The avatar is in its place, and the folder in which it was made is gone."""
        self.is_made = True
        self._preview = None

    def note(self, sentence: str) -> None:
        self._notes.append(sentence)
        self.touch()

    def move_to(self, position: int | None) -> None:
        if position != self.position:
            self.position = position
            self.touch()

    def fail(self, exc: MuseTalkStreamError) -> None:
        self._error = {
            "title": exc.title,
            "detail": exc.detail,
            "code": exc.code,
            "status": exc.status,
            "retryable": exc.retryable,
        }
        log.info("%r: %s: %s", self, exc.code, exc.detail)
        self.advance(Trigger.FAIL)

    def give_up(self) -> None:
        self._notes.append("Nobody said whether this is the right face, so it was given up.")

    def _see(self, *, may_be_gone: bool = False) -> None:
        """Which face was found. Raises PreparationFailed."""
        try:
            look = json.loads(self.work.look.read_text())
            self._preview = _preview(self.id, look, json.loads(self.work.plan.read_text()))
            self._notes = list(look["notes"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            if may_be_gone and isinstance(exc, FileNotFoundError):
                return
            raise PreparationFailed(f"the face that was found can't be read: {exc!r}") from exc

    # --- who looks on

    def touch(self) -> None:
        """Wake everyone who waits now; whoever comes later waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """The server ends: followers do, too, whatever the state."""
        self._is_closed = True
        self.touch()

    async def follow(self) -> AsyncGenerator[tuple[None, Event], None]:
        """The whole document, at once and whenever it has changed, until the job is over."""
        told = None
        self._followers += 1
        try:
            while True:
                # Now: it may end while a slow follower takes what is yielded.
                changed, is_last = self._changed, self.is_over or self._is_closed
                event = {"event": "job", **self.document()}
                if event != told:
                    told = event
                    yield None, event
                if is_last:
                    return
                if changed is self._changed:
                    await changed.wait()
                await asyncio.sleep(_QUIET_S)
        finally:
            self._followers -= 1
            self.asked_s = time.monotonic()

    def document(self) -> dict[str, Any]:
        request, base = self.work.request, f"/jobs/{self.id}"
        seconds_left = self.seconds_left
        return {
            "job_id": self.id,
            "avatar_id": request.avatar_id,
            "name": request.name,
            "file_name": request.file_name,
            "state": self.state.value,
            "position": self.position,
            "stage": None if self.state is JobState.QUEUED else self._estimate.stage.value,
            "percent": 100 if self.state is JobState.DONE else self._estimate.percent,
            "seconds_left": None if seconds_left is None else round(seconds_left, 1),
            "notes": list(self._notes),
            "preview": self._preview,
            "error": self._error,
            "events_url": f"{base}/events",
            "avatar_url": f"/avatars/{request.avatar_id}",
        }


def _preview(job_id: str, look: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """What was found (`Look`), in pixels of the picture in which it was."""
    return {
        "picture_url": f"/jobs/{job_id}/picture",
        "width": look["width"],
        "height": look["height"],
        "original_width": plan["original_width"],
        "original_height": plan["original_height"],
        "faces": [
            {"box": _rounded(box), "chosen": index == look["chosen"]}
            for index, (box, _score) in enumerate(look["faces"])
        ],
        "landmarks": [_rounded(point) for point in look["landmarks"]],
        "mask": [[_rounded(point) for point in outline] for outline in look["mask"]],
        "finder": look["finder"],
    }


def _rounded(pixels: list[float]) -> list[float]:
    return [round(number, 1) for number in pixels]
