"""What comes in: which files may become an avatar, how they are refused, what becomes of them."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from pictures import (
    COLOURS,
    HEIGHT,
    WIDTH,
    chart,
    levels,
    quarters,
    turn,
    write_video,
)
from PIL import Image, ImageCms

from musetalk_stream.blend import i420_planes
from musetalk_stream.config import PrepareConfig
from musetalk_stream.errors import (
    BadRequest,
    DamagedMedia,
    EmptyMedia,
    MediaTooLarge,
    MediaTooLong,
    UnsupportedMedia,
)
from musetalk_stream.prepare.ffmpeg_process import ffmpeg_binary
from musetalk_stream.prepare.media import Kind, Media, examine, motion_rate, scaled_size
from musetalk_stream.prepare.pictures import pictures, read_still
from musetalk_stream.prepare.source import write_source
from musetalk_stream.renderers.musetalk.box import Box
from musetalk_stream.renderers.musetalk.colour import bgr_of

LIMITS = PrepareConfig()
SIZE = (WIDTH, HEIGHT)
Bytes = npt.NDArray[np.uint8]


def still(path: Path) -> Bytes:
    """A still as RGB, through the same two calls as in a preparation."""
    media = examine(path, LIMITS)
    assert media.kind is Kind.STILL
    assert (media.fps, media.duration_s) == (None, None)
    size = scaled_size(media, 1280)
    picture = read_still(path, media, size)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.flags.c_contiguous
    return picture[..., ::-1]


def moving(path: Path, fps: Fraction | None = None) -> list[Bytes]:
    """All pictures of an animation or video as RGB, at their own rate or at another."""
    media = examine(path, LIMITS)
    size = scaled_size(media, 1280)
    with pictures(path, media, size, fps or motion_rate(media, 30)) as frames:
        return [rgb(frame) for frame in frames]


def rgb(frame: Bytes) -> Bytes:
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    return bgr_of(i420_planes(frame), Box(0, 0, width, height))[..., ::-1]


def grey_levels(frames: list[Bytes]) -> list[int]:
    return [round(float(frame.mean())) for frame in frames]


def assert_colours(picture: Bytes, order: tuple[int, ...] = (0, 1, 2, 3), within: int = 3) -> None:
    expected = np.array([COLOURS[index] for index in order])
    assert np.abs(quarters(picture) - expected).max() <= within, quarters(picture)


def photo(path: Path, picture: Bytes | None = None, **options: Any) -> Path:
    Image.fromarray(chart() if picture is None else picture).save(path, **options)
    return path


# --- stills

LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("photo.png", {}),
    ("photo.bmp", {}),
    ("photo.tiff", {"compression": "tiff_lzw"}),
    ("photo.webp", {"lossless": True}),
    ("photo.jpg", {"quality": 95}),
    ("photo.avif", {"quality": 95}),
]


@pytest.mark.parametrize(("name", "options"), LOSSLESS)
def test_photos(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    # By their content: an upload has no ending.
    path = photo(tmp_path / name, **options).rename(tmp_path / "upload")
    assert_colours(still(path))


# What is above and below, left and right in the file, by EXIF orientation of an upright chart.
TURNED = {
    1: (0, 1, 2, 3), 2: (1, 0, 3, 2), 3: (3, 2, 1, 0), 4: (2, 3, 0, 1),
    5: (0, 2, 1, 3), 6: (2, 0, 3, 1), 7: (3, 1, 2, 0), 8: (1, 3, 0, 2),
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff"])
def test_photos_are_turned_upright(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = photo(tmp_path / name, exif=exif)
    media = examine(path, LIMITS)
    assert (media.width, media.height) == (SIZE if orientation < 5 else SIZE[::-1])
    assert_colours(still(path), TURNED[orientation], within=4)


def test_a_large_photo_is_scaled(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", chart(3000, 2001), quality=90)
    media = examine(path, LIMITS)
    assert scaled_size(media, 1280) == (1280, 854)
    assert_colours(still(path))


def test_cmyk(tmp_path: Path) -> None:
    Image.fromarray(chart()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert_colours(still(tmp_path / "a.jpg"), within=6)


def test_a_profile_says_what_the_colours_mean(tmp_path: Path) -> None:
    # In this one, red and blue have changed places.
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    path = photo(tmp_path / "a.png", chart()[..., ::-1], icc_profile=bytes(swapped))
    assert_colours(still(path))


def test_a_broken_profile_is_passed_over(tmp_path: Path) -> None:
    assert_colours(still(photo(tmp_path / "a.png", icc_profile=b"no profile" * 20)))


def test_16_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    Image.fromarray(np.tile(ramp, (HEIGHT, 1))).save(tmp_path / "a.png")
    row = still(tmp_path / "a.png")[0, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, WIDTH)).max() <= 1
    Image.fromarray(np.tile(ramp, (HEIGHT, 1))).save(tmp_path / "a.tiff")
    assert np.abs(still(tmp_path / "a.tiff")[0, :, 0].astype(int) - row).max() <= 1


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_other_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(chart()).convert(mode)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB"))
    assert np.abs(quarters(still(tmp_path / "a.png")) - quarters(expected)).max() <= 3


def test_behind_what_is_transparent_is_light_grey(tmp_path: Path) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, : WIDTH // 2] = 0
    photo(tmp_path / "a.png", np.concatenate([chart(), alpha], axis=2))
    picture = still(tmp_path / "a.png")
    assert np.array_equal(quarters(picture)[[0, 2]], [[208] * 3] * 2)
    assert np.array_equal(quarters(picture)[[1, 3]], [COLOURS[1], COLOURS[3]])
    palette = Image.fromarray(chart()).quantize(4)
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    assert np.array_equal(quarters(still(tmp_path / "b.png"))[0], [208] * 3)


def test_a_photo_for_two_eyes_is_one_photo(tmp_path: Path) -> None:
    second = Image.fromarray(chart()[::-1])
    photo(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    assert_colours(still(tmp_path / "a.jpg"))


def test_a_video_of_one_picture_is_a_still(tmp_path: Path) -> None:
    assert_colours(still(write_video(tmp_path / "a.mp4", [chart()])))


# --- animations


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations(tmp_path: Path, name: str) -> None:
    first, *others = (Image.fromarray(picture) for picture in levels(5))
    options: dict[str, Any] = {"lossless": True} if name == "a.webp" else {}
    first.save(tmp_path / name, save_all=True, append_images=others, loop=0,
               duration=[40, 40, 80, 40, 40], **options)  # fmt: skip
    media = examine(tmp_path / name, LIMITS)
    assert (media.kind, media.duration_s) == (Kind.ANIMATION, 0.24)
    assert media.fps == Fraction(125, 6)
    shown = grey_levels(moving(tmp_path / name, Fraction(25)))
    assert np.abs(np.array(shown) - [20, 30, 40, 40, 50, 60]).max() <= 1


def test_an_animation_of_one_picture_is_a_still(tmp_path: Path) -> None:
    assert_colours(still(photo(tmp_path / "a.gif", save_all=True)), within=12)


def test_pictures_that_do_not_say_how_long_take_a_tenth_of_a_second(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(picture) for picture in levels(4))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=0)
    assert examine(tmp_path / "a.gif", LIMITS).duration_s == 0.4


# --- videos


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"colorspace": 6}),  # BT.601
        ("a.mp4", {"colorspace": 2}),  # untagged and small: BT.601, too
        ("a.mov", {"container": "mov", "pix_fmt": "yuv444p"}),
        ("a.mkv", {"container": "matroska"}),
        ("a.avi", {"container": "avi", "codec": "mpeg4", "colorspace": 2}),
        ("a.webm", {"container": "webm", "codec": "libvpx", "colorspace": 6}),
        ("live.webm", {"container": "webm", "codec": "libvpx", "colorspace": 6,
                       "format_options": {"live": "1"}}),  # without a length, as browsers record
    ],
)  # fmt: skip
def test_videos(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = write_video(tmp_path / name, [chart()] * 10, 25, **options)
    path = path.rename(tmp_path / "up: load-[x]'%d")
    media = examine(path, LIMITS)
    assert (media.kind, media.width, media.height) == (Kind.VIDEO, WIDTH, HEIGHT)
    assert media.fps == 25
    assert media.duration_s == pytest.approx(0.4)
    frames = moving(path)
    assert len(frames) == 10
    assert_colours(frames[0])
    assert_colours(frames[-1])


def test_an_untagged_hd_video_is_taken_for_bt709(tmp_path: Path) -> None:
    frames = [chart(1280, 720)] * 2
    path = write_video(tmp_path / "a.mp4", frames, colorspace=2, matrix="ITU709")
    assert_colours(moving(path)[0])


@pytest.mark.parametrize(
    ("degrees", "order"), [(90, TURNED[6]), (180, TURNED[3]), (270, TURNED[8])]
)
def test_videos_are_turned_upright(tmp_path: Path, degrees: int, order: tuple[int, ...]) -> None:
    path = write_video(tmp_path / "a.mp4", [chart()] * 3)
    turn(path, degrees)
    media = examine(path, LIMITS)
    assert (media.width, media.height) == (SIZE if degrees == 180 else SIZE[::-1])
    assert_colours(moving(path)[0], order)


def test_pixels_become_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [chart()] * 3, aspect=Fraction(4, 3))
    media = examine(path, LIMITS)
    assert (media.width, media.height) == (256, 128)
    assert_colours(moving(path)[0])


def test_what_a_phone_trimmed_does_not_count(tmp_path: Path) -> None:
    """The edit list of ISO 14496-12, 8.6.6, plays the first half second of two."""
    path = write_video(tmp_path / "a.mp4", levels(50), 25, options={"bf": "0", "crf": "1"})
    file = bytearray(path.read_bytes())
    header, edit = file.index(b"mvhd") + 4, file.index(b"elst") + 4
    (timescale,) = struct.unpack_from(">I", file, header + 12)
    struct.pack_into(">I", file, header + 16, timescale // 2)
    struct.pack_into(">I", file, edit + 8, timescale // 2)
    path.write_bytes(file)
    assert examine(path, PrepareConfig(max_avatar_s=1)).duration_s == pytest.approx(0.5, abs=0.05)
    assert len(moving(path)) in (12, 13)


def test_interlaced_videos_lose_their_combs(tmp_path: Path) -> None:
    frames = []
    for index in range(4):  # a bar that moves on between the two fields of a frame
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for field in (0, 1):
            left = 40 + 16 * (2 * index + field)
            frame[field::2, left : left + 40] = 200
        frames.append(frame)
    lossless = {"crf": "1"}
    woven = moving(write_video(tmp_path / "a.mp4", frames, options=lossless))[1]
    flagged = lossless | {"x264-params": "tff=1"}
    apart = moving(write_video(tmp_path / "b.mp4", frames, options=flagged))
    assert len(apart) == 4

    def combing(picture: Bytes) -> float:
        return float(np.abs(np.diff(picture[..., 1].astype(int), axis=0)).mean())

    assert combing(apart[1]) < combing(woven) / 2


@pytest.mark.parametrize(("transfer", "code"), [(16, 148), (18, 192)])
def test_hdr_becomes_sdr(tmp_path: Path, transfer: int, code: int) -> None:
    """White paper, 203 cd/m² (ITU-R BT.2408: 58 % PQ, 75 % HLG), is bright; nothing is tinted."""
    for colorspace in (9, 2):
        path = write_video(
            tmp_path / f"{colorspace}.mp4", [np.full((HEIGHT, WIDTH, 3), code, np.uint8)] * 2,
            pix_fmt="yuv420p10le", colorspace=colorspace, transfer=transfer,
        )  # fmt: skip
        shown = moving(path)[0]
        assert 180 <= shown.mean() <= 210
        assert np.ptp(shown) <= 1


def test_a_variable_rate_becomes_constant(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", levels(6), instants=[500, 600, 700, 1000, 1100, 1200],
        options={"crf": "1"},
    )  # fmt: skip
    shown = grey_levels(moving(path, Fraction(10)))
    expected = [20, 30, 40, 40, 40, 50, 60]
    assert np.abs(np.array(shown[:7]) - expected).max() <= 2
    assert len(shown) <= 8


def joined(path: Path, parts: list[Path]) -> Path:
    """One stream of the packets of several, of ten pictures each."""
    with av.open(str(path), "w", format="webm") as out, av.open(str(parts[0])) as first:
        stream = out.add_stream_from_template(first.streams.video[0])
        for index, part in enumerate(parts):
            with av.open(str(part)) as container:
                for packet in container.demux(video=0):
                    if packet.pts is not None:
                        packet.pts = packet.dts = packet.pts + 400 * index
                        packet.stream = stream
                        out.mux(packet)
    return path


@pytest.mark.parametrize("other", [(96, 128), (384, 256)])
def test_pictures_may_change_their_size_midway(tmp_path: Path, other: tuple[int, int]) -> None:
    parts = [
        write_video(tmp_path / f"{number}.webm", shown, container="webm", codec="libvpx")
        for number, shown in enumerate((levels(10), levels(10, *other)))
    ]
    path = joined(tmp_path / "a.webm", parts)
    shown = grey_levels(moving(path, Fraction(25)))
    assert len(shown) == 20
    assert np.abs(np.array(shown) - [*range(20, 120, 10)] * 2).max() <= 4


def test_every_second_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", levels(12), 60, options={"crf": "1", "bf": "0"})
    shown = grey_levels(moving(path))
    assert len(shown) == 6
    assert np.abs(np.diff(shown) - 20).max() <= 2


@pytest.mark.parametrize(
    ("fps", "most", "rate"),
    [
        (25, 30, 25),
        (Fraction(30000, 1001), 30, Fraction(30000, 1001)),
        (60, 30, 30),
        (Fraction(60000, 1001), 30, Fraction(30000, 1001)),
        (50, 30, 25),
        (48, 30, 24),
        (90, 30, 30),
        (240, 30, 30),
        (30, 25, 25),  # half of it would be too few
        (Fraction(2987, 100), 30, Fraction(30)),  # a phone that was busy now and then
        (Fraction(283, 10), 30, 30),
        (22, 30, 24),
        (Fraction(100, 3), 30, 30),
        (1, 30, 10),
        (1, 5, 5),
        (1000, 30, 30),
    ],
)
def test_rates(fps: Fraction | int, most: float, rate: Fraction | int) -> None:
    media = Media(Kind.VIDEO, WIDTH, HEIGHT, Fraction(fps), 1.0)
    assert motion_rate(media, most) == rate


@pytest.mark.parametrize(
    ("size", "side", "scaled"),
    [
        ((1920, 1080), 1280, (1280, 720)),
        ((1080, 1920), 1280, (720, 1280)),
        ((640, 481), 1280, (640, 480)),
        ((333, 777), 100, (42, 100)),
        ((1280, 1280), 1280, (1280, 1280)),
    ],
)
def test_sizes(size: tuple[int, int], side: int, scaled: tuple[int, int]) -> None:
    assert scaled_size(Media(Kind.STILL, *size, None, None), side) == scaled


# --- what is refused


def png(width: int, height: int) -> bytes:
    """A header of that size, and not much behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def gif(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("L", (width, height)).save(file, "GIF")
    return file.getvalue()


def jpeg() -> bytes:
    file = BytesIO()
    Image.fromarray(chart()).save(file, "JPEG")
    return file.getvalue()


def song(folder: Path) -> bytes:
    path = folder / "song.mp3"
    with av.open(str(path), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=44100)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path.read_bytes()


def with_cover(song: bytes) -> bytes:
    """ID3v2.3 with an attached picture before it."""
    picture = b"\0image/jpeg\0\x03\0" + jpeg()
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame + song


def noise(count: int) -> list[Bytes]:
    random = np.random.default_rng(1)
    return [random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(count)]


def front_loaded(folder: Path) -> bytes:
    """A video whose index comes first, so that it opens however short it is."""
    options = {"movflags": "faststart"}
    return write_video(folder / "a.mp4", noise(75), format_options=options).read_bytes()


def slow(folder: Path, container: str, codec: str, **options: Any) -> bytes:
    """Two hours in 24 pictures."""
    path = write_video(
        folder / "slow", [chart(64, 64)] * 24, instants=[300_000 * k for k in range(24)],
        container=container, codec=codec, **options,
    )  # fmt: skip
    return path.read_bytes()


def huge(folder: Path) -> bytes:
    frames = [np.zeros((4320, 7680, 3), np.uint8)] * 2
    return write_video(folder / "8k.mp4", frames, options={"preset": "ultrafast"}).read_bytes()


def cut_gif(folder: Path) -> bytes:
    first, *others = (Image.fromarray(picture) for picture in noise(4))
    first.save(folder / "a.gif", save_all=True, append_images=others, duration=100)
    return (folder / "a.gif").read_bytes()[:-20_000]


def garbled(folder: Path) -> bytes:
    file = front_loaded(folder)
    start = file.index(b"mdat") + 8
    return file[:start] + np.random.default_rng(2).bytes(len(file) - start)


def zeroed(file: bytes, keep: int) -> bytes:
    """An MP4 of whose pictures only the first bytes are there."""
    start = file.index(b"mdat") + 4 + keep
    return file[:start] + bytes(len(file) - start)


REFUSED: dict[str, tuple[Callable[[Path], bytes], type[BadRequest], str]] = {
    "nothing": (lambda _: b"", EmptyMedia, "0 bytes"),
    "text": (lambda _: b"This is not a picture.\n" * 50, UnsupportedMedia, "neither"),
    "playlist": (lambda _: b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", UnsupportedMedia,
                 "neither"),
    "script": (lambda _: b"ffconcat version 1.0\nfile '/etc/passwd'\n", UnsupportedMedia,
               "neither"),
    "drawing": (lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMedia,
                "neither"),
    "program": (lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", UnsupportedMedia,
                "neither"),
    "heic": (lambda _: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), UnsupportedMedia, "JPEG"),
    "song": (song, UnsupportedMedia, "no picture"),
    "song with cover": (lambda folder: with_cover(song(folder)), UnsupportedMedia, "cover"),
    "small": (lambda _: gif(63, 500), UnsupportedMedia, "at least 64"),
    "bomb": (lambda _: png(30_000, 30_000), MediaTooLarge, "megapixels; the limit is 100"),
    "large": (lambda _: png(15_000, 10_000), MediaTooLarge, "150.0 megapixels; the limit is 100"),
    "8k": (huge, MediaTooLarge, "7680 x 4320 pixels.* the limit is 9"),
    "two hours": (lambda folder: slow(folder, "mp4", "mpeg4"), MediaTooLong, "the limit is 60 s"),
    "two hours, secretly": (
        lambda folder: slow(folder, "webm", "libvpx", format_options={"live": "1"}),
        MediaTooLong, "more than 60 s",
    ),
    "cut photo": (lambda _: jpeg()[:-300], DamagedMedia, "send it again"),
    "cut header": (lambda _: jpeg()[:100], DamagedMedia, "send it again"),
    "empty png": (lambda _: png(300, 300), DamagedMedia, "send it again"),
    "cut animation": (cut_gif, DamagedMedia, "send it again"),
    "cut video": (lambda folder: front_loaded(folder)[:500_000], DamagedMedia, "cut off"),
    "cut index": (
        lambda folder: write_video(folder / "a.mp4", noise(3)).read_bytes()[:9000],
        DamagedMedia, "send it again",
    ),
    "video of one picture that is left": (
        lambda folder: zeroed(front_loaded(folder), 10_000), DamagedMedia, "only one of 75",
    ),
    "garbled video": (garbled, DamagedMedia, "no picture in the video"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    make, error, words = REFUSED[name]
    upload = tmp_path / "upload"
    upload.write_bytes(make(tmp_path))
    with pytest.raises(error, match=words) as caught:
        examine(upload, LIMITS)
    assert type(caught.value) is error


def test_a_video_that_is_damaged_midway_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(zeroed(front_loaded(tmp_path), 600_000))
    with pytest.raises(DamagedMedia, match=r"only \d.\d s of 3.0 s"):
        moving(tmp_path / "a.mp4", Fraction(25))
    # Its first words, whole, without the part of FFmpeg that says them.
    (tmp_path / "a.mp4").write_bytes(zeroed(front_loaded(tmp_path), 60_000))
    with pytest.raises(DamagedMedia, match=r"can't be decoded \((error|Invalid) [^]]+\): conv"):
        moving(tmp_path / "a.mp4", Fraction(25))


def test_small_videos_and_strips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="at least 64"):
        examine(write_video(tmp_path / "a.mp4", levels(2, 64, 32)), LIMITS)
    with pytest.raises(UnsupportedMedia, match="strip"):
        examine(photo(tmp_path / "a.png", chart(1000, 100)), LIMITS)


def test_limits_are_those_configured(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", chart(600, 500))
    with pytest.raises(MediaTooLarge, match=r"0\.3 megapixels; the limit is 0\.2"):
        examine(path, PrepareConfig(max_photo_mp=0.2))
    examine(path, PrepareConfig(max_photo_mp=0.3))
    first, *others = (Image.fromarray(picture) for picture in levels(3, 600, 500))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=500)
    with pytest.raises(MediaTooLarge, match="the animation"):
        examine(tmp_path / "a.gif", PrepareConfig(max_video_mp=0.2))
    with pytest.raises(MediaTooLong, match="the limit of 1 s"):
        examine(tmp_path / "a.gif", PrepareConfig(max_avatar_s=1))


def test_more_than_pillow_itself_allows_may_be_allowed(tmp_path: Path) -> None:
    allowed = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(png(15_000, 15_000))
    with pytest.raises(DamagedMedia):  # not too large: it was read to where it ends
        examine(tmp_path / "a.png", PrepareConfig(max_photo_mp=300))
    assert allowed == Image.MAX_IMAGE_PIXELS, "it is put back"


def test_a_missing_file_is_not_the_senders_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        examine(tmp_path / "nothing", LIMITS)


# --- the process that reads videos


def children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


@pytest.fixture
def long_video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "long.mp4", [chart()] * 60, 25)


