"""Files that are not what they say: sounds, pictures and videos that were cut, flipped, spliced and
lied about, and bombs that were built. The same seed makes the same files."""

import io
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from fakes import sound_file, speech_like, wav
from pictures import write_video
from PIL import Image

_SOUNDS = ("wav", "mp3", "m4a", "aac", "ogg", "oga", "flac", "webm", "mka")
_STILLS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")
_VIDEOS = ("mp4", "mov", "webm", "mkv")
_SIDE = 96  # pixels
_BOMB_SHARE = 0.15
# What lengths and counts are replaced by.
_LIES = (0, 1, 7, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**9)
_BOXES = (b"moov", b"trak", b"mdia", b"stbl", b"stsz", b"stts", b"stsc", b"stco", b"mdat", b"ftyp",
          b"data", b"fmt ", b"IHDR", b"IDAT", b"acTL", b"fcTL", b"VP8X", b"VP8 ", b"ANMF", b"meta",
          b"iprp", b"OpusHead", b"OggS", b"fLaC", b"Xing", b"Info", b"esds", b"avcC")  # fmt: skip


@dataclass(frozen=True)
class Mutated:
    what: str
    data: bytes
    is_sound: bool


def mutated(seed: int, count: int, avatar_share: float = 0.5) -> Iterator[Mutated]:
    choose = random.Random(seed)
    for _ in range(count):
        is_sound = choose.random() >= avatar_share
        if choose.random() < _BOMB_SHARE:
            name = choose.choice(sorted(_bombs(is_sound)))
            yield Mutated(name, _built(name, is_sound), is_sound)
            continue
        originals = sounds() if is_sound else pictures()
        name = choose.choice(sorted(originals))
        data, done = originals[name], []
        for _ in range(choose.choice((1, 1, 1, 2, 3))):
            how = choose.choice(_WAYS)
            data = how(data, choose)
            done.append(how.__name__.strip("_"))
        yield Mutated(f"{name} {'+'.join(done)}", data, is_sound)


def _bombs(is_sound: bool) -> "Bombs":
    return {**disguises(), **(sound_bombs() if is_sound else picture_bombs())}


@cache
def _built(name: str, is_sound: bool) -> bytes:
    return _bombs(is_sound)[name]()


# --- what is mutated


@cache
def sounds() -> dict[str, bytes]:
    return {name: sound_file(speech_like(0.6), name) for name in _SOUNDS} | {
        "wav f32": wav(speech_like(0.3), fmt="f32", channels=2),
        "m4a faststart": sound_file(speech_like(0.6), "m4a", options={"movflags": "faststart"}),
    }


@cache
def pictures() -> dict[str, bytes]:
    generator = np.random.default_rng(1)
    shades = generator.integers(0, 255, (6, 6, 3)).astype(np.uint8)
    image = Image.fromarray(shades).resize((_SIDE, _SIDE))
    others = [image.rotate(10 * turn) for turn in range(1, 4)]
    files = {}
    for name in _STILLS:
        file = io.BytesIO()
        image.save(file, name)
        files[name.lower()] = file.getvalue()
    for name in ("GIF", "WEBP", "PNG"):
        file = io.BytesIO()
        image.save(file, name, save_all=True, append_images=others, duration=100)
        files[f"animated {name.lower()}"] = file.getvalue()
    frames = [np.asarray(each) for each in (image, *others)]
    with tempfile.TemporaryDirectory() as folder:
        for name in _VIDEOS:
            path = Path(folder) / f"film.{name}"
            codec = "libvpx-vp9" if name == "webm" else "libx264"
            container = {"mkv": "matroska"}.get(name, name)
            write_video(path, frames, Fraction(8), container=container, codec=codec)
            files[name] = path.read_bytes()
    return files


# --- ways to do it


def _truncated(data: bytes, choose: random.Random) -> bytes:
    return data[: choose.randrange(len(data) + 1)]


def _beheaded(data: bytes, choose: random.Random) -> bytes:
    return data[choose.randrange(min(len(data), 200) + 1) :]


