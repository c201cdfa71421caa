"""Lips at `fps`, body at `playback_fps`: is the motion as smooth as the loop's, and what is made?

The upper part of every picture of speech, where no mouth is, is looked up among the pictures of the
loop: from one to the next it should go on by the same share of the loop.
"""

import argparse
import asyncio
import io
import math
from collections import Counter
from typing import Any

import av
import httpx
import numpy as np
import numpy.typing as npt

from .aims import Aims
from .server import Server, babble, create, events, running_server, speak, wav

Pictures = npt.NDArray[np.float32]

BLOCK = 8  # pixels whose mean is compared: see seams
# Share of pictures: one in a hundred is taken for its neighbour, by the noise of the encoding.
MOST_OFF = 0.02
UPPER = 0.45  # share of the height that is above the mouth


def upper_parts(video: bytes) -> Pictures:
    """Luma of all pictures above the mouth, in means of blocks: float32 `[n, h, w]`."""
    parts = []
    with av.open(io.BytesIO(video), "r") as container:
        for frame in container.decode(video=0):
            luma = frame.to_ndarray(format="gray")
            height = round(luma.shape[0] * UPPER) // BLOCK * BLOCK
            width = luma.shape[1] // BLOCK * BLOCK
            blocks = luma[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
            parts.append(blocks.mean(axis=(1, 3)).astype(np.float32))
    return np.stack(parts)


async def spoken(client: httpx.AsyncClient, sound: bytes, **options: float) -> tuple[int, bytes]:
    """Cycle frame on which it starts, and the recording."""
    session_id = await create(client, **options)
    first, chunks = 0, list[bytes]()
    async for announced in events(client, session_id):
        event: dict[str, Any] = announced.event
        match event["event"]:
            case "state":
                await speak(client, session_id, sound)
            case "started":
                first = event["avatar_frame"]
            case "chunk":
                chunks.append((await client.get(event["url"])).raise_for_status().content)
            case "complete":
                break
            case "error":
                raise SystemExit(event["message"])
    await client.delete(f"/sessions/{session_id}")
    return first, b"".join(chunks)


async def rendered(client: httpx.AsyncClient) -> int:
    return int((await client.get("/sessions/stats")).json()["engine"]["frames_rendered"])


def looked_up(pictures: Pictures, loop: Pictures, expected: list[int]) -> list[int]:
    """For every picture, how many frames of the loop it is from where it should be."""
    offsets = range(-3, 4)
    found = []
    for picture, index in zip(pictures, expected, strict=True):
        near = [np.abs(picture - loop[(index + offset) % len(loop)]).mean() for offset in offsets]
        # Where the loop rests, neighbours are alike: what is expected counts if none is better.
        best = int(np.argmin(near))
        found.append(offsets[best] if near[best] < 0.75 * near[3] else 0)
    return found


async def measure(
    server: Server, fps: float, playback_fps: float, seconds: float, aims: Aims
) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        avatar = (await client.get("/avatars/demo")).json()
        loop = upper_parts((await client.get("/avatars/demo/video")).content)
        before = await rendered(client)
        sound = wav(babble(seconds))
        first, recording = await spoken(client, sound, fps=fps, playback_fps=playback_fps)
        made = await rendered(client) - before
    pictures = upper_parts(recording)
    rate = float(avatar["fps"]) / playback_fps
    expected = [math.floor(first + k * rate + 1e-6) % len(loop) for k in range(len(pictures))]
    off = Counter(looked_up(pictures, loop, expected))
    steps = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2))
    print(f"fps {fps:g}, playback_fps {playback_fps:g}: {len(pictures)} pictures, {seconds:g} s")
    print(f"  frames for the renderer: {made}; {seconds * fps:g} at fps")
    told = ", ".join(f"{offset}: {count}" for offset, count in sorted(off.items()))
    print(f"  frames of the loop off from where the body should be: {told}")
    print(f"  pictures that stand still while the loop moves: {still(steps, loop, expected)}")
    rates = f"at {fps:g}/{playback_fps:g} fps"
    aims.at_most(f"frames for the renderer {rates}", made, math.ceil(seconds * fps))
    share_off = 1 - off[0] / len(pictures)
    aims.at_most(f"share of pictures off their place in the loop {rates}", share_off, MOST_OFF)


def still(steps: npt.NDArray[np.floating[Any]], loop: Pictures, expected: list[int]) -> int:
    """Pictures equal to the one before (but for a tenth) where the loop's differ."""
    count = 0
    for step, before, after in zip(steps, expected, expected[1:], strict=False):
        usual = np.abs(loop[after] - loop[before]).mean()
        count += int(usual > 0.05 and step < 0.1 * usual)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    args = parser.parse_args()
    aims = Aims()
    with running_server() as server:
        for fps, playback_fps in ((25, 25), (12.5, 25), (10, 15)):
            asyncio.run(measure(server, fps, playback_fps, args.seconds, aims))
    aims.judge()


if __name__ == "__main__":
    main()