def open_pictures(path: Path, **options: float) -> Any:
    return pictures(path, examine(path, LIMITS), SIZE, Fraction(25), **options)


def test_no_process_stays_when_the_block_ends_early(long_video: Path) -> None:
    before = children()
    with open_pictures(long_video) as frames:
        next(frames)
        assert len(children()) == len(before) + 1
    assert children() == before


def test_no_process_stays_after_an_error(long_video: Path) -> None:
    before = children()

    def fail() -> None:
        with open_pictures(long_video) as frames:
            next(frames)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert children() == before


def test_no_process_stays_after_the_last_picture(long_video: Path) -> None:
    before = children()
    with open_pictures(long_video) as frames:
        assert len(list(frames)) == 60
        assert children() == before


def test_a_decoder_that_hangs_is_given_up(long_video: Path) -> None:
    before = children()
    with open_pictures(long_video, stall_s=0.5) as frames:
        next(frames)
        (pid,) = set(children()) - set(before)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DamagedMedia, match=r"no picture for 0\.5 s"):
            list(frames)
    assert children() == before


def test_a_decoder_that_is_killed_is_an_error(long_video: Path) -> None:
    before = children()
    with open_pictures(long_video) as frames:
        next(frames)
        (pid,) = set(children()) - set(before)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DamagedMedia, match="can't be decoded"):
            list(frames)


