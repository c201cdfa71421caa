"""Jobs: queued, approved, cancelled, killed, taken over by the next server. Processes are real."""

import asyncio
import gc
import io
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import NumberRenderer
from making import Avatars, clip, is_alive, nobody, portrait, processes, stopped
from pictures import write_video
from PIL import Image
from servers import Begin, Json, Serve, Starting, start_process

from musetalk_stream.avatar import Avatar
from musetalk_stream.jobs import JobState, process
from musetalk_stream.jobs import job as job_module
from musetalk_stream.jobs import jobs as jobs_module
from musetalk_stream.jobs.state import IllegalTransition, Trigger, advance
from musetalk_stream.prepare.progress import Progress, Stage
from musetalk_stream.prepare.request import Request
from musetalk_stream.prepare.work import PREPARING, Work

# Preparations come last on the machine, so beside other tests they may stand still.
pytestmark = pytest.mark.alone

# --- what may happen when


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_the_end_is_the_end(state: JobState) -> None:
    for trigger in Trigger:
        with pytest.raises(IllegalTransition):
            advance(state, trigger)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.AWAITING_APPROVAL])
def test_what_goes_on_may_fail_and_be_cancelled(state: JobState) -> None:
    assert advance(state, Trigger.FAIL) is JobState.FAILED
    assert advance(state, Trigger.CANCEL) is JobState.CANCELLED


def test_approval_leads_back_into_the_queue() -> None:
    state = JobState.QUEUED
    for trigger in (Trigger.START, Trigger.LOOKED, Trigger.APPROVE, Trigger.START, Trigger.FINISH):
        state = advance(state, trigger)
    assert state is JobState.DONE
    with pytest.raises(IllegalTransition, match="can't APPROVE while QUEUED"):
        advance(JobState.QUEUED, Trigger.APPROVE)


# --- the face is looked at


