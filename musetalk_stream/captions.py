"""Captions of an utterance: cues as clients give them, and as WebVTT (W3C WebVTT: The Web Video
Text Tracks Format)."""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import CaptionsTooLarge, InvalidCaptions

CONTENT_TYPE = "text/vtt"
MAX_CUES = 1000
MAX_BYTES = 64_000
_LONGEST_TEXT = 1000  # characters of one cue
_LATEST_S = 100 * 3600.0  # what two digits of hours can say

# §4.1: hours may be left out, and have two digits or more.
_TIME = r"(?:(\d{2,9}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMINGS = re.compile(rf"{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t].*)?")
_BLOCKS_WITHOUT_CUES = re.compile(r"(NOTE|STYLE|REGION)(?:[ \t].*)?\Z")
_TAG = re.compile(r"<[^>]*>?")
# Unassigned, private or half characters and those that control something, but for line breaks.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Cue:
    """Plain text, lines separated by a line feed, shown from `start` until `end`: seconds from the
    beginning of the utterance."""

    start: float
    end: float
    text: str

    def to_json(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "text": self.text}


def cues_of_json(raw: object) -> tuple[Cue, ...]:
    """`[{"start": s, "end": s, "text": "…"}, …]`, ordered by time. Raises InvalidCaptions,
    CaptionsTooLarge."""
    if not isinstance(raw, list):
        raise InvalidCaptions('captions must be a list of {"start": s, "end": s, "text": "…"}')
    _check_number(len(raw))
    return _ordered([_cue_of_json(each, number) for number, each in enumerate(raw, start=1)])


def _cue_of_json(raw: object, number: int) -> Cue:
    where = f"cue {number}"
    if not isinstance(raw, dict) or not isinstance(raw.get("text"), str):
        raise InvalidCaptions(f'{where} must be {{"start": s, "end": s, "text": "…"}}')
    return _cue(_seconds(raw, "start", where), _seconds(raw, "end", where), raw["text"], where)


def _seconds(raw: dict[str, object], name: str, where: str) -> float:
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidCaptions(f"{where}: {name} must be a number of seconds")
    # An integer may have more digits than a float can hold.
    return float(value) if abs(value) <= _LATEST_S else math.inf


def cues_of_webvtt(text: str) -> tuple[Cue, ...]:
    """WebVTT, of which times and text are kept: identifiers, settings, styles and tags are left
    out. Raises InvalidCaptions, CaptionsTooLarge."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    head, *blocks = re.split(r"\n{2,}", text)
    if not re.match(r"WEBVTT(?:[ \t\n]|\Z)", head) or "-->" in head:
        raise InvalidCaptions('WebVTT must begin with a line "WEBVTT", and an empty one after it')
    cues: list[Cue] = []
    for block in blocks:
        lines = block.strip("\n").split("\n")
        if not lines[0] or _BLOCKS_WITHOUT_CUES.match(lines[0]):
            continue
        cues.append(_cue_of_block(lines, len(cues) + 1))
        _check_number(len(cues))
    return _ordered(cues)


def _cue_of_block(lines: list[str], number: int) -> Cue:
    if "-->" not in lines[0]:
        lines = lines[1:]  # its identifier
    timings = _TIMINGS.fullmatch(lines[0].strip()) if lines else None
    if timings is None:
        said = repr(lines[0][:60]) if lines else "nothing"
        raise InvalidCaptions(
            f"cue {number}: times must be like 00:01.000 --> 00:02.500, not {said}"
        )
    times = timings.groups()
    try:
        text = html.unescape(_TAG.sub("", "\n".join(lines[1:])))
    except ValueError:  # of thousands of digits
        raise InvalidCaptions(f"cue {number}: there is no character with that number") from None
    return _cue(_instant_s(*times[:4]), _instant_s(*times[4:]), text, f"cue {number}")


def _instant_s(hours: str | None, minutes: str, seconds: str, milliseconds: str) -> float:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return (whole * 1000 + int(milliseconds)) / 1000


def _cue(start: float, end: float, text: str, where: str) -> Cue:
    start, end = round(start, 3), round(end, 3)  # as WebVTT says them
    if not 0 <= start < end < _LATEST_S:  # NaN is in no range
        raise InvalidCaptions(
            f"{where}: times must be 0 <= start < end < {_LATEST_S:g} s, not {start:g} and {end:g}"
        )
    plain = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    if len(plain) > _LONGEST_TEXT:
        raise CaptionsTooLarge(f"{where} has more than {_LONGEST_TEXT} characters")
    if _UNPRINTABLE.search(plain):
        raise InvalidCaptions(f"{where}: text must be plain, without control characters")
    return Cue(start, end, plain)


def _check_number(num_cues: int) -> None:
    if num_cues > MAX_CUES:
        raise CaptionsTooLarge(f"captions must have at most {MAX_CUES} cues")


def _ordered(cues: list[Cue]) -> tuple[Cue, ...]:
    """By time (§4.1 asks for it); those without text show nothing. Raises CaptionsTooLarge."""
    if sum(len(cue.text.encode()) for cue in cues) > MAX_BYTES:
        raise CaptionsTooLarge(f"captions must be at most {MAX_BYTES} bytes")
    return tuple(sorted((cue for cue in cues if cue.text), key=lambda cue: (cue.start, cue.end)))


def to_webvtt(cues: Sequence[Cue]) -> str:
    blocks = [
        f"{_timestamp(cue.start)} --> {_timestamp(cue.end)}\n{html.escape(cue.text, quote=False)}\n"
        for cue in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _timestamp(instant_s: float) -> str:
    milliseconds = round(instant_s * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
