"""Avatars over real HTTP: made of uploads, refused, listed, deleted. The processes are real."""

import asyncio
import json
import shutil
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from fakes import make_avatar_folder, tone, wav
from making import PHOTO, Avatars, clip, jpeg, portrait, processes
from pictures import write_video
from servers import Serve

from musetalk_stream.prepare.work import PREPARING
from musetalk_stream.web import uploads


async def test_a_photo_becomes_an_avatar_that_speaks(avatars: Avatars) -> None:
    job = await avatars.post(PHOTO, "C:\\Photos\\Anna Müller.jpg")
    assert (job["avatar_id"], job["file_name"]) == ("anna-muller", "Anna Müller.jpg")
    assert (job["name"], job["state"], job["error"]) == ("Anna Müller", "queued", None)
    async with avatars.events(job["job_id"]) as events:
        told = await events.rest()
    assert all(event["event"] == "job" for event in told)
    assert told[-1]["state"] == "done"
    percents = [event["percent"] for event in told]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)
    assert max(percents[:-1]) < 100, "only what is done is done"
    stages = [event["stage"] for event in told if event["state"] == "running"]
    assert list(dict.fromkeys(stages))[-2:] == ["animating", "encoding"]
    shown = next(event["preview"] for event in told if event["stage"] == "animating")
    assert (shown["width"], shown["height"]) == (256, 256)

    document = (await avatars.client.get(job["avatar_url"])).json()
    assert (document["name"], document["prepared"], document["protected"]) == (
        "Anna Müller", True, False,
    )  # fmt: skip
    session_id = await avatars.server.create(avatar_id="anna-muller")
    heard = await avatars.server.speak(session_id, wav(tone(1.0)))
    assert heard[-1]["event"] == "complete"
    assert avatars.in_the_making() == []
    assert not processes(avatars.store)
    assert (await avatars.client.get("/jobs")).json()["jobs"] == [await avatars.job(job["job_id"])]


async def test_a_second_video_is_shown_in_silence(avatars: Avatars) -> None:
    job = await avatars.post(clip(), "ann.mp4", idle=clip())
    assert (await avatars.follow(job["job_id"], "done"))[-1]["state"] == "done"
    document = (await avatars.client.get(job["avatar_url"])).json()
    assert document["num_frames"] == 2 * document["idle_frames"] > 0


# --- what is refused


async def check_refused(
    avatars: Avatars, answer: httpx.Response, status: int, code: str, words: str = ""
) -> None:
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code), document
    assert words in document["detail"]
    assert (await avatars.client.get("/jobs")).json()["jobs"] == []
    assert avatars.in_the_making() == []
    assert avatars.ids() == ["demo", "other", "tiny"]


BAD_FIELDS = [
    ("avatar_id", "..", "1 to 64"),
    ("avatar_id", "a/b", "1 to 64"),
    ("avatar_id", "x" * 300, "1 to 64"),
    ("avatar_id", "Änne", "1 to 64"),
    ("avatar_id", "-a", "1 to 64"),
    ("avatar_id", "a\0", "1 to 64"),
    ("name", "x" * 129, "at most 128"),
    ("name", "x" * 20_000, "at most 16384 bytes"),
    ("loop", "round", "auto, ping-pong, forward"),
    ("approve", "maybe", "true or false"),
    ("face_box", "1,2,3", "4 numbers"),
    ("face_box", "3,2,1,4", "in this order"),
    ("face_box", "nan,2,3,4", "4 numbers"),
    ("face_box", "0,0,1e9,1e9", "256x256"),
    ("face_box", "9,9,10,200", "at least 8 pixels"),
    ("face_point", "1", "2 numbers"),
    ("face_point", "-5,1", "256x256"),
    ("landmarks", "[[1,2]]", "68"),
    ("landmarks", f"[{'[1,1],' * 67}[1{'0' * 400},1]]", "68"),
    ("landmarks", json.dumps([[5000, 100]] * 68), "256x256"),
    ("landmarks", json.dumps([[1e300, 1e300]] * 68), "256x256"),
    ("landmarks", "[" * 10_000, "68"),
    ("landmarks", json.dumps([[1, "x"]] * 68), "68"),
]


async def test_bad_fields(avatars: Avatars) -> None:
    for name, value, words in BAD_FIELDS:
        answer = await avatars.try_post(**{name: value})
        await check_refused(avatars, answer, 400, "invalid_parameter", words)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_media"),
        (b"just some words\n" * 100, 415, "unsupported_media"),
        (wav(tone(0.2)), 415, "unsupported_media"),
        (PHOTO[: len(PHOTO) // 2], 422, "damaged_media"),
    ],
)
async def test_bad_files(avatars: Avatars, data: bytes, status: int, code: str) -> None:
    await check_refused(avatars, await avatars.try_post(data), status, code)


