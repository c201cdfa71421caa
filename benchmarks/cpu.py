"""Server CPU per second of output, as a multiple of plain ffmpeg encoding the very same frames.

The server speaks one utterance; then the same frames are rendered to a file of raw pictures, and
the ffmpeg binary encodes that file by the same x264 and AAC settings, on one thread. In turns.
"""

import argparse
import asyncio
import os
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from musetalk_stream.avatar import Avatar, open_avatar, shipped_avatars
from musetalk_stream.blend import Picture, compose, i420_planes
from musetalk_stream.config import EncoderConfig, StorageConfig
from musetalk_stream.prepare import prepare_store
from musetalk_stream.renderers import FrameRequest
from musetalk_stream.renderers.builtin import BuiltinRenderer
from musetalk_stream.sound import Sound

from .server import RATE, Server, babble, create, events, running_server, speak, wav

FPS = 25


async def server_cpu_s(server: Server, sound: bytes) -> float:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        session_id = await create(client, fps=FPS)
        before = 0.0
        async for announced in events(client, session_id):
            match announced.event["event"]:
                case "state":
                    before = server.cpu_s()
                    await speak(client, session_id, sound)
                case "chunk":
                    (await client.get(announced.event["url"])).raise_for_status()
                case "complete":
                    break
        return server.cpu_s() - before


def write_frames(path: Path, avatar: Avatar, samples: npt.NDArray[np.floating[Any]]) -> None:
    sound = Sound.whole(samples.astype(np.float32), samples[::3].astype(np.float32))
    renderer = BuiltinRenderer()
    picture = np.empty_like(avatar.frames[0])
    planes: Picture = i420_planes(picture)
    with path.open("wb") as out:
        for k in range(len(samples) * FPS // RATE):
            window = renderer.audio_windows(sound, Fraction(FPS), k, 1)[0]
            index = avatar.picture(k)
            (mouth,) = renderer.submit([FrameRequest(avatar, index, window)]).mouths()
            region = mouth.on(index) if mouth else None
            compose(planes, i420_planes(avatar.frames[index]), region)
            out.write(picture.data)


def ffmpeg_cpu_s(frames: Path, sound: Path, avatar: Avatar, settings: EncoderConfig) -> float:
    size = f"{avatar.manifest.width}x{avatar.manifest.height}"
    video = f"-f rawvideo -pix_fmt yuv420p -s {size} -r {FPS} -i {frames} -i {sound}"
    x264 = "keyint=48:scenecut=0:threads=1:sliced-threads=0:ipratio=2.8"
    coding = f"-c:v libx264 -preset {settings.preset} -crf {settings.crf} -tune zerolatency"
    audio = f"-c:a aac -aac_coder fast -b:a {settings.audio_kbps}k"
    command = f"ffmpeg -v error -y -threads 1 {video} {coding} -x264-params {x264} {audio}"
    process = subprocess.Popen([*command.split(), "-f", "mp4", os.devnull])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("ffmpeg failed; see above")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    settings = EncoderConfig()
    folder = prepare_store(StorageConfig().avatars_dir, shipped_avatars(), settings)["demo"]
    avatar, samples = open_avatar(folder), babble(args.seconds)
    ratios = []
    with tempfile.TemporaryDirectory() as work, running_server("--max-lead-s", "3600") as server:
        frames, sound = Path(work) / "frames", Path(work) / "sound.wav"
        write_frames(frames, avatar, samples)
        sound.write_bytes(wav(samples))
        asyncio.run(server_cpu_s(server, wav(babble(2))))  # the first use of anything is slower
        for _ in range(args.rounds):
            ours = asyncio.run(server_cpu_s(server, sound.read_bytes())) / args.seconds
            plain = ffmpeg_cpu_s(frames, sound, avatar, settings) / args.seconds
            ratios.append(ours / plain)
            print(
                f"server {ours * 1e3:.1f} ms, ffmpeg {plain * 1e3:.1f} ms of CPU per second of "
                f"output: {ours / plain:.2f}"
            )
    middle = sorted(ratios)[len(ratios) // 2]
    print(f"median ratio {middle:.2f}; the server decodes, renders, muxes and serves as well")


if __name__ == "__main__":
    main()
