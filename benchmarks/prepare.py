"""From a 720p video to an avatar: seconds, disk, reopening, memory; and do speakers notice?

The video is the public-domain portrait of scikit-image, moved and turned a little as heads are. It
is prepared on an idle machine first, then by a server through which sessions speak.
"""

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import skimage.data

from musetalk_stream.avatar import open_avatar

from .server import RATE, babble, running_server, wav
from .sessions import report, watch

_SIZE = (1280, 720)
_RATE = 25


def film(path: Path, seconds: float) -> None:
    """A head that moves by 3 % of the width and turns by 5 degrees, in H.264."""
    portrait = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    scale = _SIZE[1] / portrait.shape[0]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=_RATE, options={"preset": "veryfast"})
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * _RATE)):
            phase = 2 * math.pi * number / (4 * _RATE)
            turn = cv2.getRotationMatrix2D((256, 256), 5 * math.sin(phase), scale)
            turn[:, 2] += (_SIZE[0] / 2 - 256 + 40 * math.cos(phase), _SIZE[1] / 2 - 256)
            picture = cv2.warpAffine(portrait, turn, _SIZE, borderMode=cv2.BORDER_REPLICATE)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode(None))


def prepare(video: Path, store: Path) -> None:
    command = [sys.executable, "-m", "musetalk_stream", "prepare", str(video), "--id", "filmed"]
    began = time.perf_counter()
    subprocess.run([*command, "--avatars-dir", str(store)], check=True)
    print(f"prepared in {time.perf_counter() - began:.1f} s by the command, its start included")


def weigh(folder: Path) -> None:
    began = time.perf_counter()
    avatar = open_avatar(folder)
    opened_ms = (time.perf_counter() - began) * 1e3
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    manifest = avatar.manifest
    found = int(np.isfinite(avatar.landmarks).all(axis=(1, 2)).sum())
    print(
        f"{manifest.width}x{manifest.height}, {manifest.num_frames} pictures at {manifest.fps}, "
        f"a face in {found}; reopened in {opened_ms:.1f} ms; "
        f"on disk {num_bytes / 1e6:.0f} MB, {num_bytes / avatar.frames.nbytes:.2f} times the planes"
    )


async def speak_meanwhile(video: Path, store: Path, sessions: int, seconds: float) -> None:
    """Prepare through the server while sessions speak, and weigh what more sessions cost."""
    with running_server("--avatars-dir", str(store)) as server:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            await watch(client, _RATE, 2, 0)
            speaking = [
                asyncio.create_task(watch(client, _RATE, seconds, k)) for k in range(sessions)
            ]
            await asyncio.sleep(2)
            job = await job_of(client, video)
            viewers = await asyncio.gather(*speaking)
            while job["state"] not in ("done", "failed", "cancelled"):
                await asyncio.sleep(0.5)
                job = (await client.get(f"/jobs/{job['job_id']}")).json()
            print(f"job {job['state']}; {sessions} sessions spoke {seconds:g} s meanwhile")
            report(viewers)
            before = server.resident_bytes()
            more = [await client.post("/sessions/create?avatar_id=meanwhile") for _ in range(8)]
            sound = wav(babble(3, 1)[::3], RATE // 3)
            for answer in more:
                url = answer.raise_for_status().json()["stream_url"]
                (await client.post(url, files={"audio_file": sound})).raise_for_status()
            await asyncio.sleep(6)
            grown = (server.resident_bytes() - before) / len(more)
            print(f"resident memory per further session of the same avatar: {grown / 1e6:.1f} MB")


async def job_of(client: httpx.AsyncClient, video: Path) -> dict[str, str]:
    with video.open("rb") as file:
        fields = {"avatar_id": "meanwhile"}
        answer = await client.post("/avatars", data=fields, files={"file": file})
    job: dict[str, str] = answer.raise_for_status().json()
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video-seconds", type=float, default=10)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60, help="of speech in each session")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video, store = Path(folder) / "film.mp4", Path(folder) / "avatars"
        film(video, args.video_seconds)
        prepare(video, store)
        weigh(store / "filmed")
        asyncio.run(speak_meanwhile(video, store, args.sessions, args.seconds))


if __name__ == "__main__":
    main()
