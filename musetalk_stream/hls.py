"""Chunks of an utterance as HTTP Live Streaming lists (RFC 8216, draft-pantos-hls-rfc8216bis):
text from facts. The chunk files stay as they are."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .errors import InvalidParameter
from .schedule import MIN_TAIL_S
from .timeline import chunk_frames

CONTENT_TYPE = "application/vnd.apple.mpegurl"  # RFC 8216 §10
# What a client adds to a media list's address to wait for a segment (bis §6.2.5.2).
MEDIA_SEQUENCE = "_HLS_msn"
# Of a talking head, with its share of keyframes, at this `crf`: some three times what is usual.
_MOST_BITS_PER_PIXEL, _CRF = 0.5, 23
_MICROSECOND = 1_000_000
_CODECS = re.compile(r'codecs="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Segment:
    """One announced chunk: its file's name and bytes, of which the first `init_size` are the init
    segment, and its exact duration in seconds."""

    name: str
    size: int
    init_size: int
    duration: Fraction

    @property
    def media_size(self) -> int:
        return self.size - self.init_size


def target_duration_s(chunk_duration_s: float, fps: Fraction) -> int:
    """Whole seconds that no chunk of a session exceeds, rounded (RFC 8216 §4.3.3.1: it must not
    change): a full chunk, or an only one to which a tail was added."""
    longest_s = Fraction(chunk_frames(chunk_duration_s, fps)) / fps + MIN_TAIL_S
    return max(1, round(longest_s))


def media_list(
    segments: Sequence[Segment], *, folder: str, target_s: int, is_whole: bool, query: str = ""
) -> str:
    """The list of one utterance; it grows at its end until it `is_whole`.

    folder  where the chunks are, as seen from the list, with a slash at its end
    query   of their addresses, with its question mark
    """
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",  # byte ranges (4), EXT-X-MAP (6), fMP4 as hls.js and Apple expect it
        f"#EXT-X-TARGETDURATION:{target_s}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        # From the beginning: players that load a growing list begin near its end otherwise. Not 0,
        # which shaka-player 5 takes for nothing; that the segment is played whole, NO says.
        "#EXT-X-START:TIME-OFFSET=0.001,PRECISE=NO",
        # The first chunk is far shorter than the target duration, after which players would
        # look again: those that know how wait for the next one instead (bis §4.4.3.8).
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES",
    ]
    if segments:
        first = segments[0]
        lines.append(
            f'#EXT-X-MAP:URI="{folder}{first.name}{query}",BYTERANGE="{first.init_size}@0"'
        )
    end = Fraction(0)
    for segment in segments:
        start, end = end, end + segment.duration
        # Rounded where they stand, not each by itself: their sum is exact however many there are.
        lasts = round(end * _MICROSECOND) - round(start * _MICROSECOND)
        lines += [
            f"#EXTINF:{lasts // _MICROSECOND}.{lasts % _MICROSECOND:06d},",
            f"#EXT-X-BYTERANGE:{segment.media_size}@{segment.init_size}",
            folder + segment.name + query,
        ]
    if is_whole:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def master_list(
    segments: Sequence[Segment],
    *,
    media_url: str,
    mime: str,
    size: tuple[int, int],
    fps: Fraction,
    target_s: int,
    most_bits_per_s: int | None,
) -> str:
    """The list that says of an utterance what a player must be able to do (RFC 8216 §4.3.4.2).

    segments         one at least
    mime             `video/mp4; codecs="…"`
    most_bits_per_s  that segments to come may have; None: these are all
    """
    codecs = _CODECS.search(mime)
    assert codecs, f"no codecs in {mime}"
    peak = max(peak_bits_per_s(segments, target_s), most_bits_per_s or 0)
    attributes = [f"BANDWIDTH={peak}"]
    if most_bits_per_s is None:
        attributes.append(f"AVERAGE-BANDWIDTH={_bits_per_s(segments)}")
    attributes += [
        f'CODECS="{codecs[1]}"',
        f"RESOLUTION={size[0]}x{size[1]}",
        f"FRAME-RATE={float(fps):.3f}",
    ]
    return (
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        f"#EXT-X-STREAM-INF:{','.join(attributes)}\n{media_url}\n"
    )


def peak_bits_per_s(segments: Sequence[Segment], target_s: int) -> int:
    """The highest rate of segments in a row that last 0.5 to 1.5 target durations together (RFC
    8216 §4.3.4.2); of all where there is too little for that."""
    rates = [_bits_per_s(segments)]
    for first in range(len(segments)):
        lasts, last = Fraction(0), first
        while last < len(segments) and 2 * lasts < 3 * target_s:
            lasts += segments[last].duration
            last += 1
            if target_s <= 2 * lasts <= 3 * target_s:
                rates.append(_bits_per_s(segments[first:last]))
    return max(rates)


def _bits_per_s(segments: Sequence[Segment]) -> int:
    bits = 8 * sum(segment.media_size for segment in segments)
    return math.ceil(bits / sum(segment.duration for segment in segments))


def most_bits_per_s(*, size: tuple[int, int], fps: Fraction, crf: float, audio_kbps: int) -> int:
    """What an encoder of constant quality is not seen to exceed: it promises no rate. Six steps of
    `crf` are a factor of two."""
    width, height = size
    bits_per_pixel = _MOST_BITS_PER_PIXEL * 2 ** ((_CRF - crf) / 6)
    return math.ceil(width * height * fps * bits_per_pixel + 2000 * audio_kbps)


def wanted_segments(raw: str | None, num_segments: int) -> int:
    """How many segments a list must have (or be whole) before it is answered: one at least, and
    those up to what the client waits for. Raises InvalidParameter."""
    if raw is None:
        return 1
    # Further ahead than the next but one is no list of ours (bis §6.2.5.2).
    most = max(0, num_segments - 1) + 2
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 9) or int(raw) > most:
        raise InvalidParameter(
            MEDIA_SEQUENCE, f"must be a media sequence number from 0 to {most}, not {raw[:20]!r}"
        )
    return int(raw) + 1
