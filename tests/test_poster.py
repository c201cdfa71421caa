"""The poster of an avatar: the very first picture of its loop, in the same colours."""

import io
from pathlib import Path

import av
import numpy as np
from fakes import make_avatar
from PIL import Image
from servers import Server

from musetalk_stream.blend import i420_planes
from musetalk_stream.encode import jpeg


async def test_it_shows_what_the_loop_begins_with(server: Server) -> None:
    answer = await server.client.get("/avatars/tiny/poster")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Cache-Control"] == "no-cache"
    poster = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), np.float32)
    video = (await server.client.get("/avatars/tiny/video")).content
    with av.open(io.BytesIO(video), "r") as container:
        frame = next(container.decode(video=0))
        first = frame.to_ndarray(format="rgb24", src_colorspace="ITU709").astype(np.float32)
    assert poster.shape == first.shape
    assert np.abs(poster - first).mean() < 2.5


async def test_validators(server: Server) -> None:
    answer = await server.client.get("/avatars/tiny/poster")
    tag = answer.headers["ETag"]
    again = await server.client.get("/avatars/tiny/poster", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    for header in ('"other"', f"W/{tag}"):
        again = await server.client.get("/avatars/tiny/poster", headers={"If-Match": header})
        assert (again.status_code, again.json()["code"]) == (412, "precondition_failed")
    head = await server.client.head("/avatars/tiny/poster")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.content))
    assert (await server.client.get("/avatars/nobody/poster")).status_code == 404


def test_colours(tmp_path: Path) -> None:
    """Black, white and a saturated red keep their values, which wrong ranges or matrices change."""
    avatar = make_avatar(tmp_path)
    planes = np.array(avatar.frames[0])
    picture = i420_planes(planes)
    for luma, blue, red, expected in [
        (16, 128, 128, (0, 0, 0)), (235, 128, 128, (255, 255, 255)), (63, 102, 240, (255, 0, 0)),
    ]:  # fmt: skip
        picture.luma[:], picture.cb[:], picture.cr[:] = luma, blue, red
        pixels = np.asarray(Image.open(io.BytesIO(jpeg(picture))).convert("RGB"), np.float32)
        assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - expected).max() < 4
