"""Where in a wav file its audio samples are, and of which kind.

FFmpeg reads 64 kB of a wav file before it says anything, which is more than a second of speech.
"""

import struct
from dataclasses import dataclass
from typing import Protocol

_PCM = 1  # wFormatTag
# Writers that can't seek back leave such sizes: nothing, or as much as there can be.
_AS_MUCH_AS_THERE_IS = 0x7FFF_0000
_HEADER_WITHIN = 1 << 16


class Seekable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, place: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class WavHeader:
    """rate      Hz
    place     of the first audio sample, in bytes
    size      of all audio samples, in bytes; None if the file does not know
    is_pcm16  they are 16-bit integers, interleaved
    """

    rate: int
    channels: int
    place: int
    size: int | None
    is_pcm16: bool


def wav_header(file: Seekable) -> WavHeader | None:
    """None if it is no wav file, or one of a kind that is better left to others. Leaves the file
    somewhere."""
    file.seek(0)
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return None
    kind = b""
    place = len(riff)
    while place < _HEADER_WITHIN:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], "little")
        place += len(head)
        if head[:4] == b"data":
            return _header(kind, place, size)
        if head[:4] == b"fmt ":
            kind = file.read(16)
        place += size + size % 2  # padded to an even length
    return None


def _header(kind: bytes, place: int, size: int) -> WavHeader | None:
    if len(kind) < 16:
        return None
    tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", kind)
    return WavHeader(
        rate=rate,
        channels=channels,
        place=place,
        size=size if 0 < size < _AS_MUCH_AS_THERE_IS else None,
        is_pcm16=tag == _PCM and bits == 16 and block == 2 * channels,
    )
