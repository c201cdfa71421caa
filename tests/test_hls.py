"""Lists of chunks: what m3u8 reads in them, exact to the microsecond however many there are."""

from fractions import Fraction

import m3u8  # type: ignore[import-untyped]
import pytest

from musetalk_stream.errors import InvalidParameter
from musetalk_stream.hls import (
    Segment,
    master_list,
    media_list,
    most_bits_per_s,
    peak_bits_per_s,
    target_duration_s,
    wanted_segments,
)
from musetalk_stream.schedule import next_chunk_frames
from musetalk_stream.timeline import chunk_frames

MIME = 'video/mp4; codecs="avc1.64001E,mp4a.40.2"'
RATES = [Fraction(5), Fraction(25), Fraction(30), Fraction(60), Fraction(30_000, 1001)]


def segments(count: int, fps: Fraction, frames: int = 8) -> list[Segment]:
    return [Segment(f"chunk_{k:04d}.mp4", 5000 + k, 1200, frames / fps) for k in range(count)]


def test_a_list_as_it_is_read() -> None:
    text = media_list(segments(3, Fraction(25)), folder="../c/", target_s=2, is_whole=True)
    read = m3u8.loads(text)
    assert (read.playlist_type, read.target_duration, read.version) == ("event", 2, 7)
    assert read.is_independent_segments
    assert read.is_endlist
    assert read.media_sequence == 0
    assert read.server_control.can_block_reload == "YES"
    assert [each.duration for each in read.segments] == [0.32] * 3
    assert [each.uri for each in read.segments] == [f"../c/chunk_000{k}.mp4" for k in range(3)]
    assert [each.byterange for each in read.segments] == ["3800@1200", "3801@1200", "3802@1200"]
    (init,) = read.segment_map
    assert (init.uri, init.byterange) == ("../c/chunk_0000.mp4", "1200@0")
    # From the beginning; see the comment where it is written.
    assert 0 < read.start.time_offset < 0.005


def test_a_growing_list_only_grows() -> None:
    its = segments(3, Fraction(25))
    before, after = (
        media_list(its[:count], folder="", target_s=2, is_whole=False) for count in (2, 3)
    )
    assert after.startswith(before)
    assert not m3u8.loads(after).is_endlist
    assert media_list(its, folder="", target_s=2, is_whole=True).startswith(after)


def test_an_empty_list_is_one() -> None:
    read = m3u8.loads(media_list([], folder="", target_s=2, is_whole=True))
    assert (len(read.segments), read.is_endlist) == (0, True)


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_durations_add_up_however_many_there_are(fps: Fraction) -> None:
    its = segments(10_000, fps)
    text = media_list(its, folder="", target_s=2, is_whole=True)
    written = [line[8:-1] for line in text.splitlines() if line.startswith("#EXTINF:")]
    total = sum(map(Fraction, written))
    assert abs(total - 10_000 * 8 / fps) < Fraction(1, 48_000)


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("chunk_duration_s", [0.2, 0.5, 2, 3.3, 10])
def test_no_chunk_is_longer_than_was_promised(fps: Fraction, chunk_duration_s: float) -> None:
    target_s = target_duration_s(chunk_duration_s, fps)
    limit = chunk_frames(chunk_duration_s, fps)
    for remaining in range(1, limit + 20):
        for lead_s in (0.0, 0.5, 30.0):
            for speed in (0.5, 50.0):
                frames = next_chunk_frames(
                    fps=fps, remaining=remaining, limit=limit, lead_s=lead_s, speed=speed
                )
                assert round(frames / fps) <= target_s


def test_a_master_list_as_it_is_read() -> None:
    its = segments(2, Fraction(30_000, 1001))

    def written(*, is_whole: bool) -> str:
        return master_list(
            its,
            media_url="live.m3u8?request_id=x",
            mime=MIME,
            size=(512, 640),
            fps=Fraction(30_000, 1001),
            target_s=1,
            most_bits_per_s=None if is_whole else 10**6,
        )

    (variant,) = m3u8.loads(written(is_whole=True)).playlists
    assert variant.uri == "live.m3u8?request_id=x"
    info = variant.stream_info
    assert (info.codecs, info.resolution) == ("avc1.64001E,mp4a.40.2", (512, 640))
    assert info.frame_rate == 29.970
    seconds = 8 * 1001 / 30_000
    rate = 7601 * 8 / 2 / seconds  # both are half the target duration together; no init segment
    assert rate <= info.bandwidth == info.average_bandwidth < rate + 1
    growing = m3u8.loads(written(is_whole=False)).playlists[0].stream_info
    assert (growing.bandwidth, growing.average_bandwidth) == (10**6, None)


def test_the_peak_is_that_of_segments_in_a_row() -> None:
    sizes = [1000, 1000, 9000, 9000, 1000, 1000]
    its = [Segment(str(k), size, 500, Fraction(1)) for k, size in enumerate(sizes)]
    assert peak_bits_per_s(its, 2) == 8 * 8500  # of one: half a target duration
    assert peak_bits_per_s(its, 4) == 8 * 8500  # of two
    assert peak_bits_per_s(its, 6) == 8 * (2 * 8500 + 500) // 3 + 1
    assert peak_bits_per_s(its[:1], 6) == 8 * 500  # there is no more than that


def test_what_to_expect_is_more_than_comes() -> None:
    def most(crf: float) -> int:
        return most_bits_per_s(size=(512, 512), fps=Fraction(25), crf=crf, audio_kbps=96)

    assert 2 * (most(23) - 192_000) == most(17) - 192_000
    assert most(23) < 5_000_000


@pytest.mark.parametrize(
    ("asked", "there", "wanted"), [(None, 0, 1), ("0", 0, 1), ("2", 0, 3), ("3", 3, 4), ("4", 3, 5)]
)
def test_what_a_client_waits_for(asked: str | None, there: int, wanted: int) -> None:
    assert wanted_segments(asked, there) == wanted


@pytest.mark.parametrize("asked", ["", "-1", "x", "1.0", "5", "³", "9" * 5000])
def test_what_nobody_can_wait_for(asked: str) -> None:
    with pytest.raises(InvalidParameter, match="from 0 to 4"):
        wanted_segments(asked, 3)
