"""All jobs of a server: taken in, queued, made one by one, approved, cancelled, forgotten."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path, PurePath

from ..access import ANYBODY, Caller
from ..config import Config, process_environment
from ..errors import (
    AvatarExists,
    BadRequest,
    JobNotFound,
    MuseTalkStreamError,
    NotAwaitingApproval,
    NotReady,
    PreparationFailed,
    TooManyJobs,
)
from ..prepare.progress import Progress, Stage
from ..prepare.request import FaceHint, Request, avatar_id_of
from ..prepare.work import (
    PREPARING,
    Work,
    anybody_at_work,
    forget_uploads,
    throw_away,
    unfinished,
)
from ..readying import Readying
from ..shelf import AvatarShelf
from .job import Job
from .process import examine, prepare
from .second_look import begin_second_look, undo_second_look
from .state import JobState, Trigger
from .store_lock import served
from .wanted import Wanted, require_inside

log = logging.getLogger(__name__)

_REMEMBERED = 100  # jobs that are over; the oldest is forgotten first
_APPROVAL_S = 3600.0  # for which a found face waits for somebody to look at it
_EXAMINED_AT_ONCE = 2  # uploads; others wait, and they are as many as jobs at most
# A process looks five times in a second whether the server that started it is still there.
_ORPHANS_BEGIN_S, _ORPHANS_END_S, _LOOK_EVERY_S = 0.5, 3.0, 0.2
_RETRY_S = (5, 60)  # what whoever finds the queue full is told to wait, at least and at most


class Jobs:
    """One process at a time prepares; `max_jobs` may wait for it, for approval, for the renderer or
    for the end of their upload.

    A job outlives the server: its folder stays, and the next server goes on with it.
    """

    def __init__(self, config: Config, shelf: AvatarShelf, readying: Readying) -> None:
        self._store = config.storage.avatars_dir
        self._max_jobs = config.prepare.max_jobs
        self._environment = process_environment(config)
        self._has_latents = config.engine.renderer != "builtin"
        self._shelf = shelf
        self._readying = readying
        self._jobs: dict[str, Job] = {}  # oldest first
        self._receiving = 0
        self._waiting: list[Job] = []  # for the turn, in this order
        self._turn = asyncio.Lock()  # fair: the first to wait is the first to get it
        self._examining = asyncio.Semaphore(_EXAMINED_AT_ONCE)
        self._ending: dict[str, asyncio.Task[None]] = {}  # those that cancel, by job
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Jobs {len(self._jobs)}, {len(self._waiting)} waiting>"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Jobs"]:
        """Jobs go on while this block runs, those of the server before this one, too; not those of
        one that is there still."""
        async with served(self._store) as (is_alone, let_others_come):
            if is_alone:
                await asyncio.to_thread(forget_uploads, self._store)
                for work in await self._left_behind():
                    await self._resume(work)
            let_others_come()
            self._is_open = True
            try:
                yield self
            finally:
                await self._stop()

    async def _stop(self) -> None:
        self._is_open = False
        tasks = [job.task for job in self._jobs.values() if job.task]
        for task in tasks:
            task.cancel()
        for job in self._jobs.values():
            job.close()
        if pending := {*tasks, *self._ending.values()}:
            await asyncio.wait(pending)

    # --- asking

    def get(self, job_id: str, caller: Caller = ANYBODY) -> Job:
        """For somebody who follows it. Raises JobNotFound, also if the job is another's."""
        job = self._jobs.get(job_id)
        if job is None or not caller.owns(job.owner):
            raise JobNotFound("there is no such job, or no longer: see GET /jobs")
        job.asked_s = time.monotonic()
        return job

    def all(self) -> list[Job]:
        """Newest first."""
        return list(reversed(self._jobs.values()))

    def getting_ready(self, avatar_id: str) -> Job | None:
        """The job that made an avatar, while the renderer gets ready for it: with the one, the
        other goes."""
        avatar = self._shelf.opened(avatar_id)
        return next((job for job in self._jobs.values() if avatar and job.avatar is avatar), None)

    # --- taking in

    @contextmanager
    def room(self) -> Iterator[None]:
        """Keeps a place while an upload arrives. Raises TooManyJobs."""
        if self._taken() >= self._max_jobs and not self._give_up_one():
            raise TooManyJobs(
                f"{self._max_jobs} uploads wait already, to be made into avatars or for approval: "
                "try again later",
                retry_after_s=self._try_again_s(),
            )
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    def _taken(self) -> int:
        """Places of those that wait for something, and not for their end."""
        waiting = (JobState.QUEUED, JobState.AWAITING_APPROVAL)
        return self._receiving + sum(
            (job.state in waiting or (job.is_made and not job.is_over))
            and job.id not in self._ending
            for job in self._jobs.values()
        )

    def _give_up_one(self) -> bool:
        """End the job that has waited longest for an approval while nobody looks on; whether there
        was one."""
        forgotten = [
            job
            for job in self._jobs.values()
            if job.state is JobState.AWAITING_APPROVAL
            and job.id not in self._ending
            and not job.is_followed
        ]
        if not forgotten:
            return False
        job = min(forgotten, key=lambda job: job.awaiting_s)
        job.give_up()
        self._end(job)
        return True

    def _try_again_s(self) -> int:
        """When the one in work may be done, so that another begins."""
        least, most = _RETRY_S
        left_s = [job.seconds_left for job in self._jobs.values() if job.seconds_left is not None]
        return round(min(most, max(least, min(left_s, default=most))))

    def require_free(self, avatar_id: str) -> None:
        """Raises AvatarExists if `submit` would, as far as that is known before there is a file."""
        self._require_no_alias(avatar_id)
        if (self._store / avatar_id).exists():
            raise AvatarExists(
                f"there is an avatar {avatar_id} already: choose another id, or delete that one"
            )
        work = Work(self._store, Request(avatar_id, name="", file_name="", job_id=""))
        if work.folder.exists():
            raise AvatarExists(work.why_it_is_there())

    def _require_no_alias(self, avatar_id: str) -> None:
        """Raises AvatarExists."""
        if self._shelf.is_alias(avatar_id):
            raise AvatarExists(
                f"{avatar_id} is another name of an avatar on this server: choose another id"
            )

    async def submit(self, upload: Path, idle: Path | None, wanted: Wanted) -> Job:
        """Queue an upload, which is moved away; files in the same file system as the avatars.

        idle  a second video, of the person at rest

        Raises AvatarExists, InvalidParameter, NotReady, what `process.examine` raises, and OSError.
        """
        async with self._examining:
            width, height = await examine(upload, idle, self._environment)
        require_inside(wanted.hint, width, height)
        if not self._is_open:
            raise NotReady("the server is shutting down: send it again shortly")
        job = Job(self._begin(wanted, upload, idle), latents=self._has_latents)
        self._take_on(job)
        return job

    def _begin(self, wanted: Wanted, upload: Path, idle: Path | None) -> Work:
        """A folder of its own, with the upload in it. Raises AvatarExists."""
        name = wanted.name or PurePath(wanted.file_name).stem or wanted.file_name
        request = Request(
            avatar_id=wanted.avatar_id or avatar_id_of(wanted.file_name),
            name=name,
            file_name=wanted.file_name,
            job_id=secrets.token_urlsafe(16),
            loop=wanted.loop,
            hint=wanted.hint,
            approve=wanted.approve,
            owner=wanted.owner,
        )
        first_id = request.avatar_id
        number = 1
        while True:
            work = Work(self._store, request)
            try:
                self._require_no_alias(request.avatar_id)
                work.begin()
                if idle:
                    idle.rename(work.idle_film)
                upload.rename(work.upload)
            except AvatarExists:
                if wanted.avatar_id:
                    raise
                number += 1
                request = replace(request, avatar_id=f"{first_id}-{number}")
            except OSError:
                work.discard()
                raise
            else:
                return work

    async def _left_behind(self) -> list[Work]:
        """By the server before this one. If that was killed, its process ends soon after it, and
        holds its work until then, or is about to."""
        if not await asyncio.to_thread(lambda: any((self._store / PREPARING).glob("*/"))):
            return []
        await asyncio.sleep(_ORPHANS_BEGIN_S)
        deadline_s = time.monotonic() + _ORPHANS_END_S
        while await asyncio.to_thread(anybody_at_work, self._store):
            if time.monotonic() > deadline_s:
                break  # it is not an orphan: somebody prepares by hand
            await asyncio.sleep(_LOOK_EVERY_S)
        return await asyncio.to_thread(unfinished, self._store)

    async def _resume(self, work: Work) -> None:
        """Go on with a job of a server that has ended, if what it left can be read."""
        is_looked_at = work.request.approve and work.look.is_file()
        awaits = is_looked_at and not work.approved.exists()
        state = JobState.AWAITING_APPROVAL if awaits else JobState.QUEUED
        try:
            job = Job(work, state, latents=self._has_latents)
        except PreparationFailed as exc:
            log.error("removing %r: %s", work, exc.detail)
            await asyncio.to_thread(work.discard)
            return
        log.info("%r: going on", job)
        self._take_on(job)

    def _take_on(self, job: Job) -> None:
        self._jobs[job.id] = job
        if job.state is JobState.QUEUED:
            self._queue(job)
        job.task = asyncio.create_task(self._run(job), name=f"job-{job.id[:8]}")

    # --- making

    async def _run(self, job: Job) -> None:
        """From the queue to the end. Cancelled, it leaves everything as it is."""
        try:
            await self._make(job)
            await self._ready(job)
        except TimeoutError:
            job.give_up()
            job.advance(Trigger.CANCEL)
            await self._remove_unmade(job)
        except MuseTalkStreamError as exc:
            await self._remove_unmade(job)
            job.fail(exc)
        except Exception:
            log.exception("%r", job)
            await self._remove_unmade(job)
            job.fail(PreparationFailed("the server made a mistake; its log says which"))
        finally:
            self._unqueue(job)
            self._forget_old()

    async def _make(self, job: Job) -> None:
        """Returns when the avatar is in its place. Raises what `process.prepare` raises, and
        TimeoutError when nobody approves."""
        while True:
            if job.state is JobState.AWAITING_APPROVAL:
                async with asyncio.timeout(_APPROVAL_S):
                    await job.approved.wait()
            async with self._turn:
                self._unqueue(job)
                job.advance(Trigger.START)
                try:
                    is_made = await prepare(job.work.folder, self._environment, job.tell)
                    note = None
                except BadRequest as exc:
                    if not undo_second_look(job.work):
                        raise
                    is_made, note = False, exc.detail
            if is_made:
                return
            job.advance(Trigger.LOOKED)
            if note:
                job.note(f"There, the face can't be used: {note}")

    async def _ready(self, job: Job) -> None:
        """What the renderer needs besides; others may be made meanwhile. If that fails, the avatar
        stays: whoever asks for it has it tried anew. Raises what `Readying.until_prepared` does."""
        job.finish_making()
        job.avatar = self._shelf.get(job.avatar_id)
        async with aclosing(self._readying.until_prepared(job.avatar)) as shares:
            async for share in shares:
                job.tell(Progress(Stage.LATENTS, share))
        job.advance(Trigger.FINISH)

    async def _remove_unmade(self, job: Job) -> None:
        """Everything of a job, unless the avatar was made: that stays. What can't be removed is
        logged: the job ends all the same."""
        if not job.is_made:
            try:
                await asyncio.to_thread(_remove, job.work)
            except OSError:
                log.exception("%r leaves %s", job, job.work.folder)

    def _queue(self, job: Job) -> None:
        self._waiting.append(job)
        self._tell_positions()

    def _unqueue(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            job.move_to(None)
            self._tell_positions()

    def _tell_positions(self) -> None:
        for position, job in enumerate(self._waiting, start=1):
            job.move_to(position)

    # --- approving

    def approve(self, job: Job, hint: FaceHint) -> None:
        """Go on with the face that was found; or, by a hint, look again and ask again. Raises
        NotAwaitingApproval, InvalidParameter."""
        if job.id in self._ending:
            raise NotAwaitingApproval("this job is being cancelled: there is nothing to approve")
        if job.state is not JobState.AWAITING_APPROVAL:
            raise NotAwaitingApproval(f"this job is {job.state.value}: there is nothing to approve")
        work = job.work
        if hint:
            require_inside(hint, *job.original_size)
            begin_second_look(work, hint)
            job.look_again()
        else:
            work.approved.touch()
        job.advance(Trigger.APPROVE)
        self._queue(job)
        job.approved.set()

    # --- ending

    async def cancel(self, job: Job) -> None:
        """End a job, even if the caller is cancelled, and remove what it has made; one that is over
        is forgotten."""
        if job.is_over:
            self._jobs.pop(job.id, None)
            return
        await asyncio.shield(self._end(job))

    def _end(self, job: Job) -> asyncio.Task[None]:
        ending = self._ending.get(job.id)
        if ending is None:
            ending = asyncio.create_task(self._cancel(job), name=f"cancel-{job.id[:8]}")
            self._ending[job.id] = ending
            ending.add_done_callback(lambda _: self._ending.pop(job.id))
        return ending

    async def _cancel(self, job: Job) -> None:
        assert job.task is not None
        job.task.cancel()
        await asyncio.wait([job.task])
        job.task = None  # what ended it would keep the avatar, and so its place on the disk
        self._unqueue(job)  # a task that has not begun yet can't do it
        if not job.is_over:
            await self._remove_unmade(job)
            await self._remove_made(job)
            job.advance(Trigger.CANCEL)
            self._forget_old()

    async def _remove_made(self, job: Job) -> None:
        """The avatar of a job, if the renderer still gets ready for it, and if it has not been
        deleted: another one may be there under its id."""
        avatar = job.avatar
        if avatar is None:
            return
        self._readying.drop(avatar)
        if self._shelf.opened(avatar.id) is avatar:
            try:
                await asyncio.to_thread(throw_away, job.work.place)
            except OSError:
                log.exception("%r leaves %s", job, job.work.place)
            self._shelf.forget(avatar.id)

    def _forget_old(self) -> None:
        over = [job for job in self._jobs.values() if job.is_over]
        for job in over[:-_REMEMBERED]:
            del self._jobs[job.id]


def _remove(work: Work) -> None:
    """Everything of a job. Its process may have been ended just after it was done: the avatar then
    is in its place, and only this job can have put it there."""
    is_in_place = not work.avatar.is_dir() and work.place.is_dir()
    work.discard()
    if is_in_place:
        throw_away(work.place)
