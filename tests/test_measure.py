"""Measuring renderer and encoders: every size, frames that cost something, and an end to it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import Later, Number, NumberRenderer, make_avatar

from musetalk_stream.avatar import Avatar
from musetalk_stream.blend import MouthRegion
from musetalk_stream.config import EncoderConfig
from musetalk_stream.errors import SetupError
from musetalk_stream.renderers import FrameRequest, Mouths, Renderer, Rendering
from musetalk_stream.renderers.builtin import BuiltinRenderer
from musetalk_stream.renderers.measure import encoded_per_second, frames_per_second


@pytest.fixture(scope="module")
def avatar(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return make_avatar(tmp_path_factory.mktemp("measure"))


def test_every_size_is_measured_and_told(avatar: Avatar) -> None:
    told: list[str] = []
    renderer = NumberRenderer()
    speeds = frames_per_second(renderer, avatar, progress=told.append)
    assert list(speeds) == [1, 2, 4, 8, 16]
    assert all(speed > 0 for speed in speeds.values())
    assert told == [f"measuring batches of {size}" for size in speeds]
    assert list(frames_per_second(renderer, avatar, (2, 3))) == [2, 3]


def test_a_frame_is_counted_as_one(avatar: Avatar) -> None:
    renderer = NumberRenderer(delay_s=0.005, batch_sizes=(1, 2))
    assert all(speed <= 200 for speed in frames_per_second(renderer, avatar).values())


@pytest.mark.parametrize("kind", [NumberRenderer, BuiltinRenderer])
def test_no_frame_is_silent(avatar: Avatar, kind: type[NumberRenderer | BuiltinRenderer]) -> None:
    """A frame in silence costs nothing: it would flatter the renderer."""
    silent: list[bool] = []

    class Listening(kind):  # type: ignore[valid-type, misc]
        def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
            rendering: Rendering = super().submit(batch)
            silent.extend(mouth is None for mouth in rendering.mouths())
            return rendering

    renderer: Renderer = Listening()
    frames_per_second(renderer, avatar, (1, 64))
    assert len(silent) > 64
    assert not any(silent)


def test_two_batches_are_in_flight(avatar: Avatar) -> None:
    in_flight: list[int] = []

    class Device(NumberRenderer):
        busy = 0

        def submit(self, batch: Sequence[FrameRequest]) -> Later:
            self.busy += 1
            in_flight.append(self.busy)
            return Later(self, batch)

        def render(self, batch: Sequence[FrameRequest]) -> Mouths:
            self.busy -= 1
            return super().render(batch)

    frames_per_second(Device(), avatar, (4,))
    assert max(in_flight) == 2


@pytest.mark.parametrize("works_later", [False, True])
def test_sizes_that_do_not_fit_are_left_out(avatar: Avatar, works_later: bool) -> None:
    renderer = NumberRenderer(fits=5, works_later=works_later)
    assert list(frames_per_second(renderer, avatar)) == [1, 2, 4]


def test_not_even_one_frame_fits(avatar: Avatar) -> None:
    with pytest.raises(SetupError, match="memory"):
        frames_per_second(NumberRenderer(fits=0), avatar)


def test_nothing_is_larger_than_what_already_takes_too_long(avatar: Avatar) -> None:
    renderer = NumberRenderer(delay_s=0.51, batch_sizes=(4, 8))
    assert list(frames_per_second(renderer, avatar)) == [4]
    assert renderer.batches == [4, 4], "and that is measured once"


def test_an_avatar_without_a_face_in_some_pictures(tmp_path: Path) -> None:
    avatar = make_avatar(tmp_path)
    avatar.landmarks[::2] = float("nan")
    pictures: set[int] = set()

    class Noting(NumberRenderer):
        def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
            pictures.update(request.picture for request in batch)
            return super().submit(batch)

    frames_per_second(Noting(), avatar)
    assert pictures == {1, 3, 5, 7, 9}


def encoded(renderer: Renderer, avatar: Avatar, *, batch: int = 1, threads: int = 1) -> float:
    return encoded_per_second(renderer, avatar, batch, EncoderConfig(), threads)


@pytest.mark.alone
def test_encoders_that_were_disturbed_are_measured_again(avatar: Avatar) -> None:
    disturbances = iter([0.12, 0.06, 0.03])
    undisturbed: list[int] = []

    @dataclass(frozen=True)
    class Disturbed(Number):
        def on(self, picture: int) -> MouthRegion | None:
            wait_s = next(disturbances, 0)
            time.sleep(wait_s)
            if not wait_s:
                undisturbed.append(picture)
            return super().on(picture)

    class Renderer(NumberRenderer):
        def render(self, batch: Sequence[FrameRequest]) -> Mouths:
            return [Disturbed(0) for _ in batch]

    encoded(Renderer(), avatar)
    assert undisturbed


@pytest.mark.alone
def test_larger_pictures_take_longer_to_encode(avatar: Avatar, tmp_path: Path) -> None:
    large = make_avatar(tmp_path, size=1024)
    assert 0 < 2 * encoded(NumberRenderer(), large) < encoded(NumberRenderer(), avatar)


def test_more_threads_than_cores_encode(avatar: Avatar) -> None:
    assert encoded(NumberRenderer(), avatar, threads=5) > 0


@pytest.mark.parametrize(("batch", "batches"), [(1, [1] * 16), (4, [4] * 4), (32, [32])])
def test_encoders_are_given_frames_in_batches_that_fit(
    avatar: Avatar, batch: int, batches: list[int]
) -> None:
    renderer = NumberRenderer(fits=batch)
    assert encoded(renderer, avatar, batch=batch) > 0
    assert renderer.batches == batches


def test_a_slow_renderer_renders_one_batch_for_the_encoders(avatar: Avatar) -> None:
    renderer = NumberRenderer(delay_s=0.06)
    encoded(renderer, avatar)
    assert renderer.batches == [1]
