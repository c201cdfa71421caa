"""A real server in a process of its own, and what a client does with it."""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

RATE = 48_000


@dataclass(frozen=True)
class Server:
    url: str
    pid: int

    def cpu_s(self) -> float:
        """CPU time of the server so far, user and system, all threads (proc(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def resident_bytes(self) -> int:
        """What it alone has in memory; mapped files are in the page cache (proc(5), statm)."""
        _, resident, shared, *_ = Path(f"/proc/{self.pid}/statm").read_text().split()
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running_server(*flags: str) -> Iterator[Server]:
    """A server on a free loopback port, with a chunk store of its own; ended with the block."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "musetalk_stream", "serve", "--port", "0"]
        process = subprocess.Popen(
            [
                *command,
                "--chunks-dir",
                f"{folder}/chunks",
                "--state-dir",
                f"{folder}/state",
                "--log-level",
                "warning",
                *flags,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            ready = re.search(r"http://\S+(?=/)", process.stdout.readline())
            if ready is None:
                raise SystemExit("the server did not start; see above")
            yield Server(ready.group(), process.pid)
        finally:
            process.terminate()
            process.wait(60)  # thousands of sessions are written down


def wav(samples: npt.NDArray[np.floating[Any]], rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def tone(seconds: float, hertz: float = 441.0) -> npt.NDArray[np.float64]:
    """A sine at a quarter of full scale."""
    phase = 2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE
    return np.asarray(0.25 * np.sin(phase))


def babble(seconds: float, seed: int = 0) -> npt.NDArray[np.float64]:
    """Sound with the rhythm and the spectrum of speech: syllables of voiced harmonics."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 16))
    syllables = np.clip(np.sin(2 * np.pi * 4 * t + rng.uniform(0, 6)), 0, None) ** 0.7
    phrases = (np.sin(2 * np.pi * 0.25 * t + rng.uniform(0, 6)) > -0.8).astype(float)
    sound: npt.NDArray[np.float64] = 0.2 * np.asarray(voice) * syllables * phrases
    return sound


@dataclass
class Announced:
    event: dict[str, Any]
    at_s: float


async def create(client: httpx.AsyncClient, **options: object) -> str:
    answer = await client.post("/sessions/create", json=options)
    answer.raise_for_status()
    return str(answer.json()["session_id"])


async def events(client: httpx.AsyncClient, session_id: str) -> AsyncIterator[Announced]:
    """The events of a session as they arrive, with the instants at which they did."""
    async with client.stream("GET", f"/sessions/{session_id}/events", timeout=None) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                yield Announced(json.loads(line[5:]), time.perf_counter())


async def speak(client: httpx.AsyncClient, session_id: str, sound: bytes) -> tuple[float, float]:
    """Upload; the instants before and after."""
    before = time.perf_counter()
    answer = await client.post(f"/sessions/{session_id}/stream", files={"audio_file": sound})
    answer.raise_for_status()
    return before, time.perf_counter()


def median_ms(values_s: list[float]) -> str:
    ordered = sorted(values_s)
    middle, low, high = ordered[len(ordered) // 2], ordered[0], ordered[-1]
    return f"median {middle * 1e3:.0f} ms (least {low * 1e3:.0f}, most {high * 1e3:.0f})"
