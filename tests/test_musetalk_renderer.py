"""The MuseTalk renderer with real networks of a small size: the same frames in any company."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import any_sizes, arriving, as_sound, make_avatar, silence, speech_like
from models_folder import loaded, make_models, replace_file

from musetalk_stream.avatar import Avatar
from musetalk_stream.batcher import Batcher
from musetalk_stream.blend import compose, i420_planes
from musetalk_stream.errors import RenderFailed, SetupError, WeightsError
from musetalk_stream.models.checkpoint import load_state
from musetalk_stream.renderers import FrameRequest, Mouths
from musetalk_stream.renderers.musetalk.networks import choose_dtype, find_device
from musetalk_stream.renderers.musetalk.region import FaceMouth
from musetalk_stream.renderers.musetalk.renderer import MuseTalkRenderer
from musetalk_stream.sound import Sound
from musetalk_stream.timeline import MODEL_RATE, frames_ready, model_samples_needed
from musetalk_stream.weights import require

FPS = Fraction(25)
SIZE = 192

Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def renderer(models: Path) -> MuseTalkRenderer:
    return loaded(models)


@pytest.fixture(scope="module")
def avatar(renderer: MuseTalkRenderer, tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    made = make_avatar(tmp_path_factory.mktemp("avatars"), "face", size=SIZE, num_frames=6)
    assert list(renderer.prepare(made))[-1] == 1.0
    return made


def pcm(seconds: float = 1.0, seed: int = 1) -> Sound:
    ear = speech_like(seconds, seed=seed)
    return as_sound(ear)


def requests(
    renderer: MuseTalkRenderer, avatar: Avatar, sound: Sound, count: int
) -> list[FrameRequest]:
    windows = renderer.audio_windows(sound, FPS, 0, count)
    return [FrameRequest(avatar, avatar.picture(k), windows[k]) for k in range(count)]


def pictures(avatar: Avatar, batch: Sequence[FrameRequest], mouths: Mouths) -> Frames:
    """What the encoder gets: uint8 `[n, H*3/2, W]`."""
    out = np.empty((len(batch), *avatar.frames[0].shape), np.uint8)
    for into, request, mouth in zip(out, batch, mouths, strict=True):
        region = mouth.on(request.picture) if mouth else None
        compose(i420_planes(into), i420_planes(avatar.frames[request.picture]), region)
    return out


def in_batches(renderer: MuseTalkRenderer, batch: list[FrameRequest], size: int) -> Mouths:
    pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
    return [mouth for piece in pieces for mouth in renderer.submit(piece).mouths()]


@pytest.mark.parametrize("size", [3, 8])
def test_batches_of_any_size_give_the_same_frames(
    renderer: MuseTalkRenderer, avatar: Avatar, size: int
) -> None:
    batch = requests(renderer, avatar, pcm(), 16)
    one_by_one = pictures(avatar, batch, in_batches(renderer, batch, 1))
    together = pictures(avatar, batch, in_batches(renderer, batch, size))
    assert np.abs(one_by_one.astype(int) - together).max() <= 1
    assert np.abs(one_by_one.astype(int) - avatar.frames[[r.picture for r in batch]]).max() > 20


async def test_an_utterance_among_seven_others_is_as_alone(
    renderer: MuseTalkRenderer, avatar: Avatar
) -> None:
    async def spoken(batcher: Batcher, seed: int) -> Frames:
        sound = pcm(0.5, seed)
        windows = await batcher.call(lambda its: its.audio_windows(sound, FPS, 2, 8))
        batch = [FrameRequest(avatar, avatar.picture(k), windows[k]) for k in range(8)]
        mouths = await batcher.render(batch, deadline_s=seed, per_turn=1 + seed % 3)
        return pictures(avatar, batch, mouths)

    with Batcher(renderer, max_batch=8).running() as batcher:
        alone = await spoken(batcher, 3)
        crowd = await asyncio.gather(*(spoken(batcher, seed) for seed in range(8)))
        assert batcher.statistics().mean_batch > 2
    assert np.abs(alone.astype(int) - crowd[3]).max() <= 1
    assert np.abs(alone.astype(int) - crowd[4]).max() > 1


def test_windows_piecewise_are_those_of_the_whole(renderer: MuseTalkRenderer) -> None:
    sound = pcm(1.2)
    whole = renderer.audio_windows(sound, FPS, 0, 30)
    for first, count in ((0, 8), (8, 8), (29, 1)):
        piece = renderer.audio_windows(sound, FPS, first, count)
        assert np.array_equal(piece["features"], whole["features"][first : first + count])
        assert np.array_equal(piece["presence"], whole["presence"][first : first + count])


def test_silence_shows_the_source_and_costs_nothing(
    renderer: MuseTalkRenderer, avatar: Avatar
) -> None:
    quiet = as_sound(silence(1.0))
    batch = requests(renderer, avatar, quiet, 25)
    assert renderer.submit(batch).mouths() == [None] * 25


def test_half_silence_costs_about_half(renderer: MuseTalkRenderer, avatar: Avatar) -> None:
    """A generated mouth per frame of speech, and no more than what it takes to come and go."""
    ear = np.concatenate([speech_like(1.5), speech_like(1.5), silence(3.0)])
    batch = requests(renderer, avatar, as_sound(ear), 150)
    mouths = in_batches(renderer, batch, 8)
    generated = [mouth is not None for mouth in mouths]
    assert 0.4 * len(mouths) <= sum(generated) <= 0.6 * len(mouths)
    assert not any(generated[75 + 4 + 4 :])  # held for a tenth of a second, and a fade


def test_arriving_speech_is_as_speech_that_ends_there(renderer: MuseTalkRenderer) -> None:
    """A part hears what it may depend on, and all rows there are of that."""
    ear = speech_like(3.0)
    live = Sound(is_live=True)
    live.add(ear, ear[::3].copy())
    for first in (0, 8, 24, 52):
        stop = model_samples_needed(first + 8, FPS)
        cut = as_sound(ear[: 3 * stop])
        found = renderer.audio_windows(live, FPS, first, 8)
        expected = renderer.audio_windows(cut, FPS, first, 8)
        heard = (found["presence"] > 0) & (expected["presence"] > 0)
        assert heard.sum() >= 3
        assert np.array_equal(found["features"][heard], expected["features"][heard])


def test_how_fast_speech_arrives_makes_no_difference(renderer: MuseTalkRenderer) -> None:
    samples = speech_like(2.0, MODEL_RATE)

    def windows(sizes: Iterator[int]) -> list[npt.NDArray[Any]]:
        parts: list[npt.NDArray[Any]] = []
        for sound in arriving(samples, sizes):
            ready = 50 if sound.has_ended else frames_ready(sound.num_ear, FPS)
            while (first := 8 * len(parts)) < 50 and (ready >= first + 8 or sound.has_ended):
                parts.append(renderer.audio_windows(sound, FPS, first, min(8, 50 - first)))
        return parts

    slow, at_once = windows(any_sizes(1)), windows(repeat(samples.size))
    assert len(slow) == len(at_once) == 7
    for one, other in zip(slow, at_once, strict=True):
        assert np.array_equal(one, other)


def test_speech_fades_in_and_out(renderer: MuseTalkRenderer, avatar: Avatar) -> None:
    batch = requests(renderer, avatar, pcm(0.5), 13)
    mouths = renderer.submit(batch[:8]).mouths()
    strengths = [mouth.strength for mouth in mouths if isinstance(mouth, FaceMouth)]
    assert strengths[0] < strengths[1] < strengths[2] <= strengths[3] == 1.0


def test_pictures_without_a_face_pass_through(
    renderer: MuseTalkRenderer, avatar: Avatar, tmp_path: Path
) -> None:
    points = avatar.landmarks.copy()
    points[[1, 4]] = np.nan
    hidden = replace(avatar, landmarks=points, derived=tmp_path)
    assert not renderer.is_prepared(hidden)
    list(renderer.prepare(hidden))
    sound = pcm()
    batch = requests(renderer, hidden, sound, 6)
    mouths = renderer.submit(batch).mouths()
    assert [mouth is None for mouth in mouths] == [False, True, False, False, True, False]
    # The others are those of the avatar with all faces: nothing has shifted.
    full = requests(renderer, avatar, sound, 6)
    same = pictures(avatar, full, renderer.submit(full).mouths())
    seen = pictures(hidden, batch, mouths)
    assert np.abs(seen[[0, 2, 3, 5]].astype(int) - same[[0, 2, 3, 5]]).max() <= 1


async def test_a_poisoned_frame_fails_one_utterance(
    renderer: MuseTalkRenderer, avatar: Avatar
) -> None:
    batches = [requests(renderer, avatar, pcm(seed=seed), 4) for seed in range(8)]
    batches[5][2].audio_window["features"][:] = np.nan
    with Batcher(renderer, max_batch=8).running() as batcher:
        found = await asyncio.gather(
            *(batcher.render(batch, deadline_s=1, per_turn=1) for batch in batches),
            return_exceptions=True,
        )
    assert isinstance(found[5], RenderFailed)
    for index, mouths in enumerate(found):
        if index != 5:
            assert isinstance(mouths, list)
            assert all(isinstance(mouth, FaceMouth) for mouth in mouths)


def test_bf16_is_close(renderer: MuseTalkRenderer, models: Path, avatar: Avatar) -> None:
    rough = loaded(models, dtype=torch.bfloat16)
    batch = requests(renderer, avatar, pcm(), 8)
    exact = pictures(avatar, batch, renderer.submit(batch).mouths()).astype(int)
    assert np.abs(pictures(avatar, batch, rough.submit(batch).mouths()) - exact).mean() < 0.5


# --- loading


def test_progress_is_told(models: Path) -> None:
    renderer = MuseTalkRenderer(
        require(models, "v15"),
        version="v15",
        device=torch.device("cpu"),
        dtype=torch.float32,
        max_batch=3,
    )
    told: list[str] = []
    renderer.load(told.append)
    assert told[0] == "loading the U-Net"
    assert told[-1] == "warming up batches of 1"
    assert renderer.batch_sizes == (1, 2, 3)


def test_weights_that_are_not_numbers_are_told(tmp_path: Path) -> None:
    models = make_models(tmp_path)
    path = models / "musetalkV15/unet.pth"
    state = load_state(path)
    state["conv_in.bias"] = torch.full_like(state["conv_in.bias"], torch.nan)
    replace_file(path, state)
    with pytest.raises(SetupError, match="not numbers"):
        loaded(models)


@pytest.mark.parametrize("text", ["{", '{"in_channels": "8"}', '"text"'])
def test_a_configuration_that_can_not_be_used_is_named(tmp_path: Path, text: str) -> None:
    models = make_models(tmp_path)
    (models / "musetalkV15/musetalk.json").write_text(text)
    with pytest.raises(WeightsError, match=r"musetalk\.json"):
        loaded(models)


def test_another_whisper_is_refused(tmp_path: Path) -> None:
    models = make_models(tmp_path)
    path = models / "whisper/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "d_model": 512, "encoder_attention_heads": 8}))
    with pytest.raises(WeightsError, match="whisper-tiny"):
        loaded(models)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_told() -> None:
    with pytest.raises(SetupError, match="--device cpu"):
        find_device("cuda")


def test_number_formats() -> None:
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("fp16", torch.device("cpu")) is torch.float16
