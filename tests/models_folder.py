"""A folder of weights in the official layout, small enough for a CPU: the real files' keys and
formats, values by name."""

import json
from pathlib import Path

import torch
from weights_by_name import UNET_SMALLEST, VAE_SMALLEST, Json, named_state

from musetalk_stream.models.bisenet import BiSeNet
from musetalk_stream.models.unet import UNet, UNetConfig
from musetalk_stream.models.vae import Vae, VaeConfig
from musetalk_stream.models.whisper import WhisperConfig, WhisperEncoder
from musetalk_stream.renderers.musetalk.renderer import MuseTalkRenderer
from musetalk_stream.weights import require

# Whisper-tiny's layers and heads, which shape its features, at a fraction of its cost.
WHISPER_SMALLEST: Json = {
    "activation_function": "gelu",
    "d_model": 384,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 64,
    "encoder_layers": 4,
    "max_source_positions": 1500,
    "num_mel_bins": 80,
}


def make_models(
    folder: Path,
    *,
    unet: Json = UNET_SMALLEST,
    vae: Json = VAE_SMALLEST,
    face_parsing: bool = False,
) -> Path:
    """What version 1.5 needs."""
    with torch.device("meta"):
        networks = {
            "musetalkV15/unet.pth": UNet(UNetConfig.from_json(unet)),
            "sd-vae/diffusion_pytorch_model.bin": Vae(VaeConfig.from_json(vae)),
            "whisper/pytorch_model.bin": WhisperEncoder(WhisperConfig.from_json(WHISPER_SMALLEST)),
        }
        if face_parsing:
            networks["face-parse-bisent/79999_iter.pth"] = BiSeNet()
    for name, network in networks.items():
        state = named_state(network)
        if name.startswith("whisper"):
            state = {f"model.encoder.{key}": tensor for key, tensor in state.items()}
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
    for name, config in (
        ("musetalkV15/musetalk.json", unet),
        ("sd-vae/config.json", vae),
        ("whisper/config.json", WHISPER_SMALLEST),
    ):
        (folder / name).write_text(json.dumps(config))
    return folder


def loaded(models: Path, *, max_batch: int = 8, dtype: torch.dtype = torch.float32,
           version: str = "v15") -> MuseTalkRenderer:  # fmt: skip
    renderer = MuseTalkRenderer(
        require(models, version),
        version=version,
        device=torch.device("cpu"),
        dtype=dtype,
        max_batch=max_batch,
    )
    renderer.load(lambda doing: None)
    return renderer


def replace_file(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Not written over: `state` is mapped from it."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)
