"""Reading boxes: by hand-made bytes, and against mp4box on real ones."""

from fractions import Fraction
from pathlib import Path

import pytest
from fakes import as_sound, make_avatar, tone
from media import mp4box, needs_mp4box

from musetalk_stream import fmp4
from musetalk_stream.blend import i420_planes
from musetalk_stream.config import EncoderConfig
from musetalk_stream.encode import UtteranceEncoder


def box(kind: str, payload: bytes = b"") -> bytes:
    return (len(payload) + 8).to_bytes(4) + kind.encode() + payload


def tfdt(time: int, version: int) -> bytes:
    return box("tfdt", bytes([version, 0, 0, 0]) + time.to_bytes(8 if version else 4))


def fragment(*times: tuple[int, int]) -> bytes:
    trafs = b"".join(box("traf", box("tfhd", bytes(8)) + tfdt(*time)) for time in times)
    return box("moof", box("mfhd", bytes(8)) + trafs) + box("mdat", b"moof")


def test_boxes_lie_side_by_side() -> None:
    data = box("ftyp", b"isom") + box("free") + box("moov", b"x")
    assert [(each.type, data[each.start : each.end]) for each in fmp4.boxes(data)] == [
        (b"ftyp", b"isom"),
        (b"free", b""),
        (b"moov", b"x"),
    ]
    assert list(fmp4.boxes(b"")) == []


@pytest.mark.parametrize("data", [b"\0\0\0\7free", b"\0\0\0\x20free", b"\0\0\0", b"\0\0\0\0mdat"])
def test_a_box_that_overruns_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="overruns"):
        list(fmp4.boxes(data))


def test_find_follows_every_branch() -> None:
    data = box("moov", box("trak", box("mdia", b"")) + box("trak", box("mdia", b"")) + box("mvex"))
    assert len(fmp4.find(data, "moov/trak/mdia")) == 2
    assert len(fmp4.find(data, "moov/mvex")) == 1
    assert fmp4.find(data, "moov/trak/minf") == []


def test_split_at_the_first_moof() -> None:
    init, media = box("ftyp") + box("moov"), fragment((0, 0)) + fragment((1, 0))
    assert fmp4.split(init + media) == (init, media)
    with pytest.raises(ValueError, match="unpack"):
        fmp4.split(init)


def test_decode_times_in_both_widths() -> None:
    media = fragment((0, 0), (2**31, 0)) + fragment((2**40, 1), (7, 1))
    assert fmp4.base_media_decode_times(media) == [0, 2**31, 2**40, 7]


def sample_entry(kind: str, fields: int, child: bytes) -> bytes:
    stsd = box("stsd", bytes(8) + box(kind, bytes(fields) + child))
    return box("trak", box("mdia", box("minf", box("stbl", stsd))))


def descriptor(tag: int, payload: bytes, *, wide: bool = False) -> bytes:
    size = len(payload)
    length = bytes([0x80, 0x80, 0x80, size]) if wide else bytes([size])
    return bytes([tag]) + length + payload


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("config", "codec"), [(b"\x11\x90", "2"), (b"\x2b\x11", "5")])
def test_codec_string(wide: bool, config: bytes, codec: str) -> None:
    specific = descriptor(5, config, wide=wide)
    decoder = descriptor(4, bytes(13) + specific, wide=wide)
    esds = box("esds", bytes(4) + descriptor(3, bytes(3) + decoder, wide=wide))
    avcc = box("avcC", b"\x01\x64\x00\x1f\xff")
    init = box("ftyp") + box(
        "moov",
        sample_entry("avc1", 78, box("pasp") + avcc) + sample_entry("mp4a", 28, box("btrt") + esds),
    )
    assert fmp4.mime_type(init) == f'video/mp4; codecs="avc1.64001F,mp4a.40.{codec}"'


@needs_mp4box
def test_real_chunks_read_the_same_by_mp4box(tmp_path: Path) -> None:
    avatar = make_avatar(tmp_path)
    fps = Fraction(25)
    encoder = UtteranceEncoder(
        width=128, height=128, fps=fps, sound=as_sound(tone(1.0)), settings=EncoderConfig()
    )
    paths = []
    for index in range(3):
        for frame in range(8):
            encoder.add(i420_planes(avatar.frames[frame]), None)
        paths.append(tmp_path / f"{index}.mp4")
        paths[-1].write_bytes(encoder.cut())
    encoder.close()
    for path, seen in zip(paths, mp4box(*paths), strict=True):
        init, media = fmp4.split(path.read_bytes())
        assert [box.type.decode() for box in fmp4.boxes(init + media)] == seen["boxes"]
        assert fmp4.base_media_decode_times(media) == seen["tfdt"][0]
        assert fmp4.mime_type(init).split('"')[1].lower() in seen["mime"].lower()
