"""Output frames: which picture and which mouth each of them shows, rendered and encoded."""

import math
from collections.abc import Sequence
from functools import partial

from .avatar import Avatar
from .batcher import Batcher
from .blend import Region, Veil, i420_planes
from .delivery import Delivery
from .encode import UtteranceEncoder
from .engine import Engine, Utterance
from .renderers import FrameRequest


async def make_frames(
    utterance: Utterance,
    engine: Engine,
    encoder: UtteranceEncoder,
    delivery: Delivery,
    frames: range,
    *,
    deadline_s: float,
) -> None:
    """Render, compose and encode consecutive output frames; the encoder has those before them."""
    requests = await _frame_requests(utterance, engine.batcher, delivery, frames)
    regions = await engine.batcher.render(
        requests, deadline_s=deadline_s, per_turn=utterance.options.batch_size
    )
    veils = [_veil(utterance.avatar, delivery, frame) for frame in frames]
    await engine.workers.run(
        partial(_encode, encoder, requests, regions, veils), deadline_s=deadline_s
    )


async def _frame_requests(
    utterance: Utterance, batcher: Batcher, delivery: Delivery, frames: range
) -> list[FrameRequest]:
    """Which picture each frame shows and the audio that moves its lips.

    Lips are rendered at `fps` and shown at `playback_fps`: each mouth is held until the next.
    """
    options, avatar = utterance.options, utterance.avatar
    lips = [math.floor(frame * options.fps / delivery.fps) for frame in frames]
    first, count = lips[0], lips[-1] - lips[0] + 1
    windows = await batcher.call(
        lambda renderer: renderer.audio_windows(utterance.sound, options.fps, first, count)
    )
    return [
        FrameRequest(
            avatar=avatar,
            picture=_picture(avatar, delivery, frame),
            audio_window=windows[lip - first],
        )
        for frame, lip in zip(frames, lips, strict=True)
    ]


def _picture(avatar: Avatar, delivery: Delivery, frame: int) -> int:
    """The picture under an output frame: of the cycle, or one that is for speech."""
    if avatar.has_speaking_pictures and delivery.share_of_speaking(frame):
        return avatar.speaking_picture(delivery.avatar_frame(frame))
    return avatar.picture(delivery.cycle_frame(frame))


def _veil(avatar: Avatar, delivery: Delivery, frame: int) -> Veil | None:
    """The picture of the cycle as far as it still shows through one that is for speech."""
    share = delivery.share_of_speaking(frame) if avatar.has_speaking_pictures else 0.0
    if not 0 < share < 1:
        return None
    idle = avatar.frames[avatar.picture(delivery.cycle_frame(frame))]
    return Veil(i420_planes(idle), 1 - share)


def _encode(
    encoder: UtteranceEncoder,
    requests: Sequence[FrameRequest],
    regions: Sequence[Region | None],
    veils: Sequence[Veil | None],
) -> None:
    for request, region, veil in zip(requests, regions, veils, strict=True):
        encoder.add(i420_planes(request.avatar.frames[request.picture]), region, veil)
