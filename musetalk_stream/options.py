"""What a client may ask for: the options of a session and of an utterance, with their ranges."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

from .config import LONGEST_TOKEN_S
from .errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Option:
    """A number with a range. `step` is for input fields; 1 means that only integers are taken."""

    name: str
    label: str
    help: str
    default: float | None
    minimum: float
    maximum: float
    step: float

    @property
    def range(self) -> str:
        kind = "an integer" if self.step == 1 else "a number"
        return f"must be {kind} from {self.minimum:g} to {self.maximum:g}"

    def read(self, raw: object) -> Fraction:
        """Parse a query value or JSON number exactly; InvalidParameter names the range."""
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
            raise InvalidParameter(self.name, f"{self.range}, not {str(raw)[:40]}")
        try:
            # By way of float, never of the digits: 1e-999999999 as an exact fraction fills memory.
            value = float(raw)
            if not self.minimum <= value <= self.maximum:  # NaN is in no range
                raise ValueError
            # Milli-units are as fine as any of these needs to be, and keep timescales small.
            exact = Fraction(value).limit_denominator(1000)
            if self.step == 1 and exact.denominator != 1:
                raise ValueError
        except (ValueError, OverflowError):
            raise InvalidParameter(self.name, f"{self.range}, not {str(raw)[:40]!r}") from None
        return exact


FPS = Option("fps", "Frames per second", "Rate at which lips are rendered", 25, 5, 60, 0.001)
PLAYBACK_FPS = Option(
    "playback_fps", "Playback rate", "Output rate, at least fps (default: fps)", None, 5, 60, 0.001
)
BATCH_SIZE = Option(
    "batch_size", "Batch size", "Frames of this session per turn in a render batch", 2, 1, 64, 1
)
CHUNK_DURATION = Option(
    "chunk_duration", "Chunk duration (s)", "Length of a full chunk", 2, 0.2, 10, 0.001
)
TRAILING_SILENCE = Option(
    "trailing_silence", "Trailing silence (s)", "Silence after the speech", 0, 0, 30, 0.001
)
PREBUFFER = Option(
    "prebuffer", "Prebuffer (s)", "Start sound that still arrives this much later", 0.2, 0, 2, 0.001
)
AVATAR_FRAME = Option("avatar_frame", "Avatar frame", "Cycle frame now shown", None, 0, 1e6, 1)
PCM_RATE = Option("rate", "Sample rate (Hz)", "Audio samples per second", None, 4000, 192_000, 1)
PCM_CHANNELS = Option("channels", "Channels", "Audio channels, interleaved", 1, 1, 8, 1)
INTERRUPT_WAIT = Option(
    "wait", "Wait (s)", "How long to wait for what the player has played", 1, 0, 10, 0.001
)
PLAYED_MS = Option("played_ms", "Played (ms)", "What viewers have heard", 0, 0, 1e8, 1)
TOKEN_TTL = Option(
    "ttl", "Lifetime (s)", "Seconds for which a token counts", None, 1, LONGEST_TOKEN_S, 1
)
AGO_MS = Option("ago_ms", "Ago (ms)", "How long ago that was", 0, 0, 60_000, 1)
STALLED_MS = Option("stalled_ms", "Stalled (ms)", "How long it stood still", 0, 0, 600_000, 1)
FIRST_FRAME_MS = Option(
    "first_frame_ms", "First frame (ms)", "From the upload to it", None, 0, 600_000, 1
)

# What clients of servers that stream over WebRTC send: the first means our prebuffer, the others
# bound a clock that plain HTTP does not have.
_AUDIO_PREBUFFER = replace(PREBUFFER, name="audio_prebuffer_seconds")
_WITHOUT_EFFECT = tuple(
    Option(name, label, "Understood, without effect", None, 0, 3600, 0.001)
    for name, label in (
        ("audio_max_lead_seconds", "Audio lead (s)"),
        ("audio_max_lag_seconds", "Audio lag (s)"),
    )
)

SESSION_OPTIONS = (FPS, PLAYBACK_FPS, BATCH_SIZE, CHUNK_DURATION)


class OnBusy(StrEnum):
    """What becomes of speech that comes while the session is still speaking."""

    REJECT = "reject"  # 409
    QUEUE = "queue"  # it is spoken after what is there
    REPLACE = "replace"  # what is there is interrupted


def on_busy(raw: object) -> OnBusy:
    """Raises InvalidParameter."""
    try:
        return OnBusy(str(raw))
    except ValueError:
        raise InvalidParameter("on_busy", f"must be one of {', '.join(OnBusy)}") from None


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The validated options of one session.

    ignored  names of options that were given and have no effect here
    """

    fps: Fraction
    playback_fps: Fraction
    batch_size: int
    chunk_duration_s: float
    on_busy: OnBusy = OnBusy.REJECT
    prebuffer_s: float = 0.2
    ignored: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "fps": number(self.fps),
            "playback_fps": number(self.playback_fps),
            "batch_size": self.batch_size,
            "chunk_duration": self.chunk_duration_s,
            "on_busy": self.on_busy.value,
            "prebuffer": self.prebuffer_s,
        }
        if self.ignored:
            document["ignored"] = list(self.ignored)
        return document


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """What is asked for one utterance, besides its sound."""

    on_busy: OnBusy = OnBusy.REJECT
    trailing_silence_s: float = 0.0
    trim_leading_silence: bool = False
    prebuffer_s: float = 0.2