async def test_bad_forms(avatars: Avatars) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=X"}
    client = avatars.client
    nothing = await client.post("/avatars")
    await check_refused(avatars, nothing, 422, "no_media_file", "multipart/form-data")
    other = await client.post("/avatars", files={"audio_file": ("a.jpg", PHOTO)})
    await check_refused(avatars, other, 422, "no_media_file", "in 'audio_file'")
    two = await client.post("/avatars", files=[("file", ("a.jpg", PHOTO))] * 2)
    await check_refused(avatars, two, 400, "invalid_parameter", "one file")
    garbage = await client.post("/avatars", content=b"garbage", headers=form)
    await check_refused(avatars, garbage, 400, "bad_request")
    cut = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nabc'
    broken = await client.post("/avatars", content=cut, headers=form)
    await check_refused(avatars, broken, 400, "bad_request")


async def test_an_optional_file_that_was_not_chosen_is_none(avatars: Avatars) -> None:
    form = b"".join(
        b'--X\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n' % part
        for part in ((b"idle", b"", b""), (b"file", b"a.mp4", clip()))
    )
    answer = await avatars.client.post(
        "/avatars",
        content=form + b"--X--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=X"},
    )
    assert answer.status_code == 202, answer.text
    await avatars.cancel(answer.json()["job_id"])


async def test_a_name_steers_no_terminal(avatars: Avatars) -> None:
    job = await avatars.post(clip(), name="\x1b[31mred\nrow \u202etxt")
    assert job["name"] == "[31mred row  txt"
    await avatars.cancel(job["job_id"])


async def test_limits(serve: Serve, own_store: Path) -> None:
    server = await serve(avatars_dir=own_store, max_avatar_mb=1, max_avatar_s=1, max_photo_mp=0.1)
    avatars = Avatars(server, own_store)
    answer = await avatars.try_post(bytes(1_000_001))
    await check_refused(avatars, answer, 413, "upload_too_large", "limit of 1 MB")
    answer = await avatars.try_post(bytes(2_100_000))
    await check_refused(avatars, answer, 413, "upload_too_large", "limit of 1 MB")
    answer = await avatars.try_post(jpeg(np.zeros((400, 400, 3), np.uint8)))
    await check_refused(avatars, answer, 413, "media_too_large")
    long = write_video(own_store.parent / "long.mp4", [portrait()] * 12, Fraction(8)).read_bytes()
    await check_refused(avatars, await avatars.try_post(long), 413, "media_too_long")


async def test_ids_that_are_taken(avatars: Avatars) -> None:
    answer = await avatars.client.post("/avatars?avatar_id=tiny", content=b"not even read")
    await check_refused(avatars, answer, 409, "avatar_exists", "tiny")
    answer = await avatars.try_post(avatar_id="tiny")
    await check_refused(avatars, answer, 409, "avatar_exists", "tiny")
    answer = await avatars.try_post(avatar_id="test_avatar")
    await check_refused(avatars, answer, 409, "avatar_exists", "another name")
    first = await avatars.post(PHOTO, "tiny.jpg")
    second = await avatars.post(PHOTO, "TINY.jpg")
    assert [first["avatar_id"], second["avatar_id"]] == ["tiny-2", "tiny-3"]
    for taken in (
        await avatars.try_post(avatar_id="tiny-3"),
        await avatars.client.post("/avatars?avatar_id=tiny-3", content=b"not even read"),
    ):
        assert (taken.status_code, taken.json()["code"]) == (409, "avatar_exists")
        assert "being made" in taken.json()["detail"]
    for job in (second, first):
        await avatars.cancel(job["job_id"])
    await avatars.until_nothing_is_left()


BEGINNING = (
    b"POST /avatars HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
    b"Content-Type: multipart/form-data; boundary=X\r\n\r\n"
    b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
) + bytes(200_000)


async def test_an_upload_that_breaks_off_leaves_nothing(avatars: Avatars) -> None:
    address = urlsplit(avatars.server.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(BEGINNING)

    async def is_arriving() -> bool:
        return any((avatars.store / PREPARING).glob(".receiving-*/file"))

    await avatars.server.until(is_arriving)
    writer.close()
    await avatars.until_nothing_is_left()
    assert (await avatars.client.get("/jobs")).json()["jobs"] == []


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("avatar_id", "tiny", 409), ("face_box", "1,2,3", 400), ("loop", "round", 400)],
)
async def test_fields_are_looked_at_before_the_file(
    avatars: Avatars, name: str, value: str, status: int
) -> None:
    head, parts = BEGINNING.split(b"\r\n\r\n", 1)
    field = f'--X\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
    address = urlsplit(avatars.server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head + b"\r\n\r\n" + field.encode() + parts)  # and no more of the file
    assert f" {status} ".encode() in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await avatars.until_nothing_is_left()


