"""From drawn pictures to what an avatar folder ships: source.mp4, landmarks.npy, avatar.json."""

import hashlib
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from musetalk_stream.avatar import Cycle, Manifest

from . import geometry as g
from .motion import FPS, NUM_FRAMES, landmarks

# One keyframe: another would let the whole picture jump a little in mid-loop. It is better than the
# rest, since the still background keeps its pixels and the loop returns to it.
X264 = {
    "preset": "slow",
    "crf": "11",
    "x264-params": "keyint=infinite:scenecut=0:bframes=0:mbtree=0:ipratio=2.2:no-psy=1:aq-mode=3",
}
BT709, MPEG_RANGE = 1, 1  # FFmpeg's numbers; 1 is bt709 for primaries, transfer and matrix alike


def reduced(picture: np.ndarray) -> np.ndarray:
    """float [512, 512, 3]: the mean of each square of drawn pixels."""
    return picture.reshape(g.SIZE, g.SCALE, g.SIZE, g.SCALE, 3).mean(axis=(1, 3), dtype=np.float64)


def to_i420(rgb: np.ndarray) -> np.ndarray:
    """uint8 [768, 512] from RGB 0 to 1: bt709, limited range, chroma sited left as in MPEG-2."""
    r, b = rgb[..., 0], rgb[..., 2]
    luma = rgb @ (0.2126, 0.7152, 0.0722)
    planes = [16 + 219 * luma]
    for chroma in ((b - luma) / 1.8556, (r - luma) / 1.5748):
        rows = (chroma[0::2] + chroma[1::2]) / 2
        padded = np.pad(rows, ((0, 0), (1, 0)), mode="edge")
        half = (padded[:, 0:-1:2] + 2 * padded[:, 1::2] + padded[:, 2::2]) / 4
        planes.append(128 + 224 * half)
    flat = np.concatenate([p.ravel() for p in planes])
    return np.clip(np.rint(flat), 16, 240).astype(np.uint8).reshape(-1, g.SIZE)


def write_video(path: Path, pictures: Iterable[np.ndarray]) -> None:
    """Encode I420 pictures; one thread and bit-exact muxing, so that equal input is equal bytes."""
    with av.open(path, "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as out:
        stream = out.add_stream("libx264", rate=FPS, options=X264)
        stream.width = stream.height = g.SIZE
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = MPEG_RANGE
        for index, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            frame.colorspace, frame.color_range = BT709, MPEG_RANGE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def write_avatar(folder: Path, pictures: Iterable[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / "source.mp4"
    write_video(video, pictures)
    np.save(folder / "landmarks.npy", np.stack([landmarks(k) for k in range(NUM_FRAMES)]))
    manifest = Manifest(
        id="demo",
        name="Mara",
        width=g.SIZE,
        height=g.SIZE,
        fps=Fraction(FPS),
        num_frames=NUM_FRAMES,
        cycle=Cycle.FORWARD,
        source_sha256=hashlib.sha256(video.read_bytes()).hexdigest(),
        provenance="Drawn by scripts/draw_demo_avatar of this project; no real person is shown.",
        licence="MIT",
    )
    (folder / "avatar.json").write_text(json.dumps(manifest.to_json(), indent=2) + "\n")
