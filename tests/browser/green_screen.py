"""The demo avatar before a green screen, so that what is behind it can be taken away again."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from pictures import write_video

from musetalk_stream.avatar import shipped_avatars

Picture = npt.NDArray[np.uint8]  # [H, W, 3], RGB
Mask = npt.NDArray[np.float32]  # [H, W], 0 … 1

GREEN = (0, 177, 64)
_NUM_FRAMES = 25


def make_green_avatar(store: Path, avatar_id: str = "green") -> Mask:
    """A second of the demo avatar, forward and back; how much of each pixel of its first picture is
    the person."""
    source = shipped_avatars()["demo"]
    folder = store / avatar_id
    folder.mkdir(parents=True)
    with av.open(str(source / "source.mp4")) as container:
        frames = container.decode(video=0)
        pictures = [
            np.asarray(next(frames).to_ndarray(format="rgb24"), np.uint8)
            for _ in range(_NUM_FRAMES)
        ]
    masks = [_person(picture) for picture in pictures]
    composed = [
        (picture * mask[..., None] + np.array(GREEN) * (1 - mask[..., None])).astype(np.uint8)
        for picture, mask in zip(pictures, masks, strict=True)
    ]
    video = write_video(folder / "source.mp4", composed, Fraction(25))
    np.save(folder / "landmarks.npy", np.load(source / "landmarks.npy")[:_NUM_FRAMES])
    manifest = json.loads((source / "avatar.json").read_text()) | {
        "id": avatar_id,
        "name": "Green",
        "num_frames": _NUM_FRAMES,
        "cycle": "ping-pong",
        "source_sha256": hashlib.sha256(video.read_bytes()).hexdigest(),
    }
    (folder / "avatar.json").write_text(json.dumps(manifest))
    return masks[0]


def _person(picture: Picture) -> Mask:
    """What isn't the teal wall: that is connected to the upper corners, and more green than red."""
    red, green = picture[..., 0].astype(int), picture[..., 1].astype(int)
    is_teal = (green - red > -4).astype(np.uint8)
    _, parts = cv2.connectedComponents(is_teal, connectivity=4)
    is_wall = np.isin(parts, [parts[0, 0], parts[0, -1]]) & (is_teal == 1)
    person = cv2.erode(1 - is_wall.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(person.astype(np.float32), (0, 0), 0.8), np.float32)
