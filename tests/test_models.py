"""The networks: official sizes and names, folding, memory formats, configurations."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from weights_by_name import UNET_SMALLEST, VAE_SMALLEST, named, named_state

from musetalk_stream.models.layers import group_norm_channels_last
from musetalk_stream.models.mel import log_mel
from musetalk_stream.models.unet import UNet, UNetConfig
from musetalk_stream.models.vae import SCALING_FACTOR, Vae, VaeConfig, with_new_attention_names
from musetalk_stream.models.whisper import WhisperConfig, WhisperEncoder, encoder_only

OFFICIAL_UNET = Path(__file__).parent / "data" / "parity" / "musetalk.json"
Network = TypeVar("Network", bound=nn.Module)
WHISPER_SMALLEST = {
    "d_model": 24,
    "encoder_layers": 2,
    "encoder_attention_heads": 3,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 80,
    "max_source_positions": 50,
}


@pytest.fixture(autouse=True)
def computing() -> Iterator[None]:
    """Small networks are fastest on one thread; without gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def smallest_unet() -> UNet:
    return named(UNet(UNetConfig.from_json(UNET_SMALLEST)))


def smallest_vae() -> Vae:
    return named(Vae(VaeConfig.from_json(VAE_SMALLEST)))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def channels_last(network: Network) -> Network:
    # Its stubs do not know that it takes a memory format.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def num_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Relative to the largest value; also wrong if a shape is."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


# Official sizes


def test_the_official_unet_has_the_parameters_of_its_file() -> None:
    config = UNetConfig.from_json(json.loads(OFFICIAL_UNET.read_text()))
    assert config == UNetConfig()
    with torch.device("meta"):
        unet = UNet(config)
    assert len(unet.state_dict()) == 686
    assert num_parameters(unet) == 849_947_844


def test_folding_the_time_drops_what_the_time_needed() -> None:
    with torch.device("meta"):
        unet = UNet()
    unet.fold_time()
    assert num_parameters(unet) == 849_947_844 - 27_875_520
    assert not [key for key in unet.state_dict() if "time" in key]


def test_the_official_vae_has_the_parameters_of_its_file() -> None:
    with torch.device("meta"):
        vae = Vae()
    assert len(vae.state_dict()) == 248
    assert num_parameters(vae.encoder, vae.quant_conv) == 34_163_664
    assert num_parameters(vae.post_quant_conv, vae.decoder) == 49_490_199


def test_whisper_tiny_has_the_parameters_of_its_encoder() -> None:
    with torch.device("meta"):
        whisper = WhisperEncoder()
    assert len(whisper.state_dict()) == 67
    assert num_parameters(whisper) == 8_208_384


# The UNet


def test_folding_the_time_changes_nothing_else() -> None:
    unet = smallest_unet()
    latents, audio = noise(2, 8, 32, 32), noise(2, 50, 384)
    before = unet(latents, audio)
    unet.fold_time()
    assert difference(unet(latents, audio), before) < 1e-5


def test_time_is_folded_once() -> None:
    unet = smallest_unet()
    unet.fold_time()
    with pytest.raises(AssertionError, match="folded already"):
        unet.fold_time()


def test_unet_frames_do_not_see_each_other() -> None:
    unet = smallest_unet()
    latents, audio = noise(3, 8, 32, 32), noise(3, 50, 384)
    together = unet(latents, audio)
    for i in range(3):
        alone = unet(latents[i : i + 1], audio[i : i + 1])
        assert difference(together[i : i + 1], alone) < 1e-5


def test_unet_hears() -> None:
    unet = smallest_unet()
    latents, audio = noise(1, 8, 32, 32), noise(2, 50, 384)
    assert difference(unet(latents, audio[:1]), unet(latents, audio[1:])) > 0.01


def test_unet_in_channels_last() -> None:
    unet = smallest_unet()
    latents, audio = noise(2, 8, 32, 32), noise(2, 50, 384)
    before = unet(latents, audio)
    after = channels_last(unet)(latents.to(memory_format=torch.channels_last), audio)
    assert after.is_contiguous(memory_format=torch.channels_last)
    assert difference(after, before) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(8, 8), (48, 40), (30, 22)])
def test_unet_takes_latents_of_any_size(height: int, width: int) -> None:
    found = smallest_unet()(noise(1, 8, height, width), noise(1, 50, 384))
    assert found.shape == (1, 4, height, width)
    assert found.isfinite().all()


# The VAE


def test_vae_in_channels_last() -> None:
    vae = smallest_vae()
    images, latents = noise(2, 3, 64, 64), noise(2, 4, 8, 8)
    before = vae.encode_mean(images), vae.decode(latents)
    channels_last(vae)
    mean = vae.encode_mean(images.to(memory_format=torch.channels_last))
    image = vae.decode(latents.to(memory_format=torch.channels_last))
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert difference(mean, before[0]) < 1e-5
    assert difference(image, before[1]) < 1e-5


def test_vae_pictures_do_not_see_each_other() -> None:
    vae = smallest_vae()
    images, latents = noise(3, 3, 64, 64), noise(3, 4, 8, 8)
    means, decoded = vae.encode_mean(images), vae.decode(latents)
    for i in range(3):
        assert difference(means[i : i + 1], vae.encode_mean(images[i : i + 1])) < 1e-5
        assert difference(decoded[i : i + 1], vae.decode(latents[i : i + 1])) < 1e-5


def test_vae_sizes() -> None:
    vae = smallest_vae()
    assert vae.encode_mean(noise(1, 3, 256, 128)).shape == (1, 4, 32, 16)
    assert vae.decode(noise(1, 4, 32, 16)).shape == (1, 3, 256, 128)


