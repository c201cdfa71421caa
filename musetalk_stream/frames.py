"""Output frames: which picture and which mouth each of them shows, rendered and encoded.

Lips are rendered at `fps`; the body moves, and frames are shown, at `playback_fps`. An output frame
shows the picture of its own instant, with a mouth between the two lips frames around that instant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .avatar import Avatar
from .batcher import Batcher
from .blend import Veil, i420_planes
from .delivery import Delivery
from .encode import UtteranceEncoder
from .engine import Engine, Utterance
from .laps import Laps
from .renderers import FrameRequest, Mouth, Mouths, between
from .timeline import frames_covering, lips_under, output_frame_under


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """What one output frame shows: a picture, a mouth that has a share of another one, a veil."""

    picture: int
    mouth: Mouth | None
    other: Mouth | None
    share: float
    veil: Veil | None


async def make_frames(
    utterance: Utterance,
    engine: Engine,
    encoder: UtteranceEncoder,
    delivery: Delivery,
    frames: range,
    *,
    deadline_s: float,
    laps: Laps,
) -> None:
    """Render, compose and encode consecutive output frames; the encoder has those before them, and
    the sound goes on as far as `timeline.output_frames_ready` says, or has ended."""
    avatar, fps = utterance.avatar, utterance.options.fps
    lips = _lips_frames(utterance, delivery, frames)
    with laps.timed("render"):
        await _render(utterance, engine.batcher, delivery, lips, deadline_s)

    shown = []
    for frame in frames:
        before, share = lips_under(frame, fps, delivery.fps)
        if before == lips[-1]:
            share = 0.0  # the last one is held to the end
        mouth, other = utterance.lips[before], utterance.lips[before + 1] if share else None
        picture = _picture(avatar, delivery, frame)
        shown.append(_Frame(picture, mouth, other, share, _veil(avatar, delivery, frame)))

    still_needed, _ = lips_under(frames.stop, fps, delivery.fps)
    for lips_frame in [each for each in utterance.lips if each < still_needed]:
        del utterance.lips[lips_frame]
    with laps.timed("encode"):
        await engine.workers.run(partial(_encode, encoder, avatar, shown), deadline_s=deadline_s)


def _lips_frames(utterance: Utterance, delivery: Delivery, frames: range) -> range:
    """The lips frames around the instants of output frames; none past the end of the sound."""
    fps, sound = utterance.options.fps, utterance.sound
    first, _ = lips_under(frames[0], fps, delivery.fps)
    last, share = lips_under(frames[-1], fps, delivery.fps)
    if share:
        last += 1
    if sound.has_ended:
        last = min(last, frames_covering(sound.num_ear, fps) - 1)
    return range(first, last + 1)


async def _render(
    utterance: Utterance, batcher: Batcher, delivery: Delivery, lips: range, deadline_s: float
) -> None:
    """Add those of these lips frames to the utterance's that it does not have yet."""
    options, avatar, sound = utterance.options, utterance.avatar, utterance.sound
    new = [lips_frame for lips_frame in lips if lips_frame not in utterance.lips]
    if not new:
        return
    first, count = new[0], new[-1] - new[0] + 1
    windows = await batcher.call(
        lambda renderer: renderer.audio_windows(sound, options.fps, first, count)
    )
    frames = [output_frame_under(each, options.fps, delivery.fps) for each in new]
    requests = [
        FrameRequest(avatar, _picture(avatar, delivery, frame), windows[each - first])
        for each, frame in zip(new, frames, strict=True)
    ]
    mouths: Mouths = await batcher.render(
        requests, deadline_s=deadline_s, per_turn=options.batch_size
    )
    utterance.lips.update(zip(new, mouths, strict=True))


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


def _encode(encoder: UtteranceEncoder, avatar: Avatar, frames: Sequence[_Frame]) -> None:
    for frame in frames:
        mouth = between(frame.mouth, frame.other, frame.share)
        region = mouth.on(frame.picture) if mouth else None
        encoder.add(i420_planes(avatar.frames[frame.picture]), region, frame.veil)