def test_a_file_that_is_longer_than_it_was_ends(tmp_path: Path, long_video: Path) -> None:
    media = examine(write_video(tmp_path / "short.mp4", [chart()] * 5, 25), LIMITS)
    with (
        pytest.raises(MediaTooLong, match="goes on"),
        pictures(long_video, media, SIZE, Fraction(25)) as frames,
    ):
        list(frames)


def test_a_file_that_changes_is_an_error(long_video: Path) -> None:
    media = examine(long_video, LIMITS)
    long_video.write_bytes(b"ffconcat version 1.0\nfile '/etc/passwd'\n")
    with (
        pytest.raises(DamagedMedia, match="can't be decoded"),
        pictures(long_video, media, SIZE, Fraction(25)) as frames,
    ):
        list(frames)


ORPHAN = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_media import Path, children, open_pictures
with open_pictures(Path(sys.argv[1])) as frames:
    next(frames)
    print(*children(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_ffmpeg_does_not_outlive_a_killed_process(long_video: Path) -> None:
    here = str(Path(__file__).parent)
    run = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(long_video), here], stdout=subprocess.PIPE, text=True
    )
    assert run.returncode == -signal.SIGKILL
    state = Path(f"/proc/{int(run.stdout)}/stat")
    for _ in range(100):
        # Whoever adopts it may take its time to reap it.
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("ffmpeg is still there")


