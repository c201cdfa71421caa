"""Whisper's encoder: from a log-mel spectrogram to what MuseTalk's lips follow.

Parameters are named as in the Hugging Face files, below `model.encoder.`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from . import fields
from .layers import attend

# Fields of which we know one value only.
_FIXED: fields.Json = {"activation_function": "gelu", "scale_embedding": False}
_PREFIXES = ("model.encoder.", "encoder.")


@dataclass(frozen=True, slots=True)
class WhisperConfig:
    """What shapes the network; as it stands, whisper-tiny's encoder."""

    width: int = 384
    layers: int = 4
    heads: int = 6
    inner_width: int = 1536
    mel_bins: int = 80
    positions: int = 1500

    @classmethod
    def from_json(cls, config: fields.Json) -> Self:
        """From `config.json`. ValueError names a field that is missing or not supported."""
        fields.only(config, _FIXED)
        width = fields.whole(config, "d_model")
        return cls(
            width=width,
            layers=fields.whole(config, "encoder_layers"),
            heads=fields.dividing(config, "encoder_attention_heads", [width]),
            inner_width=fields.whole(config, "encoder_ffn_dim"),
            mel_bins=fields.whole(config, "num_mel_bins"),
            positions=fields.whole(config, "max_source_positions"),
        )


class WhisperEncoder(nn.Module):
    def __init__(self, config: WhisperConfig | None = None) -> None:
        super().__init__()
        config = config or WhisperConfig()
        self.conv1 = nn.Conv1d(config.mel_bins, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.positions, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.width)

    def forward(self, mel: Tensor) -> Tensor:
        """Spectrograms [B, 80, 3000] of 30 s each -> [B, 1500, 5, 384], 50 rows per second.

        The five are the inputs of the four layers, and the output of the last one, normalised.
        """
        frames = 2 * self.embed_positions.num_embeddings
        assert mel.ndim == 3, mel.shape
        assert mel.shape[2] == frames, mel.shape
        x = gelu(self.conv2(gelu(self.conv1(mel)))).transpose(1, 2)  # [B, 1500, 384]
        x = x + self.embed_positions.weight
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1]))
        states[-1] = self.layer_norm(states[-1])
        return torch.stack(states, dim=2)


def encoder_only(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of a whole Whisper's state; a state without prefixes as it is."""
    for prefix in _PREFIXES:
        found = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
        if found:
            return found
    return dict(state)


class _Layer(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.inner_width)
        self.fc2 = nn.Linear(config.inner_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        out: Tensor = x + self.fc2(gelu(self.fc1(self.final_layer_norm(x))))
        return out


class _SelfAttention(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.k_proj = nn.Linear(config.width, config.width, bias=False)
        self.v_proj = nn.Linear(config.width, config.width)
        self.q_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        found = attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads)
        out: Tensor = self.out_proj(found)
        return out
