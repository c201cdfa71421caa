"""Files at random, most of them broken or built to do harm, against a server of its own.

`scripts/fuzz media` sends many of them; `test_fuzz_media.py` the same few each time.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from fakes import make_avatar, tone, wav
from fuzz import _CODES
from mutations import Mutated, mutated
from servers import ProcessServer, start_process

from musetalk_stream.avatar import shipped_avatars
from musetalk_stream.config import EncoderConfig
from musetalk_stream.prepare import prepare_store

# More than any answer takes; on a machine that does nothing else most take milliseconds.
ANSWERED_WITHIN_S = 10.0
# What the server may grow by, whatever is sent to it: sound that is spoken, and uploads.
MOST_GROWTH_BYTES = 200 << 20
_NEW_SESSION_EVERY = 50
_PAUSE_S = 0.15  # of a sound that arrives, longer than those are waited for that come at once


@dataclass
class MediaFuzz:
    """A run against a server. What was wrong is in `mistakes`.

    within_s  the most that any answer may take
    """

    client: httpx.Client
    server: ProcessServer
    within_s: float = ANSWERED_WITHIN_S
    codes: Counter[str] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    most_bytes: int = 0
    _session_id: str = ""
    _sounds: int = 0

    def send(self, file: Mutated) -> None:
        began_s = time.monotonic()
        try:
            answer = self._sound(file) if file.is_sound else self._avatar(file)
        except httpx.TransportError as exc:
            self.mistakes.append(f"{file.what}: {exc!r}")
            return
        took_s = time.monotonic() - began_s
        self.slowest = max(self.slowest, (took_s, file.what))
        self.most_bytes = max(self.most_bytes, self.server.resident_bytes())
        code = "202" if answer.status_code == 202 else str(answer.json().get("code"))
        self.codes[f"{answer.status_code} {code}" if code != "202" else code] += 1
        right = answer.status_code == 202 or (
            400 <= answer.status_code < 500 and code in _CODES and answer.json()["detail"]
        )
        if not right:
            self.mistakes.append(f"{file.what}: {answer.status_code} {answer.text[:300]}")
        if took_s > self.within_s:
            self.mistakes.append(f"{file.what}: answered after {took_s:.1f} s")

    def _sound(self, file: Mutated) -> httpx.Response:
        """Whole, or as it arrives, by turns."""
        if self._sounds % _NEW_SESSION_EVERY == 0:
            if self._session_id:
                self.client.delete(f"/sessions/{self._session_id}")
            session = self.client.post("/sessions/create", json={"on_busy": "replace"})
            self._session_id = session.raise_for_status().json()["session_id"]
        self._sounds += 1
        path = f"/sessions/{self._session_id}"
        if self._sounds % 2:
            return self.client.post(f"{path}/stream", files={"audio_file": ("a", file.data)})

        def pieces() -> Iterator[bytes]:
            yield file.data[: len(file.data) // 2]
            time.sleep(_PAUSE_S)
            yield file.data[len(file.data) // 2 :]

        headers = {"Content-Type": "application/octet-stream"}
        return self.client.post(f"{path}/audio", content=pieces(), headers=headers)

    def _avatar(self, file: Mutated) -> httpx.Response:
        """What is taken is not made: that takes seconds each."""
        answer = self.client.post("/avatars", files={"file": ("a", file.data)})
        if answer.status_code == 202:
            self.client.delete(f"/jobs/{answer.json()['job_id']}")
        return answer

    def still_speaks(self) -> bool:
        session = self.client.post("/sessions/create", json={}).raise_for_status().json()
        path = f"/sessions/{session['session_id']}"
        said = self.client.post(f"{path}/stream", files={"audio_file": wav(tone(0.3))})
        request_id = said.raise_for_status().json()["request_id"]
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s:
            told = self.client.get(f"{path}/utterances/{request_id}").json()
            if told["status"] in {"complete", "done", "finished", "spoken"} or told.get("chunks"):
                return True
            time.sleep(0.05)
        return False


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(int(each) for each in task.read_text().split())
    return found.union(*(descendants(each) for each in found))


def left_over(server: ProcessServer, within_s: float = 20) -> int:
    """Processes besides the fork server and the two that wait, once there was time to end."""
    until_s = time.monotonic() + within_s
    while (count := len(descendants(server.process.pid)) - 3) and time.monotonic() < until_s:
        time.sleep(0.05)
    return count


@contextmanager
def fuzzed_server(folder: Path, store: Path) -> Iterator[tuple[ProcessServer, httpx.Client]]:
    flags = ("--avatar", "tiny", "--capacity-fps", "100000", "--rate-per-address", "0")
    with (
        start_process(folder, store, *flags) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield server, client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--avatars", type=float, default=0.5, help="share of them (0 to 1)")
    args = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "avatars"
        store.mkdir()
        make_avatar(store, "tiny")
        prepare_store(store, shipped_avatars(), EncoderConfig())
        with fuzzed_server(Path(folder), store) as (server, client):
            fuzz = MediaFuzz(client, server)
            assert fuzz.still_speaks()
            at_first = server.resident_bytes()
            files = list(mutated(args.seed, args.count, args.avatars))
            _in_two(fuzz, files)
            speaks, left = fuzz.still_speaks(), left_over(server)
            grown = fuzz.most_bytes - at_first
            at_last = server.resident_bytes() - at_first
        traces = server.log.count("Traceback")
    say = sys.stdout.write
    say(f"{args.count} files of seed {args.seed} in {time.monotonic() - began_s:.0f} s\n")
    say("".join(f"  {count:5} {code}\n" for code, count in fuzz.codes.most_common()))
    say(f"slowest answer {fuzz.slowest[0]:.1f} s: {fuzz.slowest[1]}\n")
    say(f"server grew by {grown >> 20} MB at most, {at_last >> 20} MB at the end; ")
    say(f"{left} processes left; speaks: {speaks}; tracebacks: {traces}\n")
    for mistake in fuzz.mistakes[:30]:
        say(f"WRONG {mistake}\n")
    if fuzz.mistakes or traces or left or not speaks or grown > MOST_GROWTH_BYTES:
        raise SystemExit(f"{len(fuzz.mistakes)} wrong answers, {traces} tracebacks")


def _in_two(fuzz: MediaFuzz, files: list[Mutated]) -> None:
    """Sounds beside pictures: they do not wait for each other."""
    sounds = [file for file in files if file.is_sound]
    pictures = [file for file in files if not file.is_sound]

    def send(some: list[Mutated]) -> None:
        for number, file in enumerate(some):
            fuzz.send(file)
            if number % 100 == 99:
                sys.stderr.write(f"{number + 1} of {len(some)}\n")

    other = threading.Thread(target=send, args=[pictures])
    other.start()
    send(sounds)
    other.join()


if __name__ == "__main__":
    main()