def session_options(raw: Mapping[str, object], *, prebuffer_s: float = 0.2) -> SessionOptions:
    """Read the options of a new session from query values or a JSON object. `prebuffer_s`: of who
    does not ask for one."""
    fps = FPS.read(raw.get("fps", FPS.default))
    playback_fps = PLAYBACK_FPS.read(raw["playback_fps"]) if "playback_fps" in raw else fps
    if playback_fps < fps:
        raise InvalidParameter("playback_fps", f"must be at least fps ({number(fps)})")
    return SessionOptions(
        fps=fps,
        playback_fps=playback_fps,
        batch_size=int(BATCH_SIZE.read(raw.get("batch_size", BATCH_SIZE.default))),
        chunk_duration_s=float(CHUNK_DURATION.read(raw.get("chunk_duration", 2))),
        on_busy=on_busy(raw.get("on_busy", OnBusy.REJECT)),
        prebuffer_s=_prebuffer_s(raw, prebuffer_s),
        ignored=tuple(option.name for option in _WITHOUT_EFFECT if _is_given(option, raw)),
    )


def _prebuffer_s(raw: Mapping[str, object], default_s: float) -> float:
    if PREBUFFER.name not in raw and _AUDIO_PREBUFFER.name in raw:
        return float(_AUDIO_PREBUFFER.read(raw[_AUDIO_PREBUFFER.name]))
    return float(PREBUFFER.read(raw.get(PREBUFFER.name, default_s)))


def _is_given(option: Option, raw: Mapping[str, object]) -> bool:
    """Raises InvalidParameter if it is, and is no number of its range."""
    if option.name not in raw:
        return False
    option.read(raw[option.name])
    return True


def speech_options(raw: Mapping[str, object], session: SessionOptions) -> SpeechOptions:
    """Read the options of an utterance from query values; the session's where none is given."""
    return SpeechOptions(
        on_busy=on_busy(raw.get("on_busy", session.on_busy)),
        trailing_silence_s=float(TRAILING_SILENCE.read(raw.get("trailing_silence", 0))),
        trim_leading_silence=flag(raw, "trim_leading_silence"),
        prebuffer_s=float(PREBUFFER.read(raw.get("prebuffer", session.prebuffer_s))),
    )


def flag(raw: Mapping[str, object], name: str) -> bool:
    """`true` or `false`; absent or empty is false. Raises InvalidParameter."""
    value = raw.get(name) or "false"
    if value not in ("true", "false", True):
        raise InvalidParameter(name, "must be true or false")
    return value in ("true", True)


def number(rate: Fraction) -> int | float:
    """A rate as JSON shows it: 25, not 25.0."""
    return rate.numerator if rate.denominator == 1 else float(rate)
