"""From sound and a generated face to encoded video: our path against the official per-frame path.

The same faces go into the same pictures of 1280x720, in a box of 400x400, one path after the other.
The official path (musetalk/utils/blending.py, scripts/realtime_inference.py) is written anew here:
whole pictures through Pillow, a PNG for each, ffmpeg from PNGs to H.264, and ffmpeg again to add
the sound, which encodes a second time. The networks are in neither: faces and audio features are
constants. Choosing the audio windows counts on our side only.
"""

import argparse
import copy
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from musetalk_stream.avatar import open_avatar, shipped_avatars
from musetalk_stream.blend import Picture, i420_planes
from musetalk_stream.config import EncoderConfig, StorageConfig
from musetalk_stream.encode import UtteranceEncoder
from musetalk_stream.prepare import prepare_store
from musetalk_stream.renderers.musetalk.box import Box, crop_box, face_box
from musetalk_stream.renderers.musetalk.colour import bgr_of, i420_of
from musetalk_stream.renderers.musetalk.crop import face_crop, fitted
from musetalk_stream.renderers.musetalk.features import (
    LAYERS,
    SEGMENT_ROWS,
    SpeechFeatures,
)
from musetalk_stream.renderers.musetalk.features import WIDTH as WIDTH_OF_FEATURES
from musetalk_stream.renderers.musetalk.mask import paste_mask
from musetalk_stream.renderers.musetalk.parsing import face_mask, labels_from_landmarks
from musetalk_stream.renderers.musetalk.region import FaceRegion, Placement, place
from musetalk_stream.renderers.musetalk.windows import window_rows
from musetalk_stream.renderers.presence import Presence
from musetalk_stream.sound import Sound
from musetalk_stream.timeline import PART_FRAMES

from .server import babble, wav

Bytes = npt.NDArray[np.uint8]

FPS = 25
WIDTH, HEIGHT = 1280, 720
BOX = Box(440, 160, 840, 560)
CHUNK_FRAMES = 50
_OTHER_FACE = 7  # pictures on: the face that is pasted is not the one that is there


@dataclass(frozen=True)
class Frames:
    """What both paths start from."""

    pictures: list[Bytes]  # BGR [720, 1280, 3]
    planes: list[Picture]
    faces: list[Bytes]  # BGR [256, 256, 3]
    mask: Bytes
    placement: Placement