def test_there_is_an_ffmpeg_where_none_is_installed(
    monkeypatch: pytest.MonkeyPatch, long_video: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "imageio_ffmpeg" in ffmpeg_binary()
    frames = moving(long_video)
    assert len(frames) == 60
    assert_colours(frames[0])


# --- what is kept


def i420_frames(count: int) -> Iterator[Bytes]:
    """Soft moving shapes with a little noise, as cameras see."""
    random, (rows, columns) = np.random.default_rng(3), np.mgrid[: HEIGHT * 3 // 2, :WIDTH]
    for index in range(count):
        waves = 128 + 60 * np.sin((columns + 3 * index) / 17) * np.cos(rows / 23)
        yield (waves + random.normal(0, 1.5, waves.shape)).astype(np.uint8)


def test_a_source_keeps_its_pictures(tmp_path: Path) -> None:
    path, fps = tmp_path / "source.mp4", Fraction(30000, 1001)
    assert write_source(path, i420_frames(40), SIZE, fps) == 40
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert stream.average_rate == fps
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert (context.color_range, context.pix_fmt) == (1, "yuv420p")
        frames = list(container.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx([k / float(fps) for k in range(40)])
    kept = np.stack([frame.to_ndarray() for frame in frames]).astype(float)
    error = np.mean((kept - np.stack(list(i420_frames(40)))) ** 2)
    assert 10 * np.log10(255**2 / error) > 42
    assert [each.name for each in tmp_path.iterdir()] == ["source.mp4"]


def test_what_is_still_stays_still(tmp_path: Path) -> None:
    """Also where a keyframe comes, and from the last picture to the first: a loop would pulse."""
    rng = np.random.default_rng(7)
    size = (128, 128)
    picture = rng.normal(120, 12, (192, 128)).clip(16, 235).astype(np.uint8)

    def moving_below() -> Iterator[Bytes]:
        for number in range(120):
            frame = picture.copy()
            frame[64:128] = np.roll(picture[64:128], round(6 * np.sin(2 * np.pi * number / 120)), 1)
            yield frame

    write_source(tmp_path / "source.mp4", moving_below(), size, Fraction(25))
    with av.open(str(tmp_path / "source.mp4")) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    stills = np.stack(frames).astype(int)[:, :48]
    steps = np.abs(np.roll(stills, -1, axis=0) - stills).mean(axis=(1, 2))
    assert steps.max() < 0.2


def test_a_video_goes_through_unchanged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", levels(20), options={"crf": "1"})
    with open_pictures(path) as frames:
        assert write_source(tmp_path / "source.mp4", frames, SIZE, Fraction(25)) == 20
    assert np.abs(np.array(grey_levels(moving(tmp_path / "source.mp4")))
                  - np.array([20 + 10 * k for k in range(20)])).max() <= 1  # fmt: skip


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Bytes]:
        yield from i420_frames(3)
        raise DamagedMedia("on the way")

    with pytest.raises(DamagedMedia, match="on the way"):
        write_source(tmp_path / "source.mp4", broken(), SIZE, Fraction(25))
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_media import *
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    write_source(Path(sys.argv[1]), i420_frames(40), SIZE, Fraction(25))
except OSError as exc:
    print(exc.errno)
"""


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_disk_without_room_is_an_os_error(tmp_path: Path, share: float) -> None:
    path, here = tmp_path / "source.mp4", str(Path(__file__).parent)
    write_source(path, i420_frames(40), SIZE, Fraction(25))
    room = int(path.stat().st_size * share)
    path.unlink()
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(path), here, str(room)], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout.split() == ["27"]  # EFBIG, which a limit says where a disk says ENOSPC
    assert list(tmp_path.iterdir()) == []
