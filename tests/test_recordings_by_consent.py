"""Recordings: nothing without consent, told to everybody, gone when their time is over."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from fakes import NumberRenderer, tone, wav
from servers import Begin, Json, Serve, Server, assert_part
from talking import until_status

from musetalk_stream.consent import Consent
from musetalk_stream.recordings import Piece, Recording, Recordings

CONSENT = {"given_by": "Ada", "given_at": "2030-01-31T12:00:00Z", "purpose": "training"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
async def server(serve: Serve, folder: Path) -> Server:
    return await serve(recordings_dir=folder, recording_days=1)


def files(folder: Path) -> dict[str, int]:
    """Modes of all that is there, by name."""
    found = [folder, *folder.iterdir()] if folder.exists() else []
    return {path.name: path.stat().st_mode & 0o777 for path in found[1:]}


async def consent(server: Server, session_id: str) -> None:
    answer = await server.client.post(
        f"/sessions/{session_id}/recording", json={"consent": CONSENT}
    )
    assert answer.status_code == 200, answer.text


async def listed(server: Server, **query: str) -> list[Json]:
    answer = (await server.client.get("/recordings", params=query)).raise_for_status()
    found: list[Json] = answer.json()["recordings"]
    assert answer.json()["total"] == len(found)
    return found


async def until_listed(server: Server, count: int) -> list[Json]:
    async def are_there() -> bool:
        return len(await listed(server)) == count

    await server.until(are_there)
    return await listed(server)


async def test_nothing_is_kept_without_consent(server: Server, folder: Path) -> None:
    session_id = await server.create()
    await server.speak(session_id, wav(tone(0.5)))
    await server.client.delete(f"/sessions/{session_id}")
    assert await listed(server) == []
    assert files(folder.parent).keys().isdisjoint({folder.name})


async def test_where_nothing_may_be_recorded_nobody_can_consent(serve: Serve) -> None:
    server = await serve()
    session_id = await server.create()
    answer = await server.client.post(
        f"/sessions/{session_id}/recording", json={"consent": CONSENT}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "no_recording")
    assert (await server.client.get(f"/sessions/{session_id}")).json()["recording"] is False


async def test_what_is_spoken_after_consent_is_one_film(server: Server, folder: Path) -> None:
    session_id = await server.create(user_id="ada", chunk_duration=0.5)
    await server.speak(session_id, wav(tone(0.3)))
    async with server.events(session_id) as events:
        assert (await events.next())["recording"] is False
        await consent(server, session_id)
        told = (await events.until("recording"))[-1]
    shown = {"given_at": CONSENT["given_at"], "purpose": CONSENT["purpose"]}
    assert told == {"event": "recording", "on": True, "consent": shown}
    async with server.events(session_id) as events:
        assert (await events.next())["recording"] is True
    heard = await server.speak(session_id, wav(tone(2.0)))
    request_id = heard[0]["request_id"]
    (recording,) = await until_listed(server, 1)
    assert recording["consent"] == CONSENT
    assert (recording["request_id"], recording["user_id"]) == (request_id, "ada")
    assert recording["duration"] == 2.0
    address = f"/sessions/{session_id}/utterances/{request_id}.mp4"
    whole = (await server.client.get(address)).content
    await server.client.delete(f"/sessions/{session_id}")
    film = await server.client.get(recording["recording_url"])
    assert film.content == whole
    assert film.headers["Content-Type"] == heard[0]["mime"]
    assert film.headers["Cache-Control"] == "private, no-store"
    await assert_part(server.client, recording["recording_url"], "bytes=10-19", 10, 20)
    name = recording["recording_id"]
    assert files(folder) == {f"{name}.json": 0o600, f"{name}.mp4": 0o600}
    assert files(folder.parent)[folder.name] == 0o700


async def test_consent_ends_at_once(serve: Serve, folder: Path) -> None:
    """What is being said is not kept, either; nor is what began before it."""
    slow = NumberRenderer(delay_s=0.01)
    server = await serve(slow, recordings_dir=folder, recording_days=1)
    session_id = await server.create(on_busy="queue")
    await server.upload(session_id, wav(tone(1.0)))
    await until_status(server, session_id, "speaking")
    await consent(server, session_id)
    await until_status(server, session_id, "complete")
    await server.upload(session_id, wav(tone(1.0)))
    await until_status(server, session_id, "speaking")
    answer = await server.client.delete(f"/sessions/{session_id}/recording")
    assert answer.status_code == 204
    await until_status(server, session_id, "complete")
    await server.client.delete(f"/sessions/{session_id}")  # waits for what is still written
    assert await listed(server) == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (None, "consent:"),
        ("yes", "consent:"),
        ({**CONSENT, "given_by": ""}, "consent.given_by"),
        ({**CONSENT, "given_by": 7}, "consent.given_by"),
        ({**CONSENT, "given_by": "x" * 201}, "consent.given_by"),
        ({**CONSENT, "given_by": "a\nb"}, "consent.given_by"),
        ({**CONSENT, "given_at": "yesterday"}, "consent.given_at"),
        ({**CONSENT, "given_at": "2030-01-31T12:00:00"}, "consent.given_at"),
        ({**CONSENT, "given_at": "2030-01-31"}, "consent.given_at"),
        ({**CONSENT, "purpose": None}, "consent.purpose"),
        ({"given_by": "Ada"}, "consent.given_at"),
    ],
)
async def test_a_consent_that_says_too_little(server: Server, wrong: object, named: str) -> None:
    session_id = await server.create()
    answer = await server.client.post(f"/sessions/{session_id}/recording", json={"consent": wrong})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["detail"].startswith(named)
    assert (await server.client.get(f"/sessions/{session_id}")).json()["recording"] is False


async def test_deleting(server: Server, folder: Path) -> None:
    for user_id in ("ada", "bob", "ada"):
        session_id = await server.create(user_id=user_id)
        await consent(server, session_id)
        await server.speak(session_id, wav(tone(0.3)))
        await server.client.delete(f"/sessions/{session_id}")
    assert [each["user_id"] for each in await until_listed(server, 3)] == ["ada", "bob", "ada"]
    assert len(await listed(server, user_id="ada")) == 2
    refused = await server.client.delete("/recordings")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    answer = await server.client.delete("/recordings", params={"user_id": "ada"})
    assert answer.json() == {"deleted": 2}
    (left,) = await listed(server)
    assert (await server.client.delete(f"/recordings/{left['recording_id']}")).status_code == 204
    for method in ("GET", "DELETE"):
        path = left["recording_url"] if method == "GET" else f"/recordings/{left['recording_id']}"
        answer = await server.client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "recording_not_found")
    assert files(folder) == {}


async def test_pages_of_strangers_get_nothing(server: Server) -> None:
    answer = await server.client.get("/recordings", headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


async def test_consent_and_recordings_outlive_the_server(
    begin: Begin, folder: Path, tmp_path: Path
) -> None:
    settings = {"recordings_dir": folder, "recording_days": 1, "state_dir": tmp_path / "kept"}
    first = await begin(NumberRenderer(), **settings)
    await first.readiness.settled()
    session_id = await first.server.create()
    await consent(first.server, session_id)
    await first.server.speak(session_id, wav(tone(0.3)))
    (kept,) = await until_listed(first.server, 1)
    await first.server.hang_up()
    await first.runner.cleanup()
    second = await begin(NumberRenderer(), **settings)
    await second.readiness.settled()
    async with second.server.events(session_id) as events:
        assert (await events.until("state"))[-1]["recording"] is True
    assert (await second.server.client.get(kept["recording_url"])).status_code == 200
    await second.server.speak(session_id, wav(tone(0.3)))
    assert (await until_listed(second.server, 2))[1] == kept
    await second.server.hang_up()
    await second.runner.cleanup()
    third = await begin(NumberRenderer(), **{**settings, "recording_days": 0})
    await third.readiness.settled()
    assert (await third.server.client.get(f"/sessions/{session_id}")).json()["recording"] is False
    assert await listed(third.server) == []


# --- the files


def recording(recording_id: str, recorded_at: float) -> Recording:
    return Recording(
        recording_id, "s", "r", "demo", "", "ada", recorded_at, 1.0, "video/mp4",
        Consent("Ada", "2030-01-31T12:00:00Z", "training"),
    )  # fmt: skip


def always() -> bool:
    return True


async def test_they_go_when_their_days_are_over(tmp_path: Path, folder: Path) -> None:
    chunk = tmp_path / "chunk"
    chunk.write_bytes(b"0123456789")
    now_s = [1e9]
    store = Recordings(folder, days=1, max_bytes=10**6, clock=lambda: now_s[0])
    for place, recording_id in enumerate(("a" * 22, "b" * 22)):
        pieces = [Piece(chunk, 0, 4), Piece(chunk, 6, 2)]
        assert await store.keep(recording(recording_id, 1e9 + place * 3600), pieces, always)
    assert (folder / f"{'a' * 22}.mp4").read_bytes() == b"012367"
    now_s[0] += 86_400
    assert [each.recording_id for each in store.all()] == ["b" * 22], "before anybody tidies up"
    again = Recordings(folder, days=1, max_bytes=10**6, clock=lambda: now_s[0])
    await asyncio.to_thread(again.load)
    await again.tidy()
    assert files(folder).keys() == {f"{'b' * 22}.json", f"{'b' * 22}.mp4"}
    now_s[0] += 86_400
    await again.tidy()
    assert files(folder) == {}


async def test_what_nobody_knows_the_consent_of_goes(tmp_path: Path, folder: Path) -> None:
    chunk = tmp_path / "chunk"
    chunk.write_bytes(b"0123456789")
    store = Recordings(folder, days=1, max_bytes=10**6)
    for letter in "abcd":
        kept = recording(letter * 22, time.time())
        assert await store.keep(kept, [Piece(chunk, 0, 4)], always)
    (folder / f"{'a' * 22}.json").write_text("{")
    document = json.loads((folder / f"{'b' * 22}.json").read_text())
    (folder / f"{'b' * 22}.json").write_text(json.dumps({**document, "consent": None}))
    (folder / f"{'c' * 22}.mp4").unlink()
    (folder / f"{'e' * 22}.mp4.part").write_bytes(b"half of")
    os.utime(folder / f"{'e' * 22}.mp4.part", (1e9, 1e9))
    (folder / "holiday.mp4").write_bytes(b"somebody's")
    again = Recordings(folder, days=1, max_bytes=10**6)
    await asyncio.to_thread(again.load)
    assert [each.recording_id for each in again.all()] == ["d" * 22]
    assert files(folder).keys() == {f"{'d' * 22}.json", f"{'d' * 22}.mp4", "holiday.mp4"}


async def test_a_full_disk_keeps_nothing_by_halves(tmp_path: Path, small_disk: Path) -> None:
    chunk = tmp_path / "chunk"
    chunk.write_bytes(bytes(600_000))
    store = Recordings(small_disk / "recordings", days=1, max_bytes=10**6)
    kept = recording("a" * 22, time.time())
    assert not await store.keep(kept, [Piece(chunk, 0, 600_000)], always)
    assert files(small_disk / "recordings") == {}
    assert store.all() == []


@pytest.mark.parametrize("has_consent", [True, False])
async def test_what_is_being_written(tmp_path: Path, folder: Path, has_consent: bool) -> None:
    """Consent may be withdrawn meanwhile; and who deletes all of a user waits for it."""
    chunk = tmp_path / "chunk"
    chunk.write_bytes(b"0123456789")
    store, kept = Recordings(folder, days=1, max_bytes=10**6), recording("a" * 22, time.time())
    agreed = [True]
    keeping = asyncio.create_task(store.keep(kept, [Piece(chunk, 0, 4)], agreed.pop))
    await asyncio.sleep(0)
    agreed[0] = has_consent
    await store.all_written("ada")
    assert store.all() == [kept] * has_consent
    assert await keeping is has_consent
    await store.delete(store.all())
    assert files(folder) == {}


async def test_what_is_interrupted_while_it_is_written(tmp_path: Path, folder: Path) -> None:
    chunk = tmp_path / "chunk"
    chunk.write_bytes(b"0123456789")
    store, kept = Recordings(folder, days=1, max_bytes=4), recording("a" * 22, time.time())
    keeping = asyncio.create_task(store.keep(kept, [Piece(chunk, 0, 4)], always))
    await asyncio.sleep(0)
    keeping.cancel()
    await store.all_written("ada")
    assert (files(folder), store.all()) == ({}, [])
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert await store.keep(kept, [Piece(chunk, 0, 4)], always), "it takes no room"


async def test_what_can_not_be_taken_back_is_listed(tmp_path: Path, folder: Path) -> None:
    chunk = tmp_path / "chunk"
    chunk.write_bytes(b"0123456789")
    store, kept = Recordings(folder, days=1, max_bytes=4), recording("a" * 22, time.time())
    film = folder / f"{'a' * 22}.mp4"

    def withdrawn_while_nothing_can_be_deleted() -> bool:
        film.unlink()
        film.mkdir()  # which can't be unlinked
        return False

    pieces = [Piece(chunk, 0, 4)]
    assert not await store.keep(kept, pieces, withdrawn_while_nothing_can_be_deleted)
    assert store.all() == [kept]
    film.rmdir()
    await store.delete(store.all())
    assert (files(folder), store.all()) == ({}, [])


async def test_a_budget(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit is not kept, and nothing goes for it."""
    chunk = tmp_path / "chunk"
    chunk.write_bytes(b"0123456789")
    pieces = [Piece(chunk, 0, 4), Piece(chunk, 6, 2)]
    first, second, third = (recording(letter * 22, time.time()) for letter in "abc")
    store = Recordings(folder, days=1, max_bytes=11)
    assert await store.keep(first, pieces, always)
    assert not await store.keep(second, pieces, always)
    assert "not recorded: recordings fill" in caplog.text
    assert "recordings_mb" in caplog.text
    assert store.all() == [first]
    assert files(folder).keys() == {f"{'a' * 22}.json", f"{'a' * 22}.mp4"}
    again = Recordings(folder, days=1, max_bytes=11)
    await asyncio.to_thread(again.load)
    assert not await again.keep(second, pieces, always), "what was there counts"
    await again.delete([first])
    at_once = [again.keep(each, pieces, always) for each in (second, third)]
    assert sorted(await asyncio.gather(*at_once)) == [False, True], "what is being written counts"
    await again.delete(again.all())
    assert await again.keep(third, pieces, always)
