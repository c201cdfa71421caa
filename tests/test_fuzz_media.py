"""Whatever file is sent, the answer is right and nothing else is opened: a slice of what
`scripts/fuzz media` sends."""

import io
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fuzz_media import MediaFuzz, fuzzed_server, left_over
from mutations import disguises, mutated, pictures, sound_bombs, sounds

from musetalk_stream.audio import decode
from musetalk_stream.config import Config, as_environment
from musetalk_stream.decoding import DecodeProcesses
from musetalk_stream.errors import MuseTalkStreamError

ROOT = Path(__file__).parents[1]
_OPENED = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)"')
# Those that name other files, or are large in what they say.
_OPENERS = {"m3u8", "m3u8 in id3", "concat", "concat in riff", "mkv that names others", "mpd",
            "sdp",             "flac of 2^36 samples", "mp4 of 10^9 samples"}  # fmt: skip
# Where libraries, and what they look up, are.
_SYSTEM = ("/usr/", "/lib", "/etc/", "/proc/", "/sys/", "/dev/", str(ROOT), sys.prefix,
           sys.base_prefix, "musetalk_stream")  # fmt: skip


def test_the_same_seed_makes_the_same_files() -> None:
    first, second = ([(each.what, hash(each.data)) for each in mutated(5, 8, 0)] for _ in range(2))
    assert first == second


def test_files_at_random(stocked: Path, tmp_path: Path) -> None:
    with fuzzed_server(tmp_path, stocked) as (server, client):
        fuzz = MediaFuzz(client, server, within_s=math.inf)  # which machines decide
        files = [*mutated(2, 54, 0), *mutated(2, 4, 1)]
        for file in files:
            fuzz.send(file)
        assert not fuzz.mistakes, "\n".join(fuzz.mistakes)
        assert sum(fuzz.codes.values()) == len(files)
        wanted = {"202", "415 unsupported_audio", "422 damaged_audio"}
        assert wanted <= set(fuzz.codes), "it is not what it was"
        assert fuzz.still_speaks()
        assert not left_over(server)
        assert "Traceback" not in server.log


@contextmanager
def traced(log: Path, *command: str) -> Iterator["subprocess.Popen[str]"]:
    """What a command, and all that it starts, opens and connects to."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    calls = "trace=open,openat,openat2,socket,connect,execve"
    strace = ["strace", "-f", "-qq", "-e", calls, "-o", str(log), *command]
    with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as process:
        yield process


def test_a_process_that_decodes_opens_nothing(tmp_path: Path) -> None:
    """Looked at from outside, from before it is forked."""
    log = tmp_path / "calls"
    with DecodeProcesses(memory_mb=256, cpu_s=60).running() as processes:
        processes.wait_until_ready()
        with traced(log, "-p", str(processes.pid)) as strace:
            until_s = time.monotonic() + 20
            while not (traced_by := _tracer(processes.pid)) and strace.poll() is None:
                assert time.monotonic() < until_s
                time.sleep(0.01)
            if not traced_by:
                pytest.skip("other processes may not be looked at here")
            bombs = {**disguises(), **sound_bombs()}
            built = (bombs[name]() for name in sorted(bombs) if name in _OPENERS)
            some = (each.data for each in mutated(9, 5, 0))
            for file in (*sounds().values(), *built, *some):
                with suppress(MuseTalkStreamError):
                    its = processes.file()
                    decode(io.BytesIO(file), max_duration_s=60, pieces_of=its.whole)
            strace.terminate()
            strace.wait()
    opened = set(_OPENED.findall(log.read_text()))
    before_there_is_a_file = {"/dev/null", "/proc/self/statm", "/proc/self/oom_score_adj"}
    assert opened == before_there_is_a_file
    assert not re.search(r"(socket|connect|execve)\(", log.read_text())


def _tracer(pid: int | None) -> bool:
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("name", ["m3u8", "mp4"])
def test_who_examines_a_picture_opens_only_that(name: str, tmp_path: Path) -> None:
    files = {**pictures(), **{each: disguises()[each]() for each in ("m3u8", "concat", "svg")}}
    upload, log = tmp_path / "upload", tmp_path / "calls"
    upload.write_bytes(files[name])
    python = (sys.executable, "-m", "musetalk_stream.prepare", "--examine", str(upload))
    environment = os.environ | as_environment(Config())
    environment.pop("LD_LIBRARY_PATH", None)  # cv2 sets it: the linker would look at more places
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    calls = "trace=open,openat,openat2,connect"
    run = subprocess.run(
        ["strace", "-f", "-qq", "-e", calls, "-o", str(log), *python],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        cwd=ROOT,
    )
    if b"PTRACE" in run.stderr:
        pytest.skip("processes may not be looked at here")
    assert run.stdout, run.stderr
    opened = set(_OPENED.findall(log.read_text()))
    assert str(upload) in opened
    others = {path for path in opened if not path.startswith(_SYSTEM) and path != str(upload)}
    assert not others
    assert "/etc/passwd" not in opened
    assert "connect(" not in log.read_text()