async def test_an_upload_that_stalls(avatars: Avatars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_SILENCE_S", 0.2)
    address = urlsplit(avatars.server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(BEGINNING)
    assert b" 408 " in await reader.readline()
    writer.close()
    await avatars.until_nothing_is_left()


async def test_an_upload_that_drips(avatars: Avatars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_SILENCE_S", 0.3)
    monkeypatch.setattr(uploads, "_LEAST_BYTES_PER_S", 10_000_000)
    address = urlsplit(avatars.server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(BEGINNING)
    answer = asyncio.create_task(reader.readline())
    async with asyncio.timeout(5):
        while not answer.done():
            writer.write(b"drip")
            await asyncio.sleep(0.05)
    assert b" 408 " in await answer
    writer.close()
    await avatars.until_nothing_is_left()


async def test_a_full_disk_takes_no_upload(avatars: Avatars, small_disk: Path) -> None:
    shutil.rmtree(avatars.store / PREPARING)
    (avatars.store / PREPARING).symlink_to(small_disk)
    answer = await avatars.try_post(bytes(500_000))
    await check_refused(avatars, answer, 507, "storage_full", "make room")


# --- deleting


async def test_deleting_an_avatar_in_use(avatars: Avatars) -> None:
    session_id = await avatars.server.create(avatar_id="other")
    refused = await avatars.client.delete("/avatars/other")
    assert (refused.status_code, refused.json()["code"]) == (409, "avatar_in_use")
    bad = await avatars.client.delete("/avatars/other?force=perhaps")
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid_parameter")
    unknown = await avatars.client.delete("/avatars/nobody?force=perhaps")
    assert unknown.status_code == 400, "whatever there is"
    async with avatars.server.events(session_id) as events:
        await events.next()
        gone = await avatars.client.delete("/avatars/other?force=true")
        assert gone.status_code == 204
        assert await events.rest() == [{"event": "closed", "reason": "avatar_deleted"}]
    answer = await avatars.client.get(f"/sessions/{session_id}")
    assert (answer.status_code, answer.json()["code"]) == (410, "session_gone")
    assert "its avatar was deleted" in answer.json()["detail"]
    assert avatars.ids() == ["demo", "tiny"]
    again = await avatars.client.delete("/avatars/other")
    assert (again.status_code, again.json()["code"]) == (404, "avatar_not_found")


@pytest.mark.parametrize("avatar_id", ["tiny", "demo", "test_avatar"])
async def test_some_avatars_stay(avatars: Avatars, avatar_id: str) -> None:
    refused = await avatars.client.delete(f"/avatars/{avatar_id}?force=true")
    assert (refused.status_code, refused.json()["code"]) == (409, "avatar_protected")
    assert avatars.ids() == ["demo", "other", "tiny"]


async def test_a_folder_that_is_not_ready_can_be_deleted(avatars: Avatars) -> None:
    make_avatar_folder(avatars.store, "raw")
    assert (await avatars.client.get("/avatars/raw")).status_code == 404
    assert (await avatars.client.delete("/avatars/raw")).status_code == 204
    assert "raw" not in avatars.ids()


# --- pages of other origins


async def test_other_websites_change_nothing(avatars: Avatars) -> None:
    job = (await avatars.post(clip(), approve="true"))["job_id"]
    client, other = avatars.client, {"Origin": "https://evil.example"}
    for method, path in (
        ("POST", "/avatars"), ("DELETE", "/avatars/other"),
        ("POST", f"/jobs/{job}/approve"), ("DELETE", f"/jobs/{job}"),
        # Nor do they learn what there is, and which sessions they could watch.
        ("GET", "/jobs"), ("GET", f"/jobs/{job}"), ("GET", f"/jobs/{job}/events"),
        ("GET", f"/jobs/{job}/picture"), ("GET", "/sessions/stats"), ("GET", "/metrics"),
    ):  # fmt: skip
        for origin in ("https://evil.example", "null", "http://[", "http://127.0.0.1"):
            answer = await client.request(method, path, headers={"Origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), path
    assert (await client.get("/jobs")).status_code == 200
    assert (await client.post("/sessions/create", headers=other)).status_code == 201
    own = await client.delete(f"/jobs/{job}", headers={"Origin": avatars.server.url})
    assert own.status_code == 204
    assert "other" in avatars.ids()


async def test_origins_that_may_change_avatars(serve: Serve, own_store: Path) -> None:
    server = await serve(
        avatars_dir=own_store,
        cors_origins="*, https://app.example",
        public_url="https://avatars.example/",
    )
    for origin in ("https://app.example", "https://avatars.example"):
        answer = await server.client.post("/avatars", headers={"Origin": origin})
        assert answer.json()["code"] == "no_media_file"


# --- one address, two answers


async def test_the_page_and_the_list(avatars: Avatars) -> None:
    page = await avatars.client.get("/avatars", headers={"Accept": "text/html,*/*"})
    assert page.headers["Content-Type"].startswith("text/html")
    listed = await avatars.client.get("/avatars")
    assert [each["protected"] for each in listed.json()["avatars"]] == [True, False, True]
    assert page.headers["Vary"] == listed.headers["Vary"] == "Accept"
    assert (await avatars.client.head("/avatars")).status_code == 200


async def test_caches_learn_of_both_differences(serve: Serve, own_store: Path) -> None:
    server = await serve(avatars_dir=own_store, cors_origins="https://app.example")
    answer = await server.client.get("/avatars", headers={"Origin": "https://app.example"})
    assert answer.headers.get_list("Vary", split_commas=True) == ["Accept", "Origin"]
