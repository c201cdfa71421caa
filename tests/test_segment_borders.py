"""Where one segment of long speech fades into the next, features move no more than elsewhere."""

import math

import numpy as np
import numpy.typing as npt
import torch
from fakes import model_sound, speech_like
from weights_by_name import named

from musetalk_stream.models.mel import log_mel
from musetalk_stream.models.whisper import WhisperEncoder
from musetalk_stream.renderers.musetalk.features import SpeechFeatures
from musetalk_stream.timeline import MODEL_RATE

Floats = npt.NDArray[np.float32]


def whisper() -> WhisperEncoder:
    """Weights by name, but the positions that Whisper has: rows next to each other are alike."""
    encoder = named(WhisperEncoder(), prefix="encoder.")
    instants = torch.arange(1500)[:, None]
    angles = instants * torch.exp(torch.arange(192) * (-math.log(10_000) / 191))
    with torch.no_grad():
        encoder.embed_positions.weight.copy_(torch.cat([angles.sin(), angles.cos()], dim=1))
    return encoder


def steps(features: SpeechFeatures) -> Floats:
    """How far each row lies from the one before, per layer: `[R-1, 5]`."""
    rows = features.rows(0, features.num_rows)
    return np.asarray(np.sqrt(np.square(np.diff(rows, axis=0)).mean(axis=2)), np.float32)


def test_the_fade_shows_less_than_speech_itself_and_the_official_cut_does_show() -> None:
    encoder = whisper()

    @torch.inference_mode()
    def encode(samples: Floats) -> Floats:
        heard: Floats = encoder(log_mel(torch.from_numpy(samples)[None]))[0].numpy()
        return heard

    samples = speech_like(36, MODEL_RATE)
    ours = steps(SpeechFeatures(model_sound(samples), encode))
    overlap = slice(26 * 50, 30 * 50)
    assert (ours[overlap].max(axis=0) <= np.delete(ours, overlap, axis=0).max(axis=0)).all()

    official = steps(SpeechFeatures(model_sound(samples), encode, reference=True))
    cut = 30 * 50 - 1
    assert (official[cut] > 2 * np.delete(official, cut, axis=0).max(axis=0)).all()
