"""What breaks on our side, a renderer or a disk, ends one utterance and nothing else."""

import asyncio
import logging
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import NumberRenderer, make_avatar_folder, silence, tone, wav
from servers import Json, Serve, Server, needed

from musetalk_stream.blend import Region
from musetalk_stream.renderers import FrameRequest, Mouth, Mouths, Rendered


def check_error(heard: list[Json], code: str) -> None:
    last = heard[-1]
    assert (last["event"], last["code"]) == ("error", code)
    assert set(last) == {"event", "message", "code", "retryable", "request_id", "epoch"}
    assert last["request_id"] == heard[0]["request_id"]
    assert len(last["message"]) > 10
    assert "Traceback" not in last["message"]


async def test_a_renderer_that_fails_ends_the_utterance_and_no_more(serve: Serve) -> None:
    broken = True
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: broken and frame == 30))
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(4.0)))
    check_error(heard, "render_failed")
    assert [event["event"] for event in heard[:2]] == ["started", "chunk"]
    assert await server.state(session_id) == "idle"
    for chunk in await server.chunks(heard):  # what was delivered still plays out
        assert chunk[4:8] == b"ftyp"
    broken = False
    assert (await server.speak(session_id, wav(tone(4.0))))[-1]["event"] == "complete"
    stats = (await server.client.get("/sessions/stats")).json()["engine"]
    assert (stats["failed"], stats["utterances"]) == (1, 2)


async def test_neighbours_in_the_same_batch_are_not_affected(serve: Serve) -> None:
    renderer = NumberRenderer(
        delay_s=0.001, fails_on=lambda avatar_id, frame: avatar_id == "other" and frame >= 20
    )
    server = await serve(renderer)
    bad = await server.create(avatar_id="other", batch_size=8)
    good = [await server.create(avatar_id="tiny", batch_size=8) for _ in range(3)]
    failed, *spoken = await asyncio.gather(
        *(server.speak(session_id, wav(tone(3.0))) for session_id in (bad, *good))
    )
    check_error(failed, "render_failed")
    for heard in spoken:
        assert heard[-1]["event"] == "complete"
        assert heard[-1]["duration"] == 3.0
    assert max(renderer.batches) > 8, "they did share batches"


async def test_a_renderer_that_can_not_hear(serve: Serve) -> None:
    server = await serve(NumberRenderer(fails_to_hear=True))
    session_id = await server.create()
    check_error(await server.speak(session_id, wav(tone(1.0))), "render_failed")
    check_error(await server.speak(session_id, wav(tone(1.0))), "render_failed")


async def test_a_mouth_that_can_not_be_pasted_fails_one_utterance(serve: Serve) -> None:
    """On the threads that compose and encode."""

    class Torn:
        openness = 1.0

        def on(self, picture: int) -> Region:
            raise MemoryError("no room for a mouth")

        def towards(self, other: Mouth | None, share: float) -> "Torn":
            return self

    class Tearing(NumberRenderer):
        def render(self, batch: Sequence[FrameRequest]) -> Mouths:
            mouths = super().render(batch)
            torn = [request.avatar.id == "other" for request in batch]
            return [Torn() if bad else m for bad, m in zip(torn, mouths, strict=True)]

    server = await serve(Tearing())
    bad, good = await server.create(avatar_id="other"), await server.create(avatar_id="tiny")
    failed, spoken = await asyncio.gather(
        *(server.speak(each, wav(tone(1.0))) for each in (bad, good))
    )
    check_error(failed, "render_failed")
    assert "no room" not in failed[-1]["message"], "that is for the log"
    assert spoken[-1]["event"] == "complete"
    assert await server.state(bad) == "idle"


