"""How many frames per second does a renderer make, at each of its batch sizes, and how many do the
encoders behind it take?"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from fractions import Fraction
from functools import partial
from itertools import cycle

import numpy as np

from ..avatar import Avatar
from ..blend import i420_planes
from ..config import EncoderConfig
from ..encode import UtteranceEncoder
from ..errors import SetupError
from ..schedule import MAX_IN_FLIGHT
from ..sound import Sound
from ..timeline import EAR_RATE, MODEL_RATE
from . import FrameRequest, Mouth, OutOfDeviceMemory, Renderer, Rendering

log = logging.getLogger(__name__)

FPS = Fraction(25)
_BATCHES = 4  # per repeat
_REPEATS = 3  # of which the best counts: what disturbs a measurement only ever makes it slower
_ALIKE = 0.9  # the best two of the encoders' repeats; else there are more, as long as this:
_PATIENCE_S = 1.0
_GAP_S = 0.02  # between them, so that they are not all disturbed by the same
_ENOUGH_S = 0.25  # of measuring one size; another repeat begins only before
# A batch that takes longer is measured once, and larger ones are not: everybody would wait for it.
_TOO_LONG_S = 2.0
_ENCODED_FRAMES = 16  # different ones, in turn: a still picture would cost next to nothing
_RENDERING_S = 0.05  # less of them if the renderer takes longer
_ENCODING_S = 0.03  # per repeat
_SOUND_S = 5  # then silence; only tiny pictures are encoded so fast
_PITCH_HZ = 140


def frames_per_second(
    renderer: Renderer,
    avatar: Avatar,
    sizes: Sequence[int] | None = None,
    progress: Callable[[str], None] = lambda doing: None,
) -> dict[int, float]:
    """Measure batches of frames that speak, in flight as the batcher keeps them, on the thread that
    owns the renderer.

    avatar    a prepared one
    sizes     ascending; all of the renderer's, if not given
    progress  told before each size; what it raises ends the measurement
    gives     frames per second by batch size, of the sizes that were tried and fit the device

    Raises SetupError if not even the first does.
    """
    sizes = renderer.batch_sizes if sizes is None else sizes
    requests = speaking(renderer, avatar, sizes[-1])
    speeds: dict[int, float] = {}
    for size in sizes:
        progress(f"measuring batches of {size}")
        try:
            took_s = _seconds_per_batch(renderer, requests[:size])
        except OutOfDeviceMemory as exc:
            log.warning("batches of %d do not fit into the device's memory: %s", size, exc)
            break
        speeds[size] = size / took_s
        if took_s > _TOO_LONG_S:
            break
    if not speeds:
        raise SetupError(f"not even a batch of {sizes[0]} fits into the device's memory: free some")
    return speeds


def _seconds_per_batch(renderer: Renderer, batch: Sequence[FrameRequest]) -> float:
    renderer.submit(batch).mouths()  # the first of its size may still choose how to compute
    best_s = _run(renderer, batch, 1)
    if best_s > _TOO_LONG_S:
        return best_s
    enough_s = time.perf_counter() + _ENOUGH_S
    for _ in range(_REPEATS):
        best_s = min(best_s, _run(renderer, batch, _BATCHES) / _BATCHES)
        if time.perf_counter() > enough_s:
            break
    return best_s


def _run(renderer: Renderer, batch: Sequence[FrameRequest], count: int) -> float:
    """The seconds that `count` batches take."""
    began_s = time.perf_counter()
    in_flight: deque[Rendering] = deque()
    for _ in range(count):
        in_flight.append(renderer.submit(batch))
        if len(in_flight) == MAX_IN_FLIGHT:
            in_flight.popleft().mouths()
    for rendering in in_flight:
        rendering.mouths()
    return time.perf_counter() - began_s


def encoded_per_second(
    renderer: Renderer, avatar: Avatar, batch: int, settings: EncoderConfig, threads: int
) -> float:
    """Measure composing, encoding and cutting of frames that speak, one utterance per thread.

    batch    a size that fits the device
    threads  that encode at the same time
    gives    frames per second of all of them together
    """
    frames = _rendered(renderer, avatar, batch)
    open_encoder = partial(
        UtteranceEncoder,
        width=avatar.manifest.width,
        height=avatar.manifest.height,
        fps=FPS,
        sound=_buzz(_SOUND_S * int(FPS)),
        settings=settings,
    )
    with ExitStack() as stack:
        encoders = [stack.enter_context(closing(open_encoder())) for _ in range(threads)]
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        return _undisturbed(lambda: _encode(pool, encoders, frames))


def _undisturbed(measure: Callable[[], float]) -> float:
    """The largest of some measurements, of which two are alike unless that takes too long."""
    began_s = time.perf_counter()
    found = [measure()]
    while len(found) < _REPEATS or found[-2] < _ALIKE * found[-1]:
        if time.perf_counter() - began_s > _PATIENCE_S:
            break
        time.sleep(_GAP_S)
        found = sorted([*found, measure()])
    return found[-1]


def _rendered(
    renderer: Renderer, avatar: Avatar, batch: int
) -> list[tuple[FrameRequest, Mouth | None]]:
    """Some frames for the encoders, at least one batch."""
    requests = speaking(renderer, avatar, max(batch, _ENCODED_FRAMES))
    mouths: list[Mouth | None] = []
    enough_s = time.perf_counter() + _RENDERING_S
    while len(mouths) < len(requests) and (not mouths or time.perf_counter() < enough_s):
        mouths += renderer.submit(requests[len(mouths) :][:batch]).mouths()
    return list(zip(requests, mouths, strict=False))


def _encode(
    pool: ThreadPoolExecutor,
    encoders: Sequence[UtteranceEncoder],
    frames: Sequence[tuple[FrameRequest, Mouth | None]],
) -> float:
    """Frames per second that all encoders make together, one chunk each."""
    began_s = time.perf_counter()

    def encode_chunk(encoder: UtteranceEncoder) -> int:
        count = 0
        for request, mouth in cycle(frames):
            region = mouth.on(request.picture) if mouth else None
            encoder.add(i420_planes(request.avatar.frames[request.picture]), region)
            count += 1
            if time.perf_counter() - began_s >= _ENCODING_S:
                break
        encoder.cut()
        return count

    return sum(pool.map(encode_chunk, encoders)) / (time.perf_counter() - began_s)


def speaking(renderer: Renderer, avatar: Avatar, count: int) -> list[FrameRequest]:
    """Frames of which each has a face, where the avatar has one, and voice under it: a frame in
    silence costs nothing."""
    with_face = np.flatnonzero(np.isfinite(avatar.landmarks).all(axis=(1, 2)))
    pictures = with_face if len(with_face) else np.arange(avatar.manifest.num_frames)
    windows = renderer.audio_windows(_buzz(count), FPS, 0, count)
    return [
        FrameRequest(avatar, int(pictures[k % len(pictures)]), windows[k]) for k in range(count)
    ]


def _buzz(frames: int) -> Sound:
    """A voice without pauses: a pitch and its overtones, swelling four times a second."""
    num_samples = int(frames * EAR_RATE / FPS)
    instants = np.arange(num_samples) / EAR_RATE
    voice = sum(np.sin(2 * np.pi * _PITCH_HZ * k * instants) / k for k in range(1, 9))
    ear = (0.2 * (0.7 + 0.3 * np.sin(2 * np.pi * 4 * instants)) * voice).astype(np.float32)
    # All overtones lie below 8 kHz, so that every third audio sample is enough of it.
    return Sound.whole(ear, ear[:: EAR_RATE // MODEL_RATE])
