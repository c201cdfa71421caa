"""Foreign eyes on our media: FFmpeg's programs and libraries, and npm mp4box."""

import io
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

NODE = Path(__file__).parent / "node"

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="ffmpeg and ffprobe are not installed (apt-get install ffmpeg)",
)
needs_mp4box = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules/mp4box").is_dir(),
    reason="npm mp4box is not installed (npm ci in tests/node)",
)


def complaints(path: Path) -> list[str]:
    """What FFmpeg has to say about a file while it decodes all of it. That a concatenation repeats
    its moov is as it should be."""
    run = subprocess.run(
        ["ffmpeg", "-v", "repeat+warning", "-i", str(path), "-f", "null", "-"],
        capture_output=True,
        text=True,
    )
    return [line for line in run.stderr.splitlines() if "duplicated MOOV" not in line]


def probe(path: Path, *what: str) -> Any:
    """`ffprobe -show_…` as JSON."""
    run = subprocess.run(
        ["ffprobe", "-v", "error", *what, "-of", "json", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def num_packets(path: Path, stream: str) -> int:
    found = probe(path, "-count_packets", "-select_streams", stream, "-show_streams")["streams"]
    return int(found[0]["nb_read_packets"])


def decoded_luma(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """The luma of all frames, `[n, size, size]`."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough",
         "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    frames = np.frombuffer(raw, np.uint8).reshape(-1, size * 3 // 2, size)
    return frames[:, :size]


def decoded_sound(path: Path) -> npt.NDArray[np.float32]:
    """All sound at 48 kHz."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a", "-f", "f32le", "-ac", "1",
         "-ar", "48000", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    return np.frombuffer(raw, np.float32)


def mp4box(*paths: Path) -> list[dict[str, Any]]:
    """What mp4box reads in each file; see node/inspect-mp4.mjs."""
    run = subprocess.run(
        ["node", str(NODE / "inspect-mp4.mjs"), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    document: list[dict[str, Any]] = json.loads(run.stdout)
    return document


def write_all(folder: Path, chunks: Sequence[bytes]) -> tuple[list[Path], Path]:
    """Each chunk as a file, and all of them in one."""
    paths = [folder / f"chunk_{index:04d}.mp4" for index in range(len(chunks))]
    for path, chunk in zip(paths, chunks, strict=True):
        path.write_bytes(chunk)
    whole = folder / "all.mp4"
    whole.write_bytes(b"".join(chunks))
    return paths, whole


def decoded(chunks: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The recording that chunks are together: I420 frames `[N, H*3/2, W]`, and what is heard."""
    frames, heard = [], []
    with av.open(io.BytesIO(b"".join(chunks)), "r") as container:
        for frame in container.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                frames.append(frame.to_ndarray(format="yuv420p"))
            elif isinstance(frame, av.AudioFrame):
                heard.append(frame.to_ndarray()[0])
    return np.stack(frames), np.concatenate(heard)
