"""A tone through server, chunks and Chromium comes out as the tone that went in."""

import pytest

from benchmarks import tone

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("fps", [15, 25])
async def test_tone_is_whole_across_chunk_borders(server_url: str, fps: float) -> None:
    report = await tone.run(server_url, seconds=5, fps=fps)
    assert report.chunks >= 3
    assert report.init_segments == 1
    assert report.most_ranges == 1
    assert report.media_s == pytest.approx(5, abs=1 / fps)
    assert report.heard_s == pytest.approx(5, abs=1 / fps)
    assert report.amplitude_error < 0.01
    assert report.phase_error < 0.02
    # A busy machine may skip painting a frame; it must never paint one twice or out of order.
    assert report.in_order
    assert report.frames_seen > 0.8 * report.frames
