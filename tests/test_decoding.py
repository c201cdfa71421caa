"""Files are decoded in processes that can die alone: the same sound, and nothing else of them."""

import io
import os
import re
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fakes import CONTAINERS, WAV_FORMATS, silence, sound_file, speech_like, tone, wav
from servers import start_process

from musetalk_stream.audio import decode
from musetalk_stream.decoding import DecodeProcesses, FileDecoding
from musetalk_stream.errors import (
    AudioTooLong,
    DamagedAudio,
    EmptyAudio,
    MuseTalkStreamError,
    NotReady,
    UnsupportedAudio,
    UtteranceEnded,
)
from musetalk_stream.sound import Sound

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")


def heard(file: bytes, its: FileDecoding, *, max_duration_s: float = 600) -> Sound:
    return decode(io.BytesIO(file), max_duration_s=max_duration_s, pieces_of=its.whole)


def bytes_of(sound: Sound) -> bytes:
    return sound.heard(0, sound.num_ear).tobytes() + sound.listened(0, sound.num_model).tobytes()


def children(pid: int | None) -> list[int]:
    """In the order in which they were begun."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(int(each) for each in task.read_text().split())
    return sorted(found)


def family(pid: int) -> set[int]:
    return {pid}.union(*(family(child) for child in children(pid)))


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(is_so: Callable[[], bool], within_s: float = 10) -> None:
    until_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until_s, "it never was so"
        time.sleep(0.005)


def until_two_wait(processes: DecodeProcesses) -> list[int]:
    """Not one that waits and one that ends: those two soon change."""
    looks: list[list[int]] = []

    def are_the_same_two() -> bool:
        looks.append(children(processes.pid))
        latest = looks[-10:]
        return len(latest) == 10 and len(latest[0]) == 2 and all(e == latest[0] for e in latest)

    eventually(are_the_same_two)
    return looks[-1]


class Arriving:
    """The first half of a file; then nothing comes until it is refused."""

    def __init__(self, file: bytes) -> None:
        self._file = io.BytesIO(file[: len(file) // 2])
        self.is_waited_for = threading.Event()
        self.goes_on = threading.Event()

    def read(self, size: int, /) -> bytes:
        if data := self._file.read(size):
            return data
        self.is_waited_for.set()
        assert self.goes_on.wait(10)
        raise UtteranceEnded("nobody wants it")

    def read_at(self, place: int, size: int) -> bytes:
        return self._file.getvalue()[place : place + size]


@pytest.fixture(scope="module")
def own() -> Iterator[DecodeProcesses]:
    """Those that are allowed little."""
    with DecodeProcesses(memory_mb=64, cpu_s=1).running() as processes:
        processes.wait_until_ready()
        yield processes


# --- the same sound


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_the_same_through_a_process(
    container: str, decoding: DecodeProcesses
) -> None:
    file = sound_file(speech_like(2.0), container)
    assert bytes_of(heard(file, decoding.file())) == bytes_of(
        decode(io.BytesIO(file), max_duration_s=600)
    )


@pytest.mark.parametrize("fmt", WAV_FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_wav_file_is_the_same(fmt: str, channels: int, decoding: DecodeProcesses) -> None:
    """Whether it is read here or by FFmpeg."""
    file = wav(speech_like(0.5, 22_050), 22_050, fmt=fmt, channels=channels)
    assert bytes_of(heard(file, decoding.file())) == bytes_of(
        decode(io.BytesIO(file), max_duration_s=600)
    )


@pytest.mark.parametrize("data_size", [0, 1000, 10**6, 0xFFFFFFFF])
def test_a_wav_file_that_says_too_much_is_the_same(
    data_size: int, decoding: DecodeProcesses
) -> None:
    file = wav(speech_like(0.5), data_size=data_size)
    assert bytes_of(heard(file, decoding.file())) == bytes_of(
        decode(io.BytesIO(file), max_duration_s=600)
    )


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (b"no sound at all" * 20, UnsupportedAudio),
        (sound_file(speech_like(2.0), "flac")[:20_000], DamagedAudio),
        (sound_file(silence(0), "flac"), EmptyAudio),
        (sound_file(tone(2.0), "mp3"), AudioTooLong),
    ],
    ids=["text", "cut flac", "empty", "long"],
)
def test_errors_are_the_same(
    file: bytes, kind: type[MuseTalkStreamError], decoding: DecodeProcesses
) -> None:
    with pytest.raises(kind) as here:
        decode(io.BytesIO(file), max_duration_s=1.5 if kind is AudioTooLong else 60)
    with pytest.raises(kind) as there:
        heard(file, decoding.file(), max_duration_s=1.5 if kind is AudioTooLong else 60)
    assert here.value.detail == there.value.detail


def test_codecs_that_nobody_sends_are_refused(decoding: DecodeProcesses) -> None:
    file = bytearray(wav(tone(0.5), fmt="u8"))
    file[20:22] = (0x0111).to_bytes(2, "little")  # IMA ADPCM, taken; and one of a game
    with pytest.raises((DamagedAudio, UnsupportedAudio, EmptyAudio)):
        heard(bytes(file), decoding.file())
    file[20:22] = (0x0020).to_bytes(2, "little")  # Yamaha ADPCM
    with pytest.raises(UnsupportedAudio, match=r"adpcm_yamaha.*send wav"):
        heard(bytes(file), decoding.file())


# --- what a process may do


def test_a_process_can_open_write_and_start_nothing(decoding: DecodeProcesses) -> None:
    pid = until_two_wait(decoding)[0]
    eventually(lambda: os.getpgid(pid) == pid)
    eventually(lambda: re.search(r"Max open files +0 +0", limits(pid)) is not None)
    told = limits(pid)
    for limit in ("processes", "file size", "core file size"):
        assert re.search(rf"Max {limit} +0 +0", told), told
    assert re.search(r"Max cpu time +60 +61", told), told
    most = re.search(r"Max address space +(\d+)", told)
    assert most is not None
    assert int(most[1]) < 2 << 30
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n", "rather than the server"
    if os.geteuid() == 0:  # nobody else may look at one that can't be dumped
        held = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
        assert sum(each.startswith("socket:") for each in held) == 1
        assert {each for each in held if not each.startswith("socket:")} == {"/dev/null"}


def limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


# --- how a process dies


def one_block(size: int) -> bytes:
    """So many bytes of 16-bit silence as Matroska, all of them in one block."""

    def element(name: str, content: bytes) -> bytes:
        return bytes.fromhex(name) + (1 << 56 | len(content)).to_bytes(8) + content

    sound = (
        element("b5", struct.pack(">d", 48_000)) + element("9f", b"\1") + element("6264", b"\x10")
    )
    track = element("d7", b"\1") + element("73c5", b"\1") + element("83", b"\2")
    track += element("86", b"A_PCM/INT/LIT") + element("e1", sound)
    cluster = element("e7", b"\0") + element("a3", b"\x81\0\0\x80" + bytes(size))
    inner = element("1549a966", element("2ad7b1", (10**6).to_bytes(3)))
    inner += element("1654ae6b", element("ae", track)) + element("1f43b675", cluster)
    return element("1a45dfa3", element("4282", b"matroska")) + element("18538067", inner)


def test_too_much_memory(own: DecodeProcesses) -> None:
    """A block that is larger, with what becomes of it, than all that there is for a file."""
    with pytest.raises(DamagedAudio, match="memory"):
        heard(one_block(12 << 20), own.file())
    assert heard(one_block(1 << 20), own.file()).num_ear == 1 << 19


def test_too_much_computing(own: DecodeProcesses) -> None:
    """An hour of sound in 14 MB takes longer than that."""
    file = wav(silence(3600, 4000), 4000, fmt="u8")
    with pytest.raises(DamagedAudio, match="more than 1 s of computing"):
        heard(file, own.file(), max_duration_s=4000)


def test_silence_of_a_decoder_is_not_waited_for() -> None:
    with DecodeProcesses(memory_mb=64, cpu_s=1, stall_s=0.3).running() as processes:
        pid = until_two_wait(processes)[0]
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DamagedAudio, match="stood still"):
            heard(sound_file(tone(1.0), "mp3"), processes.file())
        eventually(lambda: not is_alive(pid))


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "memory")]
)
def test_a_decoder_that_crashes_is_that_files_fault(
    number: signal.Signals, words: str, own: DecodeProcesses
) -> None:
    file, its = Arriving(sound_file(speech_like(4.0), "mp3")), own.file()
    with closing(its.arriving(file, max_duration_s=60)) as pieces:
        assert len(next(pieces)[0])
        for pid in children(own.pid):  # those that wait, too
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        file.goes_on.set()
        with pytest.raises(DamagedAudio, match=words):
            for _ in pieces:
                pass
    assert heard(sound_file(tone(1.0), "mp3"), own.file()).num_ear


def test_who_is_stopped_is_told_at_once(decoding: DecodeProcesses) -> None:
    before = set(until_two_wait(decoding))
    its = decoding.file()
    file = wav(silence(3600, 4000), 4000, fmt="u8")  # seconds of work
    threading.Timer(0.2, its.stop, [UtteranceEnded("interrupted")]).start()
    with pytest.raises(UtteranceEnded, match="interrupted"):
        heard(file, its, max_duration_s=4000)
    eventually(lambda: sum(is_alive(each) for each in before) == 1)
    assert len(until_two_wait(decoding)) == 2


def test_one_that_was_stopped_before_it_began(decoding: DecodeProcesses) -> None:
    its = decoding.file()
    its.stop(UtteranceEnded("interrupted"))
    with pytest.raises(UtteranceEnded):
        heard(sound_file(tone(1.0), "mp3"), its)


def test_no_process_outlives_its_file(decoding: DecodeProcesses) -> None:
    before = set(until_two_wait(decoding))
    file = Arriving(sound_file(tone(1.0), "mp3"))
    with closing(decoding.file().arriving(file, max_duration_s=60)) as pieces:
        next(pieces)
        assert len(children(decoding.pid)) >= 2
    for _ in before:
        heard(sound_file(tone(0.1), "flac"), decoding.file())
    eventually(lambda: not any(is_alive(each) for each in before))
    until_two_wait(decoding)


# --- how all of them die


def test_a_fork_server_that_died_is_started_again(
    own: DecodeProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    old, was = own.pid, set(until_two_wait(own))
    file = Arriving(sound_file(speech_like(4.0), "mp3"))
    with closing(own.file().arriving(file, max_duration_s=60)) as pieces:
        next(pieces)
        assert old is not None
        os.kill(old, signal.SIGKILL)
        eventually(lambda: not any(is_alive(each) for each in was))
        file.goes_on.set()
        with pytest.raises((NotReady, UtteranceEnded)):
            for _ in pieces:
                pass
    assert heard(sound_file(tone(1.0), "mp3"), own.file()).num_ear, "it waits for the new one"
    assert own.pid not in (old, None)
    assert "started again" in caplog.text


def test_who_is_stopped_is_told_though_no_process_ends(own: DecodeProcesses) -> None:
    halted = [own.pid or 0, *until_two_wait(own)]
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        its = own.file()
        threading.Timer(0.2, its.stop, [UtteranceEnded("interrupted")]).start()
        with pytest.raises(UtteranceEnded, match="interrupted"):
            heard(sound_file(tone(1.0), "mp3"), its)
    finally:
        # The fork server last: it ends one of the others, whose number is then nobody's.
        for pid in reversed(halted):
            os.kill(pid, signal.SIGCONT)


def test_nothing_is_left_at_the_end() -> None:
    with DecodeProcesses(memory_mb=64, cpu_s=1).running() as processes:
        processes.wait_until_ready()
        assert processes.pid is not None
        all_of_them = family(processes.pid) | set(until_two_wait(processes))
    assert not any(is_alive(each) for each in all_of_them)
    assert processes.lost
    with pytest.raises(NotReady):
        heard(sound_file(tone(1.0), "mp3"), processes.file())


def test_nothing_is_left_of_a_server_that_was_killed(own_store: Path, tmp_path: Path) -> None:
    flags = ("--avatar", "tiny", "--capacity-fps", "100000")
    with start_process(tmp_path, own_store, *flags) as server:
        eventually(lambda: len(family(server.process.pid)) >= 4)  # it, the fork server, two more
        all_of_them = family(server.process.pid)
        server.process.kill()
        server.process.wait()
        eventually(lambda: not any(is_alive(each) for each in all_of_them))