async def test_a_renderer_that_forgets_a_frame(serve: Serve) -> None:
    class Forgetful(NumberRenderer):
        def submit(self, batch: Sequence[FrameRequest]) -> Rendered:
            return Rendered(super().submit(batch).mouths()[1:])

    server = await serve(Forgetful())
    session_id = await server.create()
    check_error(await server.speak(session_id, wav(tone(1.0))), "render_failed")
    assert (await server.client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("works_later", [False, True])
async def test_a_lost_device_fails_all_at_once_and_is_known_to(
    serve: Serve, works_later: bool
) -> None:
    renderer = NumberRenderer(works_later=works_later, delay_s=0.002)
    server = await serve(renderer, max_lead_s=60)
    silent, *speaking = [await server.create() for _ in range(4)]
    before = await server.speak(silent, wav(tone(0.5)))

    all_are_taken = asyncio.Barrier(len(speaking) + 1)

    async def speak(session_id: str) -> list[Json]:
        async with server.events(session_id) as events:
            await events.next()
            answer = await server.upload(session_id, wav(tone(30.0)))
            assert answer.status_code == 202, answer.text
            await all_are_taken.wait()
            return needed(await events.until_end())

    async def speech_is_under_way() -> bool:
        stats = (await server.client.get("/sessions/stats")).json()
        return bool(stats["engine"]["chunks"] > 5)

    speeches = [asyncio.create_task(speak(each)) for each in speaking]
    async with asyncio.timeout(20):
        await all_are_taken.wait()
    await server.until(speech_is_under_way)
    renderer.lost = "unspecified launch failure"
    for heard in await asyncio.gather(*speeches):
        check_error(heard, "renderer_lost")
        assert "unspecified launch failure" in heard[-1]["message"]
    assert (await server.client.get("/readyz")).status_code == 503

    async def another_process_is_needed() -> bool:
        return (await server.client.get("/healthz")).status_code == 503

    await server.until(another_process_is_needed)
    for path in ("/readyz", "/healthz"):
        answer = await server.client.get(path)
        assert answer.status_code == 503
        assert "unspecified launch failure" in answer.json()["detail"]
    for refused in (
        await server.client.post("/sessions/create"),
        await server.upload(silent, wav(tone(0.5))),
    ):
        assert (refused.status_code, refused.json()["code"]) == (503, "renderer_lost")
        assert refused.json()["retryable"]
        assert int(refused.headers["Retry-After"]) > 0
    assert await server.state(silent) == "idle"
    assert all(chunk[4:8] == b"ftyp" for chunk in await server.chunks(before)), "still served"
    assert (await server.client.delete(f"/sessions/{silent}")).status_code == 204


async def test_a_render_thread_that_dies_is_a_lost_renderer(serve: Serve) -> None:
    class Dying(NumberRenderer):
        def submit(self, batch: Sequence[FrameRequest]) -> Rendered:
            raise SystemExit("the device is gone")

    server = await serve(Dying())
    heard = await server.speak(await server.create(), wav(tone(1.0)))
    check_error(heard, "renderer_lost")
    assert "the device is gone" in heard[-1]["message"]


async def test_batches_that_do_not_fit_become_smaller(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = NumberRenderer(fits=3, delay_s=0.001)
    server = await serve(renderer)
    ids = [await server.create(batch_size=8) for _ in range(3)]
    for heard in await asyncio.gather(*(server.speak(each, wav(tone(2.0))) for each in ids)):
        assert heard[-1]["event"] == "complete"
        assert heard[-1]["duration"] == 2.0
    engine = (await server.client.get("/sessions/stats")).json()["engine"]
    assert (engine["max_batch"], engine["failed"]) == (2, 0)
    reductions = [each for each in caplog.records if "does not fit" in each.getMessage()]
    assert 1 <= len(reductions) <= 3, "once per reduction"


async def test_a_frame_that_never_fits_fails_its_utterance(serve: Serve) -> None:
    renderer = NumberRenderer(fits=0)
    server = await serve(renderer)
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(1.0)))
    check_error(heard, "render_failed")
    assert "OutOfDeviceMemory" in heard[-1]["message"]
    renderer.fits = 1
    assert (await server.speak(session_id, wav(tone(1.0))))[-1]["event"] == "complete"


async def test_a_failing_renderer_is_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(NumberRenderer(fails_on=lambda avatar_id, frame: True))
    heard = await server.speak(await server.create(), wav(tone(1.0)))
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert any("broken on purpose" in (record.exc_text or "") for record in errors)
    assert any(heard[0]["request_id"][:8] in record.getMessage() for record in errors)


async def test_a_full_store_says_so_and_takes_more_when_there_is_room(serve: Serve) -> None:
    server = await serve(chunk_store_mb=1, max_lead_s=60)
    blocker, session_id = await server.create(fps=60), await server.create(fps=60)
    # Incompressible sound fills a megabyte soon enough.
    noise = wav(tone(30.0, 997) + tone(30.0, 3010) * 0.9)
    heard = await server.speak(blocker, noise)
    while heard[-1]["event"] == "complete":
        heard = await server.speak(blocker, noise)
    check_error(heard, "storage_full")
    assert "chunk_store_mb" in heard[-1]["message"]
    check_error(await server.speak(session_id, wav(tone(4.0, 997))), "storage_full")
    assert await server.state(session_id) == "idle"
    await server.client.delete(f"/sessions/{blocker}")
    assert (await server.speak(session_id, wav(tone(0.5))))[-1]["event"] == "complete"


