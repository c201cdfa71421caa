"""The server as a process: start, stop, `--check`, `doctor`."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes import make_avatar_folder, tone, wav
from servers import Command, start_process

from musetalk_stream import __version__
from musetalk_stream.config import settings


@pytest.mark.alone
async def test_it_stops_in_the_middle_of_everything(tmp_path: Path, avatar_store: Path) -> None:
    """Open event streams, a running utterance of which nobody fetches a chunk, an upload on its
    way: each is left the time that it is promised, and no more."""
    flags = ("--capacity-fps", "100000", "--drain-s", "1", "--forget-on-stop")
    with start_process(tmp_path, avatar_store, *flags) as process:
        async with process.client() as server:
            ids = [await server.create() for _ in range(3)]
            async with server.events(ids[0]) as first, server.events(ids[1]) as second:
                await first.next()
                await second.next()
                await server.upload(ids[0], wav(tone(60.0)))
                await first.until("chunk")

                async def endless() -> AsyncIterator[bytes]:
                    yield b'--X\r\nContent-Disposition: form-data; name="audio_file"\r\n\r\n'
                    while True:
                        await asyncio.sleep(0.05)
                        yield b"\0" * 1000

                headers = {"Content-Type": "multipart/form-data; boundary=X"}
                upload = asyncio.create_task(
                    server.client.post(f"/sessions/{ids[2]}/stream", content=endless(),
                                       headers=headers)
                )  # fmt: skip
                await server.until_state(ids[2], "receiving")
                stopping = asyncio.create_task(asyncio.to_thread(process.stop))
                for events in (first, second):
                    rest = await events.rest()
                    assert rest[-1] == {"event": "closed", "reason": "shutdown"}
                status, took_s = await stopping
                upload.cancel()
        assert status == 0
        assert took_s < 1 + 10, "docs/operations.md, Stopping"
        assert list((tmp_path / "chunks").iterdir()) == []
        assert "Traceback" not in process.log, process.log


@pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="started by nohup, servers go on"
)
def test_a_terminal_that_is_closed(tmp_path: Path, avatar_store: Path) -> None:
    """It says so, and the shell does, too: all ends in good order."""
    with start_process(tmp_path, avatar_store, "--capacity-fps", "100000") as process:
        for _ in range(2):
            process.process.send_signal(signal.SIGHUP)
        assert process.process.wait(timeout=20) == 0
        assert process.log.count("stopping") == 1


async def test_a_second_signal_does_not_wait(tmp_path: Path, avatar_store: Path) -> None:
    """For a request that hangs, here; a slow device would take longer."""
    with start_process(tmp_path, avatar_store) as process:
        async with process.client() as server:
            session_id = await server.create()

            async def stalled() -> AsyncIterator[bytes]:
                yield b'--X\r\nContent-Disposition: form-data; name="audio_file"\r\n\r\n'
                yield bytes(9000)
                await asyncio.sleep(60)

            headers = {"Content-Type": "multipart/form-data; boundary=X"}
            address = f"/sessions/{session_id}/stream"
            upload = asyncio.create_task(
                server.client.post(address, content=stalled(), headers=headers)
            )
            await server.until_state(session_id, "receiving")
            process.process.send_signal(signal.SIGTERM)

            async def is_told() -> bool:
                return "once more to stop at once" in process.log

            await server.until(is_told)
            process.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(process.process.wait, 10)
            upload.cancel()
    assert status == 128 + signal.SIGTERM


@pytest.mark.alone
def test_it_stops_while_it_prepares(tmp_path: Path) -> None:
    store = tmp_path / "store"
    make_avatar_folder(store, "tiny")
    with subprocess.Popen(
        [sys.executable, "-m", "musetalk_stream", "serve", "--port", "0", "--avatar", "tiny",
         "--avatars-dir", str(store), "--chunks-dir", str(tmp_path / "chunks"),
         "--state-dir", str(tmp_path / "state")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "installed avatar" in line or "preparing" in line:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=10)
    assert time.monotonic() - began < 5
    assert process.returncode == 0
    assert "Traceback" not in log


def test_a_taken_port_is_explained(command: Command, tmp_path: Path, avatar_store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = command("serve", "--port", port, "--avatars-dir", str(avatar_store),
                         "--chunks-dir", str(tmp_path),
                         "--state-dir", str(tmp_path / "state"))  # fmt: skip
    assert result.returncode == 1
    assert f"can't listen on http://127.0.0.1:{port}: it is taken; try --port 0" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--avatar", "nobody"), "there is no avatar 'nobody'"),
        (("--avatars-dir", "/proc/nothing"), "--avatars-dir"),
        (("--chunks-dir", "/proc/nothing"), "--chunks-dir"),
        (("--fps", "25"), "there is no --fps"),
        (("--crf", "99"), "crf is 99"),
        (("--avatar-aliases", "x"), "NAME=ID"),
    ],
)
def test_a_wrong_setting_is_explained(
    command: Command, arguments: tuple[str, ...], words: str, tmp_path: Path, avatar_store: Path
) -> None:
    usual = (
        "--port",
        "0",
        "--avatars-dir",
        str(avatar_store),
        "--chunks-dir",
        str(tmp_path),
        "--state-dir",
        str(tmp_path / "state"),
    )
    result = command("serve", *usual, *arguments)
    assert result.returncode in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_check_prints_what_is_in_force(command: Command) -> None:
    result = command("serve", "--check", "--max-sessions", "3", MUSETALK_STREAM_CRF="30")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert "session.max_sessions = 3  (set)" in lines
    assert "encoder.crf = 30.0  (set)" in lines
    assert "http.port = 8000" in lines
    assert len(lines) == len(list(settings()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--avatar", "nobody"), "avatar nobody: choose one of"),
        (("--avatar-aliases", "a=nobody"), "avatar nobody: choose one of"),
        (("--chunks-dir", "/proc/nowhere"), "chunks folder /proc/nowhere"),
        (("--host", "0.0.0.0", "--state-dir", "/proc/nowhere"), "keys add"),
    ],
)
def test_check_finds_what_would_stop_the_server(
    command: Command, arguments: tuple[str, ...], words: str
) -> None:
    result = command("serve", "--check", *arguments)
    assert result.returncode == 1
    assert words in result.stderr


def test_an_unknown_variable_is_refused(command: Command) -> None:
    result = command("serve", "--check", MUSETALK_STREAM_MAX_SESSION="3")
    assert result.returncode == 1
    assert "MUSETALK_STREAM_MAX_SESSION" in result.stderr


def test_help_names_every_setting(command: Command) -> None:
    text = command("serve", "--help").stdout
    for _, spec in settings():
        assert "--" + spec.name.replace("_", "-") in text


def test_version(command: Command) -> None:
    assert command("--version").stdout.strip() == __version__


def test_doctor(command: Command, tmp_path: Path, avatar_store: Path) -> None:
    result = command("doctor", "--chunks-dir", str(tmp_path), "--avatars-dir", str(avatar_store))
    assert result.returncode == 0, result.stdout
    for words in ("Python 3.", "aiohttp", "encoder libx264", "encoder aac", "demo", "GB free"):
        assert words in result.stdout
    assert list(tmp_path.iterdir()) == [], "it looks and changes nothing"


def test_doctor_finds_what_is_wrong(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = command("doctor", "--chunks-dir", str(tmp_path / "file" / "chunks"))
    assert result.returncode == 1
    assert "MISSING" in result.stdout
    assert "--chunks-dir" in result.stdout


def test_doctor_speaks_without_numpy(tmp_path: Path) -> None:
    """A broken installation is what it is for."""
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy here')")
    result = subprocess.run(
        [sys.executable, "-m", "musetalk_stream", "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert result.returncode == 1
    assert "numpy: no numpy here" in result.stdout
    assert "Traceback" not in result.stderr
