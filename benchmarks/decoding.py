"""Compressed sound decoded in a process of its own, against the same in ours: how much later?"""

import argparse
import io
import statistics
import subprocess
import time
from collections.abc import Iterator

from musetalk_stream.config import UploadConfig
from musetalk_stream.decoding import DecodeProcesses
from musetalk_stream.listening import decoded_while_arriving

from .aims import Aims
from .server import babble, wav

MOST_LATER_MS = 10.0
CODECS = {"ogg": "libopus", "webm": "libopus", "mp3": "libmp3lame", "flac": "flac"}
_REST_S = 0.1  # for the next process to be there


class Arrived:
    """A file of which all is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._rest = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._rest.read(size)

    def read_at(self, position: int, size: int) -> bytes:
        return self._data[position : position + size]


def encoded(sound: bytes, container: str) -> bytes:
    command = ["ffmpeg", "-loglevel", "error", "-i", "-", "-c:a", CODECS[container]]
    command += ["-f", container, "-"]
    return subprocess.run(command, input=sound, capture_output=True, check=True).stdout


def timed_ms(pieces: Iterator[object]) -> tuple[float, float]:
    """Until the first, and until all of it."""
    began_s = time.perf_counter()
    next(pieces)
    first_s = time.perf_counter() - began_s
    for _ in pieces:
        pass
    time.sleep(_REST_S)
    return 1000 * first_s, 1000 * (time.perf_counter() - began_s - _REST_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    limits, aims = UploadConfig(), Aims()
    longest_s = limits.max_audio_s
    sound = wav(babble(args.seconds))
    own = DecodeProcesses(memory_mb=limits.decode_memory_mb, cpu_s=limits.decode_cpu_s)
    with own.running() as processes:
        processes.wait_until_ready()
        for container in CODECS:
            data = encoded(sound, container)
            here, there = [], []
            for _ in range(args.runs):  # by turns
                pieces = decoded_while_arriving(Arrived(data), max_duration_s=longest_s)
                here.append(timed_ms(pieces))
                pieces = processes.file().arriving(Arrived(data), max_duration_s=longest_s)
                there.append(timed_ms(pieces))
            medians = [
                statistics.median(each[which] for each in runs)
                for which in (0, 1)
                for runs in (here, there)
            ]
            text = "{:5} first: {:.0f} here, {:.0f} there; all: {:.0f} here, {:.0f} there (ms)"
            print(text.format(container, *medians))
            later_ms = medians[1] - medians[0]
            aims.at_most(f"{container}: the first of it later by", later_ms, MOST_LATER_MS, " ms")
    aims.judge()


if __name__ == "__main__":
    main()
