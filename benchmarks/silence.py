"""Sound of which a part is silence: how many frames are made by the model, how many by the source?

Speech by espeak-ng in phrases, each followed by as much silence; or, with --pause, cut so that each
stretch of speech and each pause lasts as long as that.
"""

import argparse
import io
import subprocess
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from musetalk_stream import audio
from musetalk_stream.renderers.presence import Presence
from musetalk_stream.sound import Sound

from .aims import Aims
from .server import RATE, wav

PHRASES = (
    "Good morning, how can I help you today?",
    "I have looked at your order, and it is on its way.",
    "You should have it in your hands by tomorrow evening.",
    "Is there anything else that I can do for you?",
)


def decoded(file: bytes) -> Sound:
    return audio.decode(io.BytesIO(file), max_duration_s=600)


def phrase(text: str) -> npt.NDArray[np.float32]:
    """Spoken: float32 `[n]` at 48 kHz, without the silence around it."""
    said = subprocess.run(["espeak-ng", "--stdout", text], capture_output=True, check=True).stdout
    sound = decoded(said)
    samples = sound.heard(0, sound.num_ear)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1] + 1]


def stretches(pause_s: float | None) -> list[npt.NDArray[np.float32]]:
    """Of speech, float32 `[n]` at 48 kHz each: the phrases, or all of them cut to this length."""
    phrases = [phrase(text) for text in PHRASES]
    if pause_s is None:
        return phrases
    size = round(pause_s * RATE)
    spoken = np.concatenate(phrases)
    return [spoken[start : start + size] for start in range(0, len(spoken) - size + 1, size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=float, default=25)
    parser.add_argument("--pause", type=float, help="seconds; as long as each phrase by default")
    args = parser.parse_args()
    parts = [part for each in stretches(args.pause) for part in (each, np.zeros_like(each))]
    sound = decoded(wav(np.concatenate(parts)))
    fps = Fraction(args.fps)
    count = int(sound.num_ear * fps / RATE)
    made = int(np.count_nonzero(Presence().levels(sound, fps, 0, count)))
    print(f"{sound.num_ear / RATE:.1f} s, half of it silence, {args.fps:g} fps")
    print(f"frames for the model: {made} of {count}, {made / count:.0%}")
    aims = Aims()
    aims.at_most("share of the frames", made / count, 0.6)
    aims.judge()


if __name__ == "__main__":
    main()
