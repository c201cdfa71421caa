"""The networks of one MuseTalk version: from files to a device, ready to be run."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...errors import SetupError, WeightsError
from ...models import vae as vae_weights
from ...models import whisper as whisper_weights
from ...models.bisenet import BiSeNet
from ...models.checkpoint import fill, load_state
from ...models.generator import FaceGenerator
from ...models.mel import log_mel
from ...models.unet import UNet, UNetConfig
from ...models.vae import SCALING_FACTOR, Vae, VaeConfig
from ...models.whisper import WhisperConfig, WhisperEncoder
from .features import LAYERS, SEGMENT_SAMPLES, WIDTH
from .windows import Floats

Progress = Callable[[str], None]
C = TypeVar("C")

# ImageNet's, which the face parser was trained with.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """All networks, on `device`. Only the generator runs per frame, and only it in `dtype`."""

    device: torch.device
    dtype: torch.dtype
    generator: FaceGenerator
    vae: Vae
    whisper: WhisperEncoder
    parser: BiSeNet | None  # None: masks are drawn from landmarks

    @torch.inference_mode()
    def hear(self, samples: Floats) -> Floats:
        """Features of 30 s of sound, float32 `[480000]` at 16 kHz: float32 `[1500, 5, 384]`."""
        pcm = torch.from_numpy(samples).to(self.device)[None]
        return _numpy(self.whisper(log_mel(pcm))[0])

    @torch.inference_mode()
    def latents(self, crops: npt.NDArray[np.uint8]) -> Floats:
        """U-Net inputs of face crops, uint8 `[n, 256, 256, 3]` BGR: float32 `[n, 8, 32, 32]`,
        masked and reference latents.

        Means, where the official code draws a random sample per run: a drawn face flickers.
        """
        images = self._images(crops) / 127.5 - 1
        masked = images.clone()
        masked[:, :, images.shape[2] // 2 :] = -1
        means = self.vae.encode_mean(torch.cat([masked, images])) * SCALING_FACTOR
        return _numpy(torch.cat(means.chunk(2), dim=1))

    @torch.inference_mode()
    def labels(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What each pixel shows, of uint8 `[n, 512, 512, 3]` BGR: uint8 `[n, 512, 512]`, one of 19
        classes."""
        assert self.parser is not None
        mean, deviation = (
            torch.tensor(each, device=self.device)[:, None, None] for each in (_MEAN, _DEVIATION)
        )
        scores = self.parser((self._images(crops) / 255 - mean) / deviation)
        labels: npt.NDArray[np.uint8] = scores.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return labels

    def _images(self, crops: npt.NDArray[np.uint8]) -> Tensor:
        """float32 `[n, 3, H, W]` RGB, 0 to 255."""
        pixels = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).to(self.device)
        return pixels.permute(0, 3, 1, 2).float().contiguous()

    def example(self) -> tuple[Floats, Floats]:
        """What the generator is given for one frame, by way of all networks: latents of a gradient
        `[8, 32, 32]` and a window of noise `[50, 384]`."""
        ramp = np.linspace(0, 255, 256).astype(np.uint8)
        picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128), axis=-1)
        noise = np.random.default_rng(0).normal(0, 0.1, SEGMENT_SAMPLES).astype(np.float32)
        window = self.hear(noise)[:10].reshape(50, -1)
        return self.latents(picture[None].astype(np.uint8))[0], window

    def fingerprint(self) -> str:
        """Which weights make latents and masks: what was made with others is stale."""
        digest = hashlib.sha256()
        for network in (self.vae.encoder, self.vae.quant_conv, self.parser):
            for parameter in network.parameters() if network else ():
                digest.update(_numpy(parameter.detach()).tobytes())
        return digest.hexdigest()


