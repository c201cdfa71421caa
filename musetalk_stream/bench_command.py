"""`musetalk-stream bench`: how many frames per second, where their time goes, how many streams."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .avatar import Avatar, shipped_avatars
from .config import Config
from .errors import AvatarNotFound, SetupError
from .prepare import prepare_store
from .renderers import DeviceLost, OutOfDeviceMemory, Renderer
from .renderers.make import make_renderer
from .renderers.measure import FPS, encoded_per_second, frames_per_second
from .schedule import capacity
from .shelf import AvatarShelf

if TYPE_CHECKING:
    from .renderers.musetalk.stages import Stages

_PICTURES = 8  # of the avatar: preparing all of them would take minutes on a slow device


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
        speeds, best = dict[int, float](), renderer.batch_sizes[-1]
        if renderer.moves_lips:
            speeds = frames_per_second(renderer, avatar)
            best = max(speeds, key=lambda size: speeds[size])
            stages = _stages(renderer, best) if config.engine.renderer == "musetalk" else None
            yield from _speed_table(speeds, stages)
            if stages:
                yield from _stage_table(stages)
        threads = config.engine.encode_threads
        encoders_fps = encoded_per_second(renderer, avatar, best, config.encoder, threads)
    what = "compose" if renderer.moves_lips else "move lips, compose"
    yield f"{what} and encode: {encoders_fps:.1f} frames/s by {threads} threads together"
    most = capacity(speeds, best, encoders_fps)
    if not renderer.moves_lips:
        yield f"streams held at {FPS} fps: {int(most.output / FPS)}"
        return
    held, by_renderer = (int(fps / FPS) for fps in (min(most.lips, most.output), most.lips))
    yield f"streams held at {FPS} fps: {held}; by the renderer alone {by_renderer}"


def _speed_table(speeds: dict[int, float], stages: "Stages | None") -> Iterator[str]:
    if stages:
        yield (
            f"limit: {stages.gflop_per_frame:.1f} GFLOP per frame at {stages.peak_tflops:.3g} "
            f"TFLOP/s (matrix products, measured) is {stages.limit_fps:.3g} frames/s"
        )
    yield "batch  frames/s  ms/frame" + ("  of the limit" if stages else "")
    for size, speed in speeds.items():
        share = f"  {speed / stages.limit_fps:12.1%}" if stages else ""
        yield f"{size:5}  {speed:8.1f}  {1e3 / speed:8.4f}{share}"


def _stage_table(stages: "Stages") -> Iterator[str]:
    yield f"U-Net: {stages.unet_ms:.2f} ms per frame"
    yield f"VAE decoder: {stages.decoder_ms:.2f} ms per frame"
    yield f"mel and Whisper: {stages.hearing_ms:.1f} ms per 30 s of sound"
    yield f"latents: {stages.latents_ms:.1f} ms per picture of an avatar, once"


def _stages(renderer: Renderer, batch: int) -> "Stages":
    from .renderers.musetalk.renderer import MuseTalkRenderer
    from .renderers.musetalk.stages import measure_stages

    assert isinstance(renderer, MuseTalkRenderer)
    return measure_stages(renderer.loaded.networks, batch)


def _default_avatar(config: Config) -> Avatar:
    store = config.storage.avatars_dir
    aliases, default = config.session.aliases(), config.session.avatar
    needed = [aliases.get(default, default)]
    prepare_store(store, shipped_avatars(), config.encoder, needed=needed)
    try:
        return AvatarShelf(store, aliases).get(default)
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
