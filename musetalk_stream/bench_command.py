"""`musetalk-stream bench`: how many frames per second, where their time goes, how many streams."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .avatar import Avatar, AvatarShelf
from .blend import i420_planes
from .config import Config, EncoderConfig, bundled
from .encode import UtteranceEncoder
from .errors import AvatarNotFound, SetupError
from .prepare import prepare_store
from .renderers import DeviceLost, FrameRequest, OutOfDeviceMemory, Renderer
from .renderers.make import make_renderer
from .renderers.measure import FPS, frames_per_second, speaking
from .schedule import capacity
from .timeline import EAR_RATE

if TYPE_CHECKING:
    from .renderers.musetalk import Stages

_PICTURES = 8  # of the avatar: preparing all of them would take minutes on a slow device
_ENCODED_FRAMES = 50


def run(config: Config) -> Iterator[str]:
    """Measure and say so, line by line. Raises SetupError."""
    try:
        yield from _run(config)
    except (DeviceLost, OutOfDeviceMemory) as exc:
        raise SetupError(f"the device gave up: {exc}") from exc


def _run(config: Config) -> Iterator[str]:
    renderer = make_renderer(config, random_weights=True)
    with tempfile.TemporaryDirectory() as scratch:
        avatar = _short(_default_avatar(config), Path(scratch))
        renderer.load(lambda doing: None)
        for _ in renderer.prepare(avatar):
            pass
        yield f"{renderer!r}"
        speeds = frames_per_second(renderer, avatar)
        best = max(speeds, key=lambda size: speeds[size])
        stages = _stages(renderer, best) if config.engine.renderer == "musetalk" else None
        yield from _speed_table(speeds, stages)
        if stages:
            yield from _stage_table(stages)
        encode_s = _encode_s(speaking(renderer, avatar, best), renderer, config.encoder)
    threads = config.engine.encode_threads
    yield f"compose and encode: {encode_s * 1e3:.2f} ms per frame and thread"
    yield (
        f"streams held at {FPS} fps: {_streams(speeds)} by the renderer, "
        f"{_streams({1: threads / encode_s})} by {threads} encoding threads with a core each"
    )


def _streams(speeds: dict[int, float]) -> int:
    return int(capacity(speeds, max(speeds)) / FPS)


def _speed_table(speeds: dict[int, float], stages: "Stages | None") -> Iterator[str]:
    if stages:
        yield (
            f"limit: {stages.gflop_per_frame:.1f} GFLOP per frame at {stages.peak_tflops:.3g} "
            f"TFLOP/s (matrix products, measured) is {stages.limit_fps:.3g} frames/s"
        )
    yield "batch  frames/s  ms/frame" + ("  of the limit" if stages else "")
    for size, speed in speeds.items():
        share = f"  {speed / stages.limit_fps:12.1%}" if stages else ""
        yield f"{size:5}  {speed:8.1f}  {1e3 / speed:8.2f}{share}"


def _stage_table(stages: "Stages") -> Iterator[str]:
    yield f"U-Net: {stages.unet_ms:.2f} ms per frame"
    yield f"VAE decoder: {stages.decoder_ms:.2f} ms per frame"
    yield f"mel and Whisper: {stages.hearing_ms:.1f} ms per 30 s of sound"
    yield f"latents: {stages.latents_ms:.1f} ms per picture of an avatar, once"


def _stages(renderer: Renderer, batch: int) -> "Stages":
    from .renderers.musetalk import MuseTalkRenderer, measure_stages

    assert isinstance(renderer, MuseTalkRenderer)
    return measure_stages(renderer.loaded.networks, batch)


def _default_avatar(config: Config) -> Avatar:
    folders = prepare_store(config.storage.avatars_dir, bundled("avatars"), config.encoder)
    try:
        return AvatarShelf(folders, config.session.aliases()).get(config.session.avatar)
    except AvatarNotFound as exc:
        raise SetupError(f"{exc}; choose one by --avatar") from exc


def _short(avatar: Avatar, scratch: Path) -> Avatar:
    """The avatar's first pictures; what is made of them goes to `scratch`, not to the avatar."""
    count = min(_PICTURES, avatar.manifest.num_frames)
    return replace(
        avatar,
        manifest=replace(avatar.manifest, num_frames=count),
        frames=avatar.frames[:count],
        landmarks=avatar.landmarks[:count],
        derived=scratch,
    )


def _encode_s(
    requests: Sequence[FrameRequest], renderer: Renderer, settings: EncoderConfig
) -> float:
    """Seconds of one thread to compose and encode a frame and its sound."""
    regions = renderer.submit(requests).regions()
    manifest = requests[0].avatar.manifest
    noise = np.random.default_rng(0).normal(0, 0.1, int(_ENCODED_FRAMES * EAR_RATE / FPS))
    encoder = UtteranceEncoder(
        width=manifest.width,
        height=manifest.height,
        fps=Fraction(FPS),
        ear=noise.astype(np.float32),
        settings=settings,
    )
    try:
        began_s = time.perf_counter()
        for k in range(_ENCODED_FRAMES):
            request = requests[k % len(requests)]
            source = i420_planes(request.avatar.frames[request.picture])
            encoder.add(source, regions[k % len(regions)])
        encoder.cut()
        return (time.perf_counter() - began_s) / _ENCODED_FRAMES
    finally:
        encoder.close()