class Stages:
    """Wall and CPU time by stage, children's included."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu_s()
        yield
        self.wall_s[stage] = self.wall_s.get(stage, 0) + time.perf_counter() - wall
        self.cpu_s[stage] = self.cpu_s.get(stage, 0) + _cpu_s() - cpu

    def report(self, name: str, num_frames: int) -> str:
        per_frame = ", ".join(
            f"{stage} {1e3 * self.wall_s[stage] / num_frames:.2f}" for stage in self.wall_s
        )
        wall, cpu = (1e3 * sum(each.values()) / num_frames for each in (self.wall_s, self.cpu_s))
        return f"  {name}: {wall:.2f} ms of wall and {cpu:.2f} of CPU time ({per_frame})"


def _cpu_s() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def make_frames(count: int) -> Frames:
    """The demo avatar, so large that its face fills the box."""
    folder = prepare_store(StorageConfig().avatars_dir, shipped_avatars(), EncoderConfig())["demo"]
    avatar = open_avatar(folder)
    size = avatar.manifest.width, avatar.manifest.height
    of_demo = face_box(avatar.landmarks[0], size)
    assert of_demo is not None
    scale = np.array([BOX.width / of_demo.width, BOX.height / of_demo.height])
    corner = np.array(BOX[:2]) - scale * of_demo[:2]
    enlarge = np.column_stack([np.diag(scale), corner])
    pictures = []
    for k in range(count):
        planes = i420_planes(avatar.frames[avatar.picture(k)])
        picture = bgr_of(planes, Box(0, 0, *size))
        large = cv2.warpAffine(picture, enlarge, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
        pictures.append(np.asarray(large, np.uint8))
    faces = [face_crop(pictures[(k + _OTHER_FACE) % count], BOX) for k in range(count)]
    labels = labels_from_landmarks(avatar.landmarks[0], crop_box(of_demo))
    mask = paste_mask(face_mask(labels), BOX, crop_box(BOX))
    placement = place(mask, BOX, crop_box(BOX), (WIDTH, HEIGHT))
    assert placement is not None
    return Frames(pictures, [i420_of(each) for each in pictures], faces, mask, placement)


def official(frames: Frames, sound: Path, work: Path) -> Stages:
    stages, around = Stages(), crop_box(BOX)
    for k, (picture, face256) in enumerate(zip(frames.pictures, frames.faces, strict=True)):
        with stages.timed("blend"):
            face = fitted(face256, BOX)
            body = Image.fromarray(copy.deepcopy(picture)[:, :, ::-1])
            large = body.crop(around)
            large.paste(Image.fromarray(face[:, :, ::-1]), BOX.seen_from(around))
            body.paste(large, around[:2], Image.fromarray(frames.mask).convert("L"))
            blended = np.array(body)[:, :, ::-1]
        with stages.timed("PNG"):
            cv2.imwrite(f"{work}/{k:08d}.png", blended)
    silent = work / "silent.mp4"
    with stages.timed("encode"):
        _ffmpeg(f"-r {FPS} -f image2 -i {work}/%08d.png -vcodec libx264 -vf format=yuv420p "
                f"-crf 18 {silent}")  # fmt: skip
    with stages.timed("add sound"):
        _ffmpeg(f"-i {sound} -i {silent} {work}/official.mp4")
    return stages


def _ffmpeg(arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments.split()], check=True)


def ours(
    frames: Frames, ear: npt.NDArray[np.float32], work: Path, settings: EncoderConfig
) -> Stages:
    stages = Stages()
    sound = Sound.whole(ear, ear[::3].copy())
    with stages.timed("open"):
        encoder = UtteranceEncoder(
            width=WIDTH,
            height=HEIGHT,
            fps=Fraction(FPS),
            sound=sound,
            settings=settings,
        )
    features = np.ones((SEGMENT_ROWS, LAYERS, WIDTH_OF_FEATURES), np.float32)
    speech, presence = SpeechFeatures(sound, lambda _: features), Presence()
    for k, (planes, face) in enumerate(zip(frames.planes, frames.faces, strict=True), 1):
        if k % PART_FRAMES == 1:
            with stages.timed("windows"):
                presence.levels(sound, Fraction(FPS), k - 1, PART_FRAMES)
                part = range(k - 1, k - 1 + PART_FRAMES)
                speech.windows(window_rows(part, Fraction(FPS), speech.num_rows))
        with stages.timed("compose and encode"):
            encoder.add(planes, FaceRegion(frames.placement, face))
        if k % CHUNK_FRAMES == 0 or k == len(frames.faces):
            with stages.timed("sound and mux"):
                (work / f"chunk_{k:04d}.mp4").write_bytes(encoder.cut())
    encoder.close()
    return stages


def paste_ms(frames: Frames) -> float:
    """One thread, as on the server, where others have the other cores."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    into = i420_of(frames.pictures[0])
    times = []
    for face in frames.faces:
        began = time.perf_counter()
        FaceRegion(frames.placement, face).paste(into)
        times.append(time.perf_counter() - began)
    cv2.setNumThreads(threads)
    return 1e3 * median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preset", default=EncoderConfig.preset, help="of our encoder")
    parser.add_argument("--crf", type=float, default=EncoderConfig.crf, help="of our encoder")
    args = parser.parse_args()
    settings = EncoderConfig(preset=args.preset, crf=args.crf)
    frames = make_frames(args.frames)
    samples = babble(args.frames / FPS)
    wall, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        work, sound = Path(folder), Path(folder) / "sound.wav"
        sound.write_bytes(wav(samples))
        for number in range(args.rounds):
            slow = official(frames, sound, work)
            fast = ours(frames, samples.astype(np.float32), work, settings)
            wall.append(sum(slow.wall_s.values()) / sum(fast.wall_s.values()))
            cpu.append(sum(slow.cpu_s.values()) / sum(fast.cpu_s.values()))
            print(f"round {number + 1}: {wall[-1]:.1f} times the wall, {cpu[-1]:.1f} times the CPU")
            print(slow.report("official", args.frames))
            print(fast.report("ours", args.frames), flush=True)
    print(f"median of {args.rounds}: {median(wall):.1f} times faster, {median(cpu):.1f} times CPU")
    print(f"pasting alone, one thread: {paste_ms(frames):.2f} ms per frame")


if __name__ == "__main__":
    main()
