"""How long an mp3 says that it is: the frame count in the Xing or Info tag of its first frame.

FFmpeg reads the tag, too, but where the file is larger than the tag says (joined files) it quietly
guesses from the bit rate instead.
"""

from typing import Protocol

_ID3_HEADER = 10
# Frame header, checksum and side information come before the tag: at most 38 bytes.
_TAG_WITHIN = 64
_HAS_FRAMES = 1
_MOST_TAGS = 16  # one after another; a file of nothing else would be read for minutes


class Seekable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, place: int, /) -> int: ...


def counted_frames(file: Seekable) -> int | None:
    """The MPEG frames that the tag counts, None without a tag. Leaves the file at its beginning."""
    start = 0
    for _ in range(_MOST_TAGS):
        header = file.read(_ID3_HEADER)
        if not header.startswith(b"ID3") or len(header) < _ID3_HEADER:
            break
        size = 0
        for byte in header[6:]:  # seven bits each (ID3v2.4 §6.2)
            size = size << 7 | byte & 0x7F
        start += _ID3_HEADER + size
        file.seek(start)
    file.seek(start)
    first = file.read(_TAG_WITHIN)
    file.seek(0)
    at = max(first.find(b"Xing"), first.find(b"Info"))
    flags = int.from_bytes(first[at + 4 : at + 8])
    if at < 0 or not flags & _HAS_FRAMES:
        return None
    return int.from_bytes(first[at + 8 : at + 12])
