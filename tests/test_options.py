"""What clients may ask for, and the many wrong ways of asking."""

import time
from fractions import Fraction

import pytest

from musetalk_stream.errors import InvalidParameter
from musetalk_stream.options import (
    AVATAR_FRAME,
    BATCH_SIZE,
    CHUNK_DURATION,
    FPS,
    SESSION_OPTIONS,
    TRAILING_SILENCE,
    Option,
    number,
    session_options,
)

ALL = (*SESSION_OPTIONS, TRAILING_SILENCE, AVATAR_FRAME)


def test_defaults() -> None:
    options = session_options({})
    assert options.to_json() == {
        "fps": 25,
        "playback_fps": 25,
        "batch_size": 2,
        "chunk_duration": 2.0,
        "on_busy": "reject",
        "prebuffer": 0.2,
    }


def test_playback_follows_fps_unless_asked_otherwise() -> None:
    assert session_options({"fps": "15"}).playback_fps == 15
    assert session_options({"fps": "15", "playback_fps": 30}).playback_fps == 30
    with pytest.raises(InvalidParameter, match="playback_fps: must be at least fps"):
        session_options({"fps": "25", "playback_fps": "24.999"})


@pytest.mark.parametrize(
    ("raw", "exact"),
    [
        ("15", Fraction(15)),
        (15, Fraction(15)),
        (12.5, Fraction(25, 2)),
        ("29.97", Fraction(2997, 100)),
        (29.97, Fraction(2997, 100)),
        ("23.976", Fraction(2997, 125)),
        (" 25 ", Fraction(25)),
        ("2.5e1", Fraction(25)),
        ("5", Fraction(5)),
        ("60", Fraction(60)),
    ],
)
def test_rates_are_exact(raw: object, exact: Fraction) -> None:
    assert FPS.read(raw) == exact


@pytest.mark.parametrize("option", ALL, ids=lambda option: option.name)
def test_the_ends_of_a_range_belong_to_it(option: Option) -> None:
    assert option.read(option.minimum) == Fraction(str(option.minimum))
    assert option.read(str(option.maximum)) == Fraction(str(option.maximum))
    for outside in (option.minimum - 0.5, option.maximum + 0.5):
        with pytest.raises(InvalidParameter) as caught:
            option.read(outside)
        assert option.name in caught.value.detail
        assert f"{option.minimum:g} to {option.maximum:g}" in caught.value.detail


@pytest.mark.parametrize(
    "raw",
    [
        *("", "abc", "0", "-1", "61", "nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e400"),
        *(
            "0x10",
            "15,5",
            "15 fps",
            "1/2",
            "15;",
            "1e999999999",
            "9" * 5000,
            "\x00",
            "\uff11\uff15x",
        ),
        *(True, False, None, [], [15], {}, {"fps": 15}, float("nan"), float("inf")),
        *(0, -1, 10**400, -(10**400)),
    ],
    ids=lambda raw: repr(raw)[:20],
)
def test_nonsense_is_refused_by_name(raw: object) -> None:
    with pytest.raises(InvalidParameter) as caught:
        FPS.read(raw)
    assert caught.value.name == "fps"
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("raw", ["1e-999999999", "0e999999999", "0." + "0" * 4000 + "1"])
def test_tiny_numbers_cost_no_time(raw: str) -> None:
    began = time.process_time()
    assert TRAILING_SILENCE.read(raw) == 0
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("option", [BATCH_SIZE, AVATAR_FRAME], ids=lambda option: option.name)
def test_counts_are_integers(option: Option) -> None:
    assert option.read("3") == option.read(3.0) == 3
    with pytest.raises(InvalidParameter, match="an integer"):
        option.read("3.5")


def test_options_are_converted_to_what_they_are() -> None:
    options = session_options({"batch_size": "64", "chunk_duration": "0.2", "fps": "12.5"})
    assert (options.batch_size, options.chunk_duration_s) == (64, 0.2)
    assert isinstance(options.batch_size, int)
    with pytest.raises(InvalidParameter, match="chunk_duration"):
        session_options({"chunk_duration": -1})
    assert CHUNK_DURATION.default == session_options({}).chunk_duration_s


def test_whole_rates_are_shown_without_a_point() -> None:
    assert repr(number(Fraction(25))) == "25"
    assert repr(number(Fraction("29.97"))) == "29.97"
