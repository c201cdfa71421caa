"""What a sound is silent before its first word is left out, also where silence is noise or hum."""

import io

import numpy as np
import pytest
from fakes import EAR_RATE, Samples, silence, speech_like, wav

from musetalk_stream.audio import decode


def left_out_s(samples: Samples) -> float:
    sound = decode(io.BytesIO(wav(samples)), max_duration_s=60, trim_leading_silence=True)
    return (len(samples) - sound.num_ear) / EAR_RATE


def hiss(seconds: float, decibel: float) -> Samples:
    noise = np.random.default_rng(1).standard_normal(round(seconds * EAR_RATE))
    return np.asarray(10 ** (decibel / 20) * noise, np.float32)


def hum(seconds: float) -> Samples:
    instants = np.arange(round(seconds * EAR_RATE)) / EAR_RATE
    return np.asarray(0.01 * np.sin(2 * np.pi * 50 * instants), np.float32)


BACKGROUNDS = {
    "silence": silence(3),
    **{f"{decibel} dB": hiss(3, decibel) for decibel in (-58, -50, -42)},
    "hum": hum(3),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_what_is_before_the_first_voice_is_left_out(name: str) -> None:
    spoken = np.concatenate([silence(1.5), speech_like(1.5)]) + BACKGROUNDS[name]
    assert 1.35 <= left_out_s(spoken) <= 1.6


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_where_nobody_speaks_everything_stays(name: str) -> None:
    assert left_out_s(BACKGROUNDS[name]) == 0