def test_folded_pixels_are_bgr_of_scaled_latents() -> None:
    vae = smallest_vae()
    latents = noise(1, 4, 8, 8)
    rgb = vae.decode(latents)
    vae.fold_pixels()
    assert difference(vae.decode(latents * SCALING_FACTOR), rgb.flip(1)) < 1e-5


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1, 1)])
def test_old_names_of_the_attention_load(shape: tuple[int, ...]) -> None:
    """As sd-vae-ft-mse has them, which was saved before diffusers renamed them."""
    new = named_state(smallest_vae())
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for key, tensor in new.items():
        for today, then in names.items():
            if f"attentions.0.{today}." in key:
                key = key.replace(today, then)
                tensor = tensor.reshape(shape) if key.endswith("weight") else tensor
        old[key] = tensor
    assert len(old.keys() - new.keys()) == 2 * 4 * 2  # encoder and decoder, weights and biases
    renamed = with_new_attention_names(old)
    smallest_vae().load_state_dict(renamed, strict=True)
    assert all(torch.equal(renamed[key], new[key]) for key in new)
    assert with_new_attention_names(new).keys() == new.keys()


# Whisper


def test_whisper_gives_one_state_per_layer_and_the_last() -> None:
    whisper = named(WhisperEncoder(WhisperConfig.from_json(WHISPER_SMALLEST)))
    mel = noise(3, 80, 100)
    states = whisper(mel)
    assert states.shape == (3, 50, 3, 24)
    assert difference(states[1:2], whisper(mel[1:2])) < 1e-5
    last = states[:, :, -1]
    normed = (last - whisper.layer_norm.bias) / whisper.layer_norm.weight
    assert normed.mean(dim=2).abs().max() < 1e-5
    assert torch.equal(whisper.layers[0](states[:, :, 0]), states[:, :, 1])


def test_whisper_hears_whole_segments_only() -> None:
    whisper = named(WhisperEncoder(WhisperConfig.from_json(WHISPER_SMALLEST)))
    with pytest.raises(AssertionError, match="98"):
        whisper(noise(1, 80, 98))


@pytest.mark.parametrize("prefix", ["model.encoder.", "encoder.", ""])
def test_the_encoder_is_found_in_a_whole_whisper(prefix: str) -> None:
    whisper = WhisperEncoder(WhisperConfig.from_json(WHISPER_SMALLEST))
    state = {prefix + key: tensor for key, tensor in named_state(whisper).items()}
    if prefix:
        decoder = prefix.replace("encoder", "decoder")
        state[f"{decoder}layers.0.encoder_attn.k_proj.weight"] = torch.zeros(1)
        state["proj_out.weight"] = torch.zeros(1)
    whisper.load_state_dict(encoder_only(state), strict=True)


# The spectrogram


def test_a_tone_is_loudest_in_its_band() -> None:
    """Slaney's scale has 15 mel at 1 kHz and 45.245 at 8 kHz, where the 80 bands end."""
    seconds = torch.arange(480_000) / 16_000
    mel = log_mel((0.5 * torch.sin(2 * torch.pi * 1000 * seconds))[None])
    assert mel.shape == (1, 80, 3000)
    assert mel[0, :, 1500].argmax() == round(15 / (45.245 / 81)) - 1


def test_each_segment_has_its_own_floor() -> None:
    loud, soft = noise(1, 480_000), 1e-3 * noise(1, 480_000)
    both = log_mel(torch.cat([loud, soft]))
    assert torch.equal(both[:1], log_mel(loud))
    assert torch.equal(both[1:], log_mel(soft))
    assert both[0].min() >= both[0].max() - 2
    silence = log_mel(torch.zeros(1, 480_000))
    assert (silence == -1.5).all()


# Configurations


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("act_fn", "gelu"),
        ("flip_sin_to_cos", False),
        ("use_linear_projection", True),
        ("down_block_types", ["AttnDownBlock2D"] * 4),
        ("up_block_types", ["UpBlock2D"] * 3),
        ("block_out_channels", "16"),
        ("attention_head_dim", [5, 10, 20, 20]),
        ("attention_head_dim", 3),
        ("layers_per_block", 0),
        ("norm_num_groups", None),
        ("norm_num_groups", 7),
        ("norm_eps", "small"),
    ],
)
def test_unsupported_unets_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        UNetConfig.from_json({**UNET_SMALLEST, field: value})


@pytest.mark.parametrize("field", ["cross_attention_dim", "block_out_channels", "up_block_types"])
def test_missing_fields_are_named(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        UNetConfig.from_json({key: UNET_SMALLEST[key] for key in UNET_SMALLEST if key != field})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("act_fn", "relu"),
        ("scaling_factor", 0.13025),
        ("down_block_types", ["AttnDownEncoderBlock2D"] * 4),
        ("up_block_types", []),
        ("latent_channels", 4.0),
        ("norm_num_groups", 3),
    ],
)
def test_unsupported_vaes_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        VaeConfig.from_json({**VAE_SMALLEST, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("activation_function", "relu"), ("encoder_attention_heads", 5), ("d_model", True)],
)
def test_unsupported_whispers_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        WhisperConfig.from_json({**WHISPER_SMALLEST, field: value})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_group_norm_in_channels_last(dtype: torch.dtype, offset: float) -> None:
    """What is used on CUDA, against torch's own in double precision."""
    torch.manual_seed(1)
    norm = torch.nn.GroupNorm(8, 32, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (torch.randn(3, 32, 20, 12) + offset).to(dtype)
    exact = copy.deepcopy(norm).double()(x.double())
    low = norm.to(dtype)
    found = group_norm_channels_last(x.contiguous(memory_format=torch.channels_last), low)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    error, its = ((each.double() - exact).abs().mean().item() for each in (found, low(x)))
    assert error <= 1.1 * its + 3e-5  # a mean of 20 deviations costs digits
