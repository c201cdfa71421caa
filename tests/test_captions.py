"""Captions: what is taken, what is refused and why, and WebVTT as it comes out."""

import pytest

from musetalk_stream.captions import Cue, cues_of_json, cues_of_webvtt, to_webvtt
from musetalk_stream.errors import CaptionsTooLarge, InvalidCaptions


def cue(start: object = 0, end: object = 1, text: object = "x") -> dict[str, object]:
    return {"start": start, "end": end, "text": text}


def test_json() -> None:
    assert cues_of_json([cue(1.5, 2, "later"), cue(0, 1.25, "first")]) == (
        Cue(0.0, 1.25, "first"),
        Cue(1.5, 2.0, "later"),
    )
    assert cues_of_json([]) == ()


def test_text_is_plain_lines() -> None:
    (only,) = cues_of_json([cue(text="  a < b & c\r\n\n\t--> d ")])
    assert only.text == "a < b & c\n--> d"
    assert cues_of_json([cue(text=" \n ")]) == ()


@pytest.mark.parametrize(
    "raw",
    [None, "text", {"cues": []}, [1], [[]], [{}], [cue(start=None)], [cue(start="0")],
     [cue(start=True)], [cue(end=None)], [cue(text=5)], [cue(1, 1)], [cue(2, 1)], [cue(-1, 1)],
     [cue(0, 1e9)], [cue(0, 10**400)], [cue(0, float("nan"))], [cue(float("-inf"), 1)],
     [cue(0, 0.0001)], [cue(text="bell\x07")], [cue(text="half \ud800")]],
    ids=lambda raw: str(raw)[:40],
)  # fmt: skip
def test_wrong_json(raw: object) -> None:
    with pytest.raises(InvalidCaptions):
        cues_of_json(raw)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(InvalidCaptions, match="cue 2: end must be a number"):
        cues_of_json([cue(), cue(end="1")])


def test_webvtt() -> None:
    text = (
        "\ufeffWEBVTT - title\r\nKind: captions\r\n\r\nNOTE of nobody\r\n\r\n"
        "STYLE\r\n::cue{color:red}\r\n\r\n\r\n"
        "1\r\n00:01.000 --> 00:02.500 align:start\r\n"
        "<v Anna>- two &amp; <b>three</b>\r\n- lines\r\n"
        "\r\n01:00:00.000 --> 100:00:00.000\r\n\r\n01:00:00.000 --> 01:00:01.000\r\nlate"
    )
    with pytest.raises(InvalidCaptions, match="cue 2"):
        cues_of_webvtt(text)
    assert cues_of_webvtt(text.replace("100:", "99:")) == (
        Cue(1.0, 2.5, "- two & three\n- lines"),
        Cue(3600.0, 3601.0, "late"),
    )
    assert cues_of_webvtt("WEBVTT") == ()


@pytest.mark.parametrize(
    "text",
    ["", "1\n00:01.000 --> 00:02.000\nx", "WEBVTTX\n\n", "WEBVTT\n00:01.000 --> 00:02.000\nx",
     "WEBVTT\n\n1 --> 2\nx", "WEBVTT\n\n00:61.000 --> 00:62.000\nx", "WEBVTT\n\njust text",
     "WEBVTT\n\n00:02.000 --> 00:01.000\nx", "WEBVTT\n\n00:01,000 --> 00:02,000\nx",
     "WEBVTT\n\n999999999:00:00.000 --> 999999999:00:01.000\nx",
     "WEBVTT\n\n00:01.000 --> 00:02.000\n&#" + "9" * 5000 + ";"],
    ids=lambda text: text[:60],
)  # fmt: skip
def test_wrong_webvtt(text: str) -> None:
    with pytest.raises(InvalidCaptions):
        cues_of_webvtt(text)


def test_what_goes_out_comes_back() -> None:
    cues = (Cue(0.0, 0.001, "<b> & </b>\nWEBVTT"), Cue(3599.999, 359_999.5, "--> NOTE x"))
    text = to_webvtt(cues)
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.001\n&lt;b&gt; &amp;")
    assert "\n00:59:59.999 --> 99:59:59.500\n" in text
    assert cues_of_webvtt(text) == cues
    assert to_webvtt(()) == "WEBVTT\n"


def test_too_much() -> None:
    assert len(cues_of_json([cue()] * 1000)) == 1000
    with pytest.raises(CaptionsTooLarge):
        cues_of_json([cue()] * 1001)
    with pytest.raises(CaptionsTooLarge):
        cues_of_webvtt("WEBVTT\n\n" + "00:01.000 --> 00:02.000\nx\n\n" * 1001)
    assert len(cues_of_json([cue(text="x" * 640)] * 100)) == 100
    with pytest.raises(CaptionsTooLarge, match="64000 bytes"):
        cues_of_json([cue(text="ü" * 640)] * 51)
    with pytest.raises(CaptionsTooLarge, match="cue 1 "):
        cues_of_json([cue(text="x" * 1001)])
