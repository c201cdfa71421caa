"""Lists of chunks: what m3u8 reads in them, exact to the microsecond however many there are."""

from fractions import Fraction

import m3u8  # type: ignore[import-untyped]
import pytest

from musetalk_stream.errors import InvalidParameter
from musetalk_stream.hls import (
    Segment,
    master_list,
    media_list,
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
            is_whole=is_whole,
        )

    (variant,) = m3u8.loads(written(is_whole=True)).playlists
    assert variant.uri == "live.m3u8?request_id=x"
    info = variant.stream_info
    assert (info.codecs, info.resolution) == ("avc1.64001E,mp4a.40.2", (512, 640))
    assert info.frame_rate == 29.970
    seconds = 8 * 1001 / 30_000
    assert 5001 * 8 / seconds <= info.bandwidth < 5001 * 8 / seconds + 1
    assert 10_001 * 8 / 2 / seconds <= info.average_bandwidth < 10_001 * 8 / 2 / seconds + 1
    assert m3u8.loads(written(is_whole=False)).playlists[0].stream_info.average_bandwidth is None


@pytest.mark.parametrize(
    ("asked", "there", "wanted"), [(None, 0, 1), ("0", 0, 1), ("2", 0, 3), ("3", 3, 4), ("4", 3, 5)]
)
def test_what_a_client_waits_for(asked: str | None, there: int, wanted: int) -> None:
    assert wanted_segments(asked, there) == wanted


@pytest.mark.parametrize("asked", ["", "-1", "x", "1.0", "5", "³", "9" * 5000])
def test_what_nobody_can_wait_for(asked: str) -> None:
    with pytest.raises(InvalidParameter, match="from 0 to 4"):
        wanted_segments(asked, 3)
