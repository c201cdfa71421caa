"""Reading fragmented MP4 (ISO/IEC 14496-12): just the boxes that we must be sure of."""

from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    type: bytes  # four characters
    start: int  # of the payload
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that lie side by side in `data[start:end]`; ValueError if one overruns it."""
    stop = len(data) if end is None else end
    while start < stop:
        size = int.from_bytes(data[start : start + 4])
        if size < 8 or start + size > stop:
            raise ValueError(f"box of {size} bytes at {start} overruns {stop}")
        yield Box(data[start + 4 : start + 8], start + 8, start + size)
        start += size


def find(data: bytes, path: str, start: int = 0, end: int | None = None) -> list[Box]:
    """All boxes at a path such as "moov/trak/mdia"."""
    head, _, rest = path.partition("/")
    here = [box for box in boxes(data, start, end) if box.type == head.encode()]
    if not rest:
        return here
    return [inner for box in here for inner in find(data, rest, box.start, box.end)]


def split(data: bytes) -> tuple[bytes, bytes]:
    """A chunk as init segment (ftyp, moov) and media segments (moof, mdat, …)."""
    (first_moof, *_) = find(data, "moof")
    border = first_moof.start - 8
    return data[:border], data[border:]


def mime_type(init: bytes) -> str:
    """`video/mp4; codecs="…"` (RFC 6381) as the init segment's own bytes say."""
    codecs = []
    for stsd in find(init, "moov/trak/mdia/minf/stbl/stsd"):
        # FullBox header and entry_count come before the sample entries (§8.5.2).
        for entry in boxes(init, stsd.start + 8, stsd.end):
            if entry.type == b"avc1":
                codecs.append(_avc_codec(init, entry))
            elif entry.type == b"mp4a":
                codecs.append(_aac_codec(init, entry))
    return f'video/mp4; codecs="{",".join(codecs)}"'


def _avc_codec(init: bytes, entry: Box) -> str:
    # VisualSampleEntry has 78 bytes of fields before its boxes (§12.1.3).
    (avcc,) = find(init, "avcC", entry.start + 78, entry.end)
    # AVCProfileIndication, profile_compatibility, AVCLevelIndication (ISO/IEC 14496-15 §5.3.3).
    return f"avc1.{init[avcc.start + 1 : avcc.start + 4].hex().upper()}"


def _aac_codec(init: bytes, entry: Box) -> str:
    # AudioSampleEntry has 28 bytes of fields before its boxes (§12.2.3).
    (esds,) = find(init, "esds", entry.start + 28, entry.end)
    # Descriptors nest: ES_Descriptor (3) > DecoderConfigDescriptor (4) > DecoderSpecificInfo (5),
    # whose first five bits are the audioObjectType (ISO/IEC 14496-1 §7.2.6, 14496-3 §1.6.2.1).
    at, object_type = esds.start + 4, 0
    while at < esds.end:
        tag = init[at]
        at += 1
        size = 0
        while True:  # expandable size: seven bits per byte, the top bit says "more"
            size = size << 7 | init[at] & 0x7F
            at += 1
            if not init[at - 1] & 0x80:
                break
        if tag == 3:
            at += 3
        elif tag == 4:
            at += 13
        elif tag == 5:
            object_type = init[at] >> 3
            break
        else:
            at += size
    return f"mp4a.40.{object_type}"


def base_media_decode_times(media: bytes) -> list[int]:
    """`baseMediaDecodeTime` of every track fragment, in order (§8.8.12)."""
    times = []
    for tfdt in find(media, "moof/traf/tfdt"):
        width = 8 if media[tfdt.start] == 1 else 4  # version 1 has 64 bits
        times.append(int.from_bytes(media[tfdt.start + 4 : tfdt.start + 4 + width]))
    return times