def load_networks(
    files: Mapping[str, Path], device: torch.device, dtype: torch.dtype, progress: Progress
) -> Networks:
    """From files by role, as `weights.require` finds them. Raises WeightsError."""
    with torch.device("meta"):  # without memory and values: both come with the files
        unet = UNet(_config(files, "unet_config", UNetConfig.from_json))
        vae = Vae(_config(files, "vae_config", VaeConfig.from_json))
        hearing = _config(files, "whisper_config", WhisperConfig.from_json)
        whisper = WhisperEncoder(hearing)
        parser = BiSeNet() if "face_parsing" in files else None
    if (hearing.layers + 1, hearing.width) != (LAYERS, WIDTH):
        raise WeightsError(
            f"{files['whisper_config']} is of another Whisper: MuseTalk hears with whisper-tiny"
        )
    progress("loading the U-Net")
    _fill(unet, files["unet"])
    progress("loading the VAE, Whisper and the face parser")
    _fill(vae, files["vae"], vae_weights.with_new_attention_names)
    _fill(whisper, files["whisper"], whisper_weights.encoder_only)
    if parser:
        _fill(parser, files["face_parsing"])
    return placed(unet, vae, whisper, parser, device, dtype)


def random_networks(device: torch.device, dtype: torch.dtype) -> Networks:
    """Official sizes, weights by chance: faces of noise, at the true cost."""
    with device:
        return placed(UNet(), Vae(), WhisperEncoder(), None, device, dtype)


def placed(
    unet: UNet,
    vae: Vae,
    whisper: WhisperEncoder,
    parser: BiSeNet | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Networks:
    """Ready to run on a device; takes the networks over.

    The generator is channels-last, which is how convolutions are fastest in bf16 and fp16. The VAE
    encoder is not: on a CPU, torch's group norm then loses three digits of pictures with a
    constant half, which is what masked faces are.
    """
    # What is in fp32 is so on purpose; TF32 has ten bits.
    torch.backends.cudnn.allow_tf32 = False
    generator = FaceGenerator(unet, vae)
    for network in (vae.encoder, vae.quant_conv, whisper, parser):
        if network is not None:
            _move(network, device, torch.float32, torch.contiguous_format)
    _move(generator, device, dtype, torch.channels_last)
    vae.eval()
    return Networks(device, dtype, generator, vae, whisper, parser)


def _move(
    network: nn.Module, device: torch.device, dtype: torch.dtype, order: torch.memory_format
) -> None:
    """Always a copy: the file that the weights are mapped from may be replaced while we run.

    order  of the weights of convolutions
    """
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.requires_grad_(False)
        form = order if tensor.ndim == 4 else torch.preserve_format
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        tensor.data = tensor.data.to(device, kind, copy=True, memory_format=form)
    network.eval()


def _fill(
    network: nn.Module,
    path: Path,
    renamed: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict,
) -> None:
    fill(network, renamed(load_state(path)), path)


def _config(files: Mapping[str, Path], role: str, read: Callable[[Mapping[str, object]], C]) -> C:
    path = files[role]
    try:
        config = json.loads(path.read_text())
        if not isinstance(config, dict):
            raise ValueError("it is no JSON object")
        return read(config)
    except (OSError, ValueError, RecursionError) as exc:
        raise WeightsError(f"{path} can't be used: {exc}") from exc


def _numpy(tensor: Tensor) -> Floats:
    found: Floats = tensor.float().cpu().numpy()
    return found


def find_device(name: str) -> torch.device:
    """`cpu`, `cuda` or `cuda:N`. Raises SetupError where there is no such device."""
    device = torch.device(name)
    if device.type != "cuda":
        return device
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
        raise SetupError(
            f"no CUDA device can be used (torch {torch.__version__}, {built}): install a driver "
            "and a torch for it, or choose --device cpu (seconds per frame: for trying out, not "
            "for watching) or --renderer builtin (needs no GPU)"
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise SetupError(f"there is no {name}: this machine has cuda:0 to cuda:{count - 1}")
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The number format by the name of the setting; `auto` is the fastest that is safe."""
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if device.type != "cuda":
        return torch.float32
    # Before Ampere, bf16 is emulated.
    native = torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if native else torch.float16
