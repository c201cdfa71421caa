"""The networks against the official ones, both with the weights of their names."""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from weights_by_name import UNET_SMALLEST, named

from musetalk_stream.models.mel import log_mel
from musetalk_stream.models.positional import positional_encoding
from musetalk_stream.models.unet import UNet, UNetConfig
from musetalk_stream.models.vae import SCALING_FACTOR, Vae, VaeConfig
from musetalk_stream.models.whisper import WhisperEncoder
from musetalk_stream.renderers.musetalk.networks import Networks, placed

from .comparison import Comparison, absolute, exact, levels, relative

Arrays = Mapping[str, Any]

_NETWORKS = 1e-4
_MEL = 1e-5
_POSITIONS = 1e-5  # the last bit of a frequency, times the position
_SEGMENT_SAMPLES = 480_000


@torch.inference_mode()
def unet(arrays: Arrays) -> list[Comparison]:
    """Twice: as it is loaded and with its time folded, as it runs."""
    with torch.device("meta"):
        network = UNet(UNetConfig.from_json(_config(arrays)))
    named(network)
    compared = []
    if "time_emb_t0" in arrays:
        assert network.time_embedding is not None
        ours = network.time_embedding()
        compared.append(relative("time_emb_t0", ours, arrays["time_emb_t0"], _NETWORKS))
    if "out" in arrays:
        out = _faces(network, arrays)
        compared.append(relative("out", out, arrays["out"], _NETWORKS))
        network.fold_time()
        folded = _faces(network, arrays)
        compared.append(relative("out (time folded)", folded, arrays["out"], _NETWORKS))
    return compared


def _faces(network: UNet, arrays: Arrays) -> Tensor:
    audio = _tensor(arrays["audio_before_pe"])
    audio = audio + positional_encoding(*audio.shape[1:])
    return _each(network, _tensor(arrays["latents"]), audio)


@torch.inference_mode()
def vae(arrays: Arrays) -> list[Comparison]:
    with torch.device("meta"):
        network = Vae(VaeConfig.from_json(_config(arrays)))
    named(network)
    compared = []
    if "scaling_factor" in arrays:
        theirs = arrays["scaling_factor"]
        compared.append(absolute("scaling_factor", SCALING_FACTOR, theirs, _NETWORKS))
    if "img_bgr" in arrays:
        compared += _means(network, arrays)
    if "z_scaled" in arrays:
        latents = _tensor(arrays["z_scaled"])
        raw = _each(network.decode, latents / SCALING_FACTOR)
        for name, stride in _named(arrays, r"decoded_raw_every(\d+)"):
            ours = raw[:, :, ::stride, ::stride]
            compared.append(relative(name, ours, arrays[name], _NETWORKS))
        if "decoded_bgr_u8" in arrays:
            network.fold_pixels()
            pixels = _each(network.decode, latents) * 127.5 + 127.5
            faces = pixels.clamp(0, 255).round().permute(0, 2, 3, 1)
            compared.append(levels("decoded_bgr_u8", faces, arrays["decoded_bgr_u8"], 1))
    return compared


def _means(network: Vae, arrays: Arrays) -> Iterator[Comparison]:
    """Of the whole picture, and of its upper half with black below."""
    rgb = torch.from_numpy(arrays["img_bgr"][..., ::-1].copy())
    image = (rgb.permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    masked = image.clone()
    masked[:, :, image.shape[2] // 2 :] = -1
    for name, picture in (("mean_ref", image), ("mean_masked", masked)):
        if name in arrays:
            yield relative(name, network.encode_mean(picture), arrays[name], _NETWORKS)
    # The same by the way that an avatar's latents are made.
    its = _networks_of(network).latents(arrays["img_bgr"][None]) / SCALING_FACTOR
    for name, latents in (("mean_masked", its[:, :4]), ("mean_ref", its[:, 4:])):
        if name in arrays:
            yield relative(f"{name} (of an avatar)", latents, arrays[name], _NETWORKS)


def _networks_of(vae: Vae) -> Networks:
    """As they are loaded, but for those that latents do not need."""
    unet = UNet(UNetConfig.from_json(UNET_SMALLEST))
    return placed(
        unet, copy.deepcopy(vae), WhisperEncoder(), None, torch.device("cpu"), torch.float32
    )


@torch.inference_mode()
def whisper(arrays: Arrays) -> list[Comparison]:
    """Segments of 30 s end to end, the last one padded."""
    pcm = _tensor(arrays["pcm"])
    segments = pad(pcm, (0, -len(pcm) % _SEGMENT_SAMPLES)).view(-1, _SEGMENT_SAMPLES)
    mel = log_mel(segments)
    compared = []
    for name, stride in _named(arrays, r"mel_every(\d+)"):
        ours = torch.cat([*mel], dim=1)[:, ::stride]
        compared.append(absolute(name, ours, arrays[name], _MEL))
    strides = [*_named(arrays, r"hidden_every(\d+)")]
    if strides:
        network = named(WhisperEncoder(), prefix="encoder.")
        hidden = torch.cat([*_each(network, mel)])
        compared += [
            absolute(name, hidden[::stride], arrays[name], _NETWORKS) for name, stride in strides
        ]
    return compared


def positional(arrays: Arrays) -> list[Comparison]:
    theirs = arrays["pe"]
    theirs = theirs.reshape(theirs.shape[-2:])
    return [absolute("pe", positional_encoding(*theirs.shape), theirs, _POSITIONS)]


def configuration(config: Mapping[str, Any]) -> list[Comparison]:
    """The official U-Net's is what ours is without any."""
    return [exact("configuration", UNetConfig.from_json(config) == UNetConfig(), True)]


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def _config(arrays: Arrays) -> Mapping[str, Any]:
    config: dict[str, Any] = json.loads(np.asarray(arrays["cfg"]).tobytes())
    return config


def _each(network: Callable[..., Tensor], *batches: Tensor) -> Tensor:
    """One at a time: at the official sizes each needs a gigabyte or more."""
    rows = zip(*(batch.split(1) for batch in batches), strict=True)
    return torch.cat([network(*row) for row in rows])


def _named(arrays: Arrays, pattern: str) -> Iterator[tuple[str, int]]:
    """The arrays whose names fit, and the number in each name."""
    for name in arrays:
        if found := re.fullmatch(pattern, name):
            yield name, int(found[1])