async def test_a_video_is_approved(avatars: Avatars) -> None:
    job_id = (await avatars.post(clip(), "talk.mp4", approve="true", name="  Anna "))["job_id"]
    job = await avatars.until_state(job_id, "awaiting_approval")
    shown = job["preview"]
    assert (shown["width"], shown["height"]) == (256, 256)
    assert (shown["original_width"], shown["original_height"]) == (256, 256)
    assert [face["chosen"] for face in shown["faces"]] == [True]
    left, top, right, bottom = shown["faces"][0]["box"]
    assert 60 < left < right < 200, "the face is in the middle"
    assert 20 < top < bottom < 210
    assert np.array(shown["landmarks"]).shape == (68, 2)
    assert shown["mask"]
    assert all(len(point) == 2 for outline in shown["mask"] for point in outline)
    picture = await avatars.client.get(shown["picture_url"])
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.content)).size == (256, 256)
    assert job["name"] == "Anna"

    for bad in ({"face_box": [0, 0, 257, 100]}, {"face_point": "300,1"}, {"landmarks": [[1, 2]]}):
        answer = await avatars.approve(job_id, **bad)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert (await avatars.job(job_id))["state"] == "awaiting_approval", "nothing has changed"

    await avatars.approve(job_id, face_box=[5, 5, 25, 25])
    job = await avatars.until_state(job_id, "awaiting_approval")
    assert "can't be used" in job["notes"][-1]
    assert job["preview"] == shown, "the first look stands"

    box = [left - 10, top - 10, right + 10, bottom + 10]
    again = await avatars.approve(job_id, face_box=box)
    assert again.json()["state"] in ("queued", "running")
    assert again.json()["preview"] is None
    job = await avatars.until_state(job_id, "awaiting_approval")
    assert job["preview"] is not None

    assert (await avatars.approve(job_id)).status_code == 200
    await avatars.until_state(job_id, "done")
    refused = await avatars.approve(job_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_awaiting_approval")
    await avatars.until_nothing_is_left()
    gone = await avatars.client.get(f"/jobs/{job_id}/picture")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    assert "talk" in avatars.ids()


async def test_a_face_that_is_rarely_seen_is_told(avatars: Avatars, tmp_path: Path) -> None:
    """That is known only when it has been followed."""
    pictures = [portrait()] * 3 + [np.full((256, 256, 3), 90, np.uint8)] * 6
    video = write_video(tmp_path / "rare.mp4", pictures)
    job_id = (await avatars.post(video.read_bytes(), "rare.mp4"))["job_id"]
    job = (await avatars.follow(job_id))[-1]
    assert job["state"] == "done"
    assert "seen in 3 of 9 pictures" in job["notes"][-1]


async def test_nobody_approves(avatars: Avatars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "_APPROVAL_S", 0.1)
    job_id = (await avatars.post(approve="true"))["job_id"]
    job = (await avatars.follow(job_id))[-1]
    assert job["state"] == "cancelled"
    assert "given up" in job["notes"][-1]
    await avatars.until_nothing_is_left()


async def test_one_that_nobody_looks_at_makes_room(
    serve: Serve, own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    avatars = Avatars(await serve(avatars_dir=own_store, max_jobs=2), own_store)
    first, second = [
        (await avatars.post(clip(), avatar_id=name, approve="true"))["job_id"]
        for name in ("one", "two")
    ]
    for job_id in (first, second):
        await avatars.until_state(job_id, "awaiting_approval")
    full = await avatars.try_post(clip())
    assert (full.status_code, full.json()["code"]) == (429, "too_many_jobs"), "a moment ago"
    monkeypatch.setattr(job_module, "_FOLLOWED_S", 0.0)
    async with avatars.events(first) as events:
        await events.next()
        third = await avatars.post(clip(), avatar_id="three")
    given_up = (await avatars.follow(second))[-1]
    assert given_up["state"] == "cancelled"
    assert "given up" in given_up["notes"][-1]
    assert (await avatars.job(first))["state"] == "awaiting_approval", "somebody looks at it"
    assert third["position"] == 1
    await avatars.cancel(first)
    await avatars.cancel(third["job_id"])


async def test_approving_what_is_being_cancelled(avatars: Avatars) -> None:
    for number in range(2):
        job_id = (await avatars.post(clip(), avatar_id=f"a{number}", approve="true"))["job_id"]
        await avatars.until_state(job_id, "awaiting_approval")
        gone, answer = await asyncio.gather(
            avatars.client.delete(f"/jobs/{job_id}"), avatars.approve(job_id)
        )
        assert gone.status_code == 204
        assert answer.status_code in (200, 409)
        assert (await avatars.job(job_id))["state"] == "cancelled"
    last = await avatars.post(clip())
    assert last["position"] == 1, "no place in the queue is lost"
    await avatars.cancel(last["job_id"])


async def test_a_photo_without_a_face(avatars: Avatars) -> None:
    job = await avatars.post(nobody())
    last = (await avatars.follow(job["job_id"]))[-1]
    assert (last["state"], last["error"]["code"], last["error"]["status"]) == (
        "failed", "no_face", 422,
    )  # fmt: skip
    assert set(last["error"]) == {"title", "detail", "code", "status", "retryable"}
    await avatars.until_nothing_is_left()
    assert "anna" not in avatars.ids()
    again = await avatars.post(nobody(), face_box="60,60,200,220")
    assert again["avatar_id"] == "anna", "the name is free again"
    assert (await avatars.follow(again["job_id"]))[-1]["state"] == "done", "marked by hand"


# --- the queue


async def test_positions_and_cancelling(serve: Serve, own_store: Path) -> None:
    avatars = Avatars(await serve(avatars_dir=own_store, max_jobs=2), own_store)
    first, second, third = [
        (await avatars.post(avatar_id=name))["job_id"] for name in ("one", "two", "three")
    ]
    async with stopped(avatars, "one") as pid:
        assert [
            (job["avatar_id"], job["state"], job["position"])
            for job in (await avatars.client.get("/jobs")).json()["jobs"]
        ] == [("three", "queued", 2), ("two", "queued", 1), ("one", "running", None)]
        full = await avatars.try_post()
        assert (full.status_code, full.json()["code"]) == (429, "too_many_jobs")
        assert 5 <= int(full.headers["Retry-After"]) <= 60

        await avatars.cancel(second)
        assert (await avatars.job(second))["state"] == "cancelled"
        assert (await avatars.job(third))["position"] == 1
        assert avatars.in_the_making() == ["one", "three"]
        async with avatars.events(first) as events:
            await events.next()
            await asyncio.gather(avatars.cancel(first), avatars.cancel(first))
            assert (await events.rest())[-1]["state"] == "cancelled"
        assert not is_alive(pid), "it is not there, not even as a zombie"
        assert avatars.in_the_making() == ["three"]
    pid = await avatars.process("three")
    await avatars.cancel(third)
    assert not is_alive(pid)
    assert avatars.in_the_making() == []
    assert avatars.ids() == ["demo", "other", "tiny"]

    await avatars.cancel(third)  # of one that is over: it is forgotten
    gone = await avatars.client.get(f"/jobs/{third}")
    assert (gone.status_code, gone.json()["code"]) == (404, "job_not_found")


async def test_a_process_that_is_killed_fails_its_job(avatars: Avatars) -> None:
    killed = (await avatars.post(avatar_id="one"))["job_id"]
    healthy = (await avatars.post(clip(), avatar_id="two"))["job_id"]
    async with stopped(avatars, "one") as pid:
        os.kill(pid, signal.SIGKILL)
    last = (await avatars.follow(killed))[-1]
    assert (last["state"], last["error"]["code"]) == ("failed", "preparation_failed")
    assert "killed" in last["error"]["detail"]
    assert "one" not in avatars.in_the_making()
    assert (await avatars.follow(healthy))[-1]["state"] == "done", "the next one has its turn"
    assert avatars.ids() == ["demo", "other", "tiny", "two"]


async def test_a_process_that_stands_still_is_ended(
    avatars: Avatars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_SILENCE_S", 1.0)
    job_id = (await avatars.post(avatar_id="one"))["job_id"]
    async with stopped(avatars, "one") as pid:
        last = (await avatars.follow(job_id))[-1]
        assert (last["state"], last["error"]["code"]) == ("failed", "preparation_failed")
        assert "stood still" in last["error"]["detail"]
        assert not is_alive(pid)
    assert avatars.in_the_making() == []


async def test_jobs_that_are_over_are_forgotten_at_last(
    avatars: Avatars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "_REMEMBERED", 1)
    first, second, third = [(await avatars.post())["job_id"] for _ in range(3)]
    for job_id in (second, third):
        await avatars.cancel(job_id)
    listed = (await avatars.client.get("/jobs")).json()["jobs"]
    assert [job["job_id"] for job in listed] == [third, first], "one goes on"
    await avatars.cancel(first)
    assert len((await avatars.client.get("/jobs")).json()["jobs"]) == 1


async def test_many_look_on_and_leaving_cancels_nothing(avatars: Avatars) -> None:
    job_id = (await avatars.post(avatar_id="one"))["job_id"]
    async with stopped(avatars, "one"):
        async with avatars.events(job_id) as leaving:
            assert leaving.response.headers["Cache-Control"] == "no-cache, no-transform"
            assert (await leaving.next())["job_id"] == job_id
            assert leaving.retry_ms == 1000
        async with avatars.events(job_id) as first, avatars.events(job_id) as second:
            assert (await first.next())["state"] == (await second.next())["state"] == "running"
            await avatars.cancel(job_id)
            for events in (first, second):
                assert [event["state"] for event in await events.rest()] == ["cancelled"]
    async with avatars.events(job_id) as late:
        assert [event["state"] for event in await late.rest()] == ["cancelled"]


async def test_who_is_slow_is_told_the_end_too(tmp_path: Path) -> None:
    request = Request(avatar_id="ann", name="Ann", file_name="ann.jpg", job_id="job")
    job = job_module.Job(Work(tmp_path, request))
    following = job.follow()
    assert (await anext(following))[1]["state"] == "queued"
    job.advance(Trigger.CANCEL)  # while the first is still being written
    assert [event["state"] async for _, event in following] == ["cancelled"]


@pytest.mark.parametrize("left", [["look.json"], ["plan.json"], []])
def test_who_hears_late_of_what_is_finished_minds_no_folder(
    tmp_path: Path, left: list[str]
) -> None:
    """It is removed file by file while the process's last words are still on their way."""
    work = Work(tmp_path, Request(avatar_id="ann", name="Ann", file_name="a.jpg", job_id="job"))
    work.folder.mkdir(parents=True)
    for name in left:
        (work.folder / name).write_text("{}")
    job = job_module.Job(work)
    job.advance(Trigger.START)
    job.tell(Progress(Stage.ENCODING, 0.5))
    assert (job.document()["stage"], job.document()["preview"]) == ("encoding", None)


async def test_the_next_server_goes_on(begin: Begin, own_store: Path) -> None:
    async def start() -> tuple[Starting, Avatars]:
        starting = await begin(NumberRenderer(), avatars_dir=own_store)
        await starting.readiness.settled()
        return starting, Avatars(starting.server, own_store)

    first, avatars = await start()
    seen = (await avatars.post(clip(), avatar_id="seen", approve="true"))["job_id"]
    before = await avatars.until_state(seen, "awaiting_approval")
    running = (await avatars.post(avatar_id="running"))["job_id"]
    queued = (await avatars.post(avatar_id="queued"))["job_id"]
    async with stopped(avatars, "running") as pid, avatars.events(queued) as events:
        await events.next()
        await first.runner.cleanup()
        assert not is_alive(pid)
        assert all(event["state"] == "queued" for event in await events.rest()), "it ends early"
    assert avatars.in_the_making() == ["queued", "running", "seen"]

    (own_store / PREPARING / "half").mkdir()  # killed while an upload came in
    _, avatars = await start()
    jobs = (await avatars.client.get("/jobs")).json()["jobs"]
    assert [job["job_id"] for job in jobs] == [queued, running, seen]
    again = await avatars.job(seen)
    assert (again["state"], again["preview"]) == ("awaiting_approval", before["preview"])
    assert (await avatars.client.get(f"/jobs/{seen}/picture")).status_code == 200
    for job_id in (queued, running):
        await avatars.cancel(job_id)
    assert (await avatars.approve(seen)).status_code == 200
    await avatars.until_state(seen, "done")
    assert avatars.in_the_making() == []
    assert avatars.ids() == ["demo", "other", "seen", "tiny"]


async def test_a_torn_job_keeps_no_server_from_starting(begin: Begin, own_store: Path) -> None:
    first = await begin(NumberRenderer(), avatars_dir=own_store)
    await first.readiness.settled()
    avatars = Avatars(first.server, own_store)
    for name in ("torn", "whole"):
        job_id = (await avatars.post(clip(), avatar_id=name, approve="true"))["job_id"]
        await avatars.until_state(job_id, "awaiting_approval")
    await first.runner.cleanup()
    (own_store / PREPARING / "torn" / "look.json").write_text("")
    second = await begin(NumberRenderer(), avatars_dir=own_store)
    await second.readiness.settled()
    assert second.readiness.failed is None
    assert Avatars(second.server, own_store).in_the_making() == ["whole"]


async def test_a_second_server_leaves_the_jobs_of_the_first_alone(
    serve: Serve, own_store: Path
) -> None:
    avatars = Avatars(await serve(avatars_dir=own_store), own_store)
    job_id = (await avatars.post(clip(), avatar_id="seen", approve="true"))["job_id"]
    await avatars.until_state(job_id, "awaiting_approval")
    arriving = own_store / PREPARING / ".receiving-x"
    arriving.mkdir()
    second = Avatars(await serve(avatars_dir=own_store), own_store)
    assert (await second.client.get("/jobs")).json()["jobs"] == []
    assert arriving.is_dir()
    arriving.rmdir()
    own = await second.post(clip(), avatar_id="own")
    await second.until_state(own["job_id"], "done")
    assert (await avatars.approve(job_id)).status_code == 200
    await avatars.until_state(job_id, "done")


async def test_a_killed_server_is_followed_by_one_that_goes_on(
    begin: Begin, own_store: Path, tmp_path: Path
) -> None:
    with start_process(tmp_path, own_store, "--capacity-fps", "100000") as killed:
        async with killed.client() as server:
            avatars = Avatars(server, own_store)
            job_id = (await avatars.post(clip(), avatar_id="one"))["job_id"]
            orphan = await avatars.process("one")
            await avatars.follow(job_id, "running")
            killed.process.kill()
            killed.process.wait()
    starting = await begin(NumberRenderer(), avatars_dir=own_store)
    await starting.readiness.settled()
    avatars = Avatars(starting.server, own_store)
    await avatars.until_state(job_id, "done")
    assert avatars.in_the_making() == []

    async def has_ended() -> bool:  # on a busy machine late: it comes last there
        return orphan not in processes(own_store)

    await avatars.server.until(has_ended)


# --- what the renderer needs besides


async def test_latents_are_part_of_the_job(serve: Serve, own_store: Path) -> None:
    renderer = NumberRenderer(unprepared={"one"})
    avatars = Avatars(await serve(renderer, avatars_dir=own_store), own_store)
    job_id = (await avatars.post(clip(), avatar_id="one"))["job_id"]
    last = (await avatars.follow(job_id))[-1]
    assert (last["state"], last["stage"]) == ("done", "latents")
    assert renderer.unprepared == set()
    await avatars.server.create(avatar_id="one")


class Stuck(NumberRenderer):
    """Needs something besides, gets 40 % of it, and then no further; or says why it can't."""

    why_not = ""

    def is_prepared(self, avatar: Avatar) -> bool:
        return avatar.id == "tiny"

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        while True:
            if self.why_not:
                raise ValueError(self.why_not)
            time.sleep(0.02)  # or it takes all that preparations, which come last, could have
            yield 0.4


async def until_latents(avatars: Avatars, **fields: str) -> Json:
    """A job that waits for the renderer."""
    job_id = (await avatars.post(clip(), **fields))["job_id"]
    async with avatars.events(job_id) as events:
        while (told := await events.next())["stage"] != "latents" or told["percent"] == 40:
            assert told["state"] in ("queued", "running"), told["error"]
    return told


async def test_cancelling_while_the_renderer_gets_ready(serve: Serve, own_store: Path) -> None:
    avatars = Avatars(await serve(Stuck(), avatars_dir=own_store), own_store)
    job_id = (await avatars.post(clip(), avatar_id="one"))["job_id"]
    async with avatars.events(job_id) as events:
        while (told := await events.next())["stage"] != "latents":
            pass
        assert told["state"] == "running"
        assert (await avatars.client.get("/avatars/one")).status_code == 200, "it is there already"
        await avatars.cancel(job_id)
        assert (await events.rest())[-1]["state"] == "cancelled"
    assert (await avatars.client.get("/avatars/one")).status_code == 404
    assert avatars.ids() == ["demo", "other", "tiny"]


async def test_what_is_told_while_the_renderer_gets_ready(serve: Serve, own_store: Path) -> None:
    server = await serve(Stuck(), avatars_dir=own_store, renderer="musetalk", max_jobs=1)
    avatars = Avatars(server, own_store)
    job = await until_latents(avatars, avatar_id="one")
    assert job["percent"] == 40 + 60 * 0.4
    assert job["preview"] is None, "its picture has gone with the folder"
    full = await avatars.try_post(clip())
    assert (full.status_code, full.json()["code"]) == (429, "too_many_jobs")


async def is_no_deleted_open() -> bool:
    """Whether nothing that this process has deleted keeps its place on the disk."""
    gc.collect()
    return "/.deleted-" not in Path("/proc/self/maps").read_text()  # noqa: ASYNC240


async def test_deleting_what_the_renderer_gets_ready_for(serve: Serve, own_store: Path) -> None:
    renderer = Stuck()
    avatars = Avatars(await serve(renderer, avatars_dir=own_store), own_store)
    old = await until_latents(avatars, avatar_id="one")
    assert (await avatars.client.delete("/avatars/one")).status_code == 204
    assert (await avatars.job(old["job_id"]))["state"] == "cancelled"
    assert avatars.ids() == ["demo", "other", "tiny"]

    new = await until_latents(avatars, avatar_id="one")
    await avatars.cancel(old["job_id"])
    assert "one" in avatars.ids(), "it is another one"
    other = await until_latents(avatars, avatar_id="two")
    await avatars.cancel(new["job_id"])
    await avatars.server.until(is_no_deleted_open)
    renderer.why_not = "the device is full"
    last = (await avatars.follow(other["job_id"]))[-1]
    assert "the device is full" in last["error"]["detail"], "it has its turn"


async def test_cancelling_spoils_nothing_that_has_the_same_id(
    serve: Serve, own_store: Path
) -> None:
    avatars = Avatars(await serve(Stuck(), avatars_dir=own_store), own_store)
    old = await until_latents(avatars, avatar_id="one")
    shutil.rmtree(own_store / "one")  # by hand, or by the command
    new = (await avatars.post(clip(), avatar_id="one", approve="true"))["job_id"]
    await avatars.until_state(new, "awaiting_approval")
    await avatars.cancel(old["job_id"])
    assert avatars.in_the_making() == ["one"]
    assert (await avatars.approve(new)).status_code == 200
    await avatars.cancel(new)


class Odd(NumberRenderer):
    def is_prepared(self, avatar: Avatar) -> bool:
        if avatar.id == "one":
            raise OSError("the disk can't be read")
        return True


async def test_whatever_goes_wrong_ends_a_job(serve: Serve, own_store: Path) -> None:
    avatars = Avatars(await serve(Odd(), avatars_dir=own_store), own_store)
    job_id = (await avatars.post(clip(), avatar_id="one"))["job_id"]
    last = (await avatars.follow(job_id))[-1]
    assert (last["state"], last["error"]["code"]) == ("failed", "preparation_failed")
    assert "one" in avatars.ids()


async def test_a_renderer_that_cant_get_ready(serve: Serve, own_store: Path) -> None:
    renderer = Stuck()
    renderer.why_not = "the device is full"
    avatars = Avatars(await serve(renderer, avatars_dir=own_store), own_store)
    job_id = (await avatars.post(clip(), avatar_id="one"))["job_id"]
    last = (await avatars.follow(job_id))[-1]
    assert (last["state"], last["error"]["code"]) == ("failed", "preparation_failed")
    assert "the device is full" in last["error"]["detail"]
    assert "one" in avatars.ids(), "the avatar is whole, and may be shown later"