async def test_a_full_disk_says_so_and_takes_more_when_there_is_room(
    serve: Serve, small_disk: Path
) -> None:
    server = await serve(chunks_dir=small_disk)
    session_id = await server.create()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(390_000))
    heard = await server.speak(session_id, wav(tone(3.0)))
    check_error(heard, "storage_full")
    assert "disk is full" in heard[-1]["message"]
    await until_red(server, "storage")
    assert not [name for name in server.files() if name.endswith(".part")]
    ballast.unlink()
    await server.until_ready()
    assert (await server.speak(session_id, wav(tone(3.0))))[-1]["event"] == "complete"
    await server.client.delete(f"/sessions/{session_id}")
    assert server.files() == []


async def test_a_disk_that_becomes_read_only_and_comes_back(serve: Serve, small_disk: Path) -> None:
    server = await serve(chunks_dir=small_disk)
    session_id = await server.create()
    remount(small_disk, "ro")
    check_error(await server.speak(session_id, wav(tone(1.0))), "storage_failed")
    await until_red(server, "storage")
    assert (await server.client.get("/healthz")).status_code == 200
    remount(small_disk, "rw")
    await server.until_ready()
    assert (await server.speak(session_id, wav(tone(0.5))))[-1]["event"] == "complete"
    await server.client.delete(f"/sessions/{session_id}")
    assert server.files() == []


async def until_red(server: Server, status: str) -> None:
    async def is_so() -> bool:
        answer = await server.client.get("/readyz")
        return answer.status_code == 503 and answer.json()["status"] == status

    await server.until(is_so)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


async def test_a_chunk_folder_that_vanished_is_made_again(serve: Serve, tmp_path: Path) -> None:
    server = await serve(chunks_dir=tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    heard = await server.speak(await server.create(), wav(tone(0.5)))
    assert heard[-1]["event"] == "complete"


async def test_a_chunk_file_that_vanished_is_not_there(server: Server) -> None:
    session_id = await server.create()
    heard = await server.speak(session_id, wav(tone(0.5)))
    (server.chunks_dir / heard[1]["url"].removeprefix("/chunks/")).unlink()
    assert (await server.client.get(heard[1]["url"])).status_code == 404
    assert (await server.client.delete(f"/sessions/{session_id}")).status_code == 204


async def test_a_slow_renderer_is_late_and_known_to_be(serve: Serve) -> None:
    server = await serve(NumberRenderer(delay_s=0.06))
    heard = await server.speak(await server.create(), wav(tone(2.0)))
    assert heard[-1]["event"] == "complete"
    stats = (await server.client.get("/sessions/stats")).json()["engine"]
    assert stats["late_chunks"] > 0


async def test_generation_never_runs_too_far_ahead(serve: Serve) -> None:
    """Unhindered, these 30 s would be there at once."""
    server = await serve(max_lead_s=1)
    session_id = await server.create()
    began = time.monotonic()
    await server.upload(session_id, wav(silence(30.0)))

    async def a_second_has_passed() -> bool:
        return time.monotonic() - began > 1

    await server.until(a_second_has_passed)
    document = (await server.client.get(f"/sessions/{session_id}")).json()
    watched_s = time.monotonic() - began
    assert document["state"] == "speaking"
    assert document["utterance"]["seconds"] < watched_s + 1 + 2, "the lead, and a chunk more"
    await server.client.delete(f"/sessions/{session_id}")


# --- avatars that can't be used stop the start, with words


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "source.mp4").write_bytes(b"x"), "is not the file"),
        (lambda folder: (folder / "avatar.json").write_text("{"), "avatar.json"),
        (lambda folder: (folder / "avatar.json").write_text("{}"), "'format'"),
        (lambda folder: (folder / "landmarks.npy").write_bytes(b"x"), "can't be opened"),
        (lambda folder: (folder / "landmarks.npy").unlink(), "landmarks.npy"),
        (lambda folder: folder.rename(folder.with_name("renamed")), "there is no avatar 'tiny'"),
    ],
)
async def test_a_damaged_avatar(serve: Serve, tmp_path: Path, damage: object, words: str) -> None:
    store = tmp_path / "store"
    folder = make_avatar_folder(store, "tiny")
    assert callable(damage)
    damage(folder)
    with pytest.raises(AssertionError, match=words):
        await serve(avatars_dir=store)