def _flipped(data: bytes, choose: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(choose.choice((1, 3, 20, 200)) if data else 0):
        changed[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return bytes(changed)


def _head_flipped(data: bytes, choose: random.Random) -> bytes:
    return _flipped(data[:300], choose) + data[300:]


def _lied_about(data: bytes, choose: random.Random) -> bytes:
    """A number beside a name, or anywhere, is another one."""
    known = [at for name in _BOXES if (at := data.find(name)) >= 0]
    at = choose.choice(known) + choose.choice((-4, 4, 8, 12)) if known else 0
    if choose.random() < 0.3:
        at = choose.randrange(max(1, len(data) - 4))
    at = min(max(0, at), max(0, len(data) - 4))
    lie = choose.choice(_LIES).to_bytes(4, choose.choice(("big", "little")))
    return data[:at] + lie + data[at + 4 :]


def _spliced(data: bytes, choose: random.Random) -> bytes:
    every = {**sounds(), **pictures()}
    other = every[choose.choice(sorted(every))]
    return data[: choose.randrange(len(data) + 1)] + other[choose.randrange(len(other)) :]


def _repeated(data: bytes, choose: random.Random) -> bytes:
    """A stretch of it, many times."""
    start = choose.randrange(len(data) + 1)
    stretch = data[start : start + choose.choice((1, 16, 500, 5000))]
    times = min(choose.choice((10, 300)), 10**6 // max(1, len(stretch)))
    return data[:start] + stretch * times + data[start:]


def _blanked(data: bytes, choose: random.Random) -> bytes:
    start = choose.randrange(len(data) + 1)
    size = choose.choice((4, 100, 3000))
    return data[:start] + choose.choice((b"\0", b"\xff")) * size + data[start + size :]


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _truncated, _beheaded, _flipped, _head_flipped, _lied_about, _lied_about, _spliced, _repeated,
    _blanked,
)  # fmt: skip


# --- what was built to do harm

Bombs = dict[str, Callable[[], bytes]]
_TARGET = "file:///etc/passwd"


def disguises() -> Bombs:
    """What names other files and addresses, or is a program."""
    texts = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{_TARGET}\n#EXT-X-ENDLIST\n",
        "m3u8 of an address": "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        "concat": f"ffconcat version 1.0\nfile '{_TARGET}'\n",
        "svg": '<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99">'
        f'<image href="{_TARGET}"/></svg>',
        "mpd": f'<?xml version="1.0"?><MPD><Period><BaseURL>{_TARGET}</BaseURL></Period></MPD>',
        "html": "<html><script>alert(1)</script>",
        "mvg": f"push graphic-context\nimage over 0,0 0,0 '{_TARGET}'\npop graphic-context\n",
        "postscript": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(/etc/passwd) run\n",
        "shell": "#!/bin/sh\nid > /tmp/x\n",
        "sdp": "v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    }
    made: Bombs = {name: partial_bytes(text.encode()) for name, text in texts.items()}
    made |= {
        f"{name} in {front}": partial_bytes(head + texts[name].encode())
        for name in ("m3u8", "concat")
        for front, head in {"id3": b"ID3\4" + bytes(6), "riff": b"RIFF\xff\xff\xff\xffWAVE"}.items()
    }
    made["zip"] = partial_bytes(b"PK\3\4" + bytes(26) + b"avatar.json" + bytes(500))
    made["pickle"] = partial_bytes(b"\x80\4cos\nsystem\n(S'id'\ntR.")
    made["nothing"] = partial_bytes(b"")
    made["zeros"] = partial_bytes(bytes(10**6))
    return made


def partial_bytes(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def sound_bombs() -> Bombs:
    return {
        "wav of 4 GHz": lambda: _wav_head(rate=0xFFFFFFFF),
        "wav of 65535 channels": lambda: _wav_head(channels=0xFFFF),
        "wav of no channel": lambda: _wav_head(channels=0),
        "wav that says 4 GB": lambda: _wav_head(size=0xFFFFFFFE),
        "wav of chunks": lambda: b"RIFF\xff\xff\xff\xffWAVE" + b"LIST\0\0\0\0" * 10**5,
        "flac of 2^36 samples": lambda: _flac(lambda info: info[:13] + b"\xff" * 5 + info[18:]),
        "flac of blocks of 65535": lambda: _flac(lambda info: b"\xff" * 4 + info[4:]),
        "flac of pictures": lambda: b"fLaC" + (b"\6\xff\xff\xff" + bytes(2**24 - 1)) * 2,
        "mp4 of boxes in boxes": lambda: _nested(b"moov", b"trak"),
        "mp4 of 10^9 samples": lambda: _patched("m4a", b"stsz", 12, 10**9),
        "mp4 of 10^9 times": lambda: _patched("m4a", b"stts", 8, 10**9),
        "ogg without an end": lambda: sounds()["ogg"] + sounds()["ogg"][-2000:] * 500,
        "ogg of heads": lambda: sounds()["ogg"][:200] * 5000,
        "mkv of elements": lambda: sounds()["mka"][:60] + b"\x18\x53\x80\x67\x01" * 50_000,
        "mkv that names others": _linked_mkv,
        "mp3 of tags": lambda: (b"ID3\4\0\0\0\0\0\0") * 10**5,
        "mp3 with a tag of 256 MB": lambda: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + sounds()["mp3"],
        "noise": lambda: np.random.default_rng(3).bytes(2 * 10**6),
        "mp3 frames of noise": lambda: (
            (b"\xff\xfb\x90\0" + np.random.default_rng(4).bytes(413)) * 2000
        ),
    }


def picture_bombs() -> Bombs:
    return {
        "png of 2^31 pixels a side": lambda: _png(0x7FFFFFFF, 0x7FFFFFFF),
        "png of 90 megapixels": lambda: _png(9500, 9500),
        "png of 400 megapixels": lambda: _png(20_000, 20_000),
        "png with 200 MB of text": lambda: _png(
            64, 64, b"zTXt", b"k\0\0" + zlib.compress(bytes(200 << 20), 9)
        ),
        "png with a profile of 200 MB": lambda: _png(
            64, 64, b"iCCP", b"k\0\0" + zlib.compress(bytes(200 << 20), 9)
        ),
        "apng of 2^31 frames": lambda: _png(
            64, 64, b"acTL", struct.pack(">II", 0x7FFFFFFF, 0)
        ),
        "gif of 65535 pixels a side": lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535)
        + pictures()["gif"][10:],
        "gif of 20000 frames": _gif,
        "webp of 16384 pixels a side": lambda: _webp(16_383),
        "bmp of 2^31 pixels a side": lambda: pictures()["bmp"][:18]
        + struct.pack("<ii", 0x7FFFFFFF, 0x7FFFFFFF) + pictures()["bmp"][26:],
        "tiff in a circle": lambda: b"II*\0" + struct.pack("<IHHHIII", 8, 1, 256, 4, 1, 99, 8),
        "mp4 of boxes in boxes": lambda: _nested(b"moov", b"trak"),
        "mp4 of 10^9 pictures": lambda: _patched("mp4", b"stsz", 12, 10**9),
        "mp4 of 65535 pixels": lambda: _patched("mp4", b"avc1", 28, 0xFFFFFFFF),
        "jpeg of 65535 pixels a side": _jpeg,
        "noise": lambda: np.random.default_rng(5).bytes(10**6),
    }  # fmt: skip


def _wav_head(*, rate: int = 8000, channels: int = 1, size: int = 20_000) -> bytes:
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 & 0xFFFFFFFF, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + body + bytes(20_000)


def _flac(change: Callable[[bytes], bytes]) -> bytes:
    """With another STREAMINFO, which are 34 bytes behind two heads of 4."""
    data = sounds()["flac"]
    return data[:8] + change(data[8:42]) + data[42:]


def _patched(name: str, box: bytes, at: int, number: int) -> bytes:
    data = bytearray({**sounds(), **pictures()}[name])
    place = data.index(box) + at
    data[place : place + 4] = number.to_bytes(4)
    return bytes(data)


def _nested(*names: bytes) -> bytes:
    data = b""
    for depth in range(20_000):
        data = struct.pack(">I4s", 8 + 8 * depth, names[depth % len(names)]) + data
    return struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + data


def _linked_mkv() -> bytes:
    """Segment links and file names in place of a title (RFC 9559 §5.1.2)."""
    names = b"".join(
        bytes.fromhex(name) + bytes([0x80 | 18]) + _TARGET.encode()[:18]
        for name in ("7384", "3c83ab", "3e83bb")
    )
    data = sounds()["mka"]
    at = data.index(b"\x15\x49\xa9\x66")
    return data[: at + 4] + bytes([0x80 | len(names)]) + names + data[at:]


def _png(width: int, height: int, name: bytes = b"tEXt", content: bytes = b"k\0v") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = min(height * (width // 8 + 2), 12 << 20)
    picture = chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(name, content) + picture


def _gif() -> bytes:
    frame = b"\x21\xf9\4\0\0\0\0\0" + b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\2D\1\0"
    head = b"GIF89a" + struct.pack("<HH", 64, 64) + b"\x80\0\0" + bytes(6)
    return head + frame * 20_000 + b";"


def _webp(side: int) -> bytes:
    data = pictures()["webp"]
    canvas = b"\2\0\0\0" + side.to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + data[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg() -> bytes:
    data = bytearray(pictures()["jpeg"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff" * 4
    return bytes(data)
