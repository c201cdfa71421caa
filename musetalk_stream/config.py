"""Configuration: frozen dataclasses, built once; the only module that reads the environment.

Every field is a flag (`--max-sessions`) and a variable (`MUSETALK_STREAM_MAX_SESSIONS`); a flag
wins over a variable, a variable over the default.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from .errors import SetupError

ENV_PREFIX = "MUSETALK_STREAM_"
# What who comes from the WebRTC system has set already. The first one means the same here.
WEBRTC_PREBUFFER = "WEBRTC_AUDIO_PREBUFFER_SECONDS"
_WEBRTC_WITHOUT_EFFECT = {
    "WEBRTC_AUDIO_MAX_LEAD_SECONDS": "sound and picture come in the same chunks and can't part",
    "WEBRTC_AUDIO_MAX_LAG_SECONDS": "sound and picture come in the same chunks and can't part",
    "WEBRTC_STUN_URLS": "everything is plain HTTP on one port, so there is no path to find",
    "WEBRTC_TURN_": "everything is plain HTTP on one port, so there is nothing to relay",
}
_LONGEST_PREBUFFER_S = 2
LONGEST_TOKEN_S = 7 * 86400
_FRAME_ANCESTOR = re.compile(r"\*|[a-z][a-z0-9+.-]*://[A-Za-z0-9.*\[\]:-]+")
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
PACKAGE = Path(__file__).parent


def bundled(name: str, in_checkout: str | None = None) -> Path:
    """A folder that ships with us: inside the package in a wheel, in a checkout beside it, there
    under the path `in_checkout` if that is another one."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / (in_checkout or name)


def listed(text: str) -> tuple[str, ...]:
    """What a setting names, separated by commas."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _is_checkout() -> bool:
    return (PACKAGE.parent / "setup.cfg").is_file()


def data_folder(name: str) -> Path:
    """Where files are kept by default: the checkout, else the user's data folder (XDG)."""
    if _is_checkout():
        return PACKAGE.parent / name
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "musetalk-stream" / name


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


class _Checked:
    """Ranges and choices are declared with the fields and checked when a section is built."""

    def __post_init__(self) -> None:
        for spec in fields(self):  # type: ignore[arg-type]
            value, meta = getattr(self, spec.name), spec.metadata
            if meta["choices"] and value not in meta["choices"]:
                raise SetupError(f"{spec.name} must be one of {', '.join(meta['choices'])}")
            if isinstance(value, float) and not math.isfinite(value):
                raise SetupError(f"{spec.name} is {value}; it must be a finite number")
            for bound, wrong in (("minimum", -1), ("maximum", 1)):
                limit = meta[bound]
                if limit is not None and (value - limit) * wrong > 0:
                    raise SetupError(f"{spec.name} is {value}; its {bound} is {limit}")


@dataclass(frozen=True)
class HttpConfig(_Checked):
    host: str = setting("127.0.0.1", "address to listen on; 0.0.0.0 for every interface")
    port: int = setting(8000, "port to listen on; 0 picks a free one", minimum=0, maximum=65535)
    public_url: str = setting(
        "", "address that clients use, if a proxy is in front (for player_full_url)"
    )
    cors_origins: str = setting(
        "*", "origins that may call from a browser, comma-separated; * for all, empty for none"
    )
    frame_ancestors: str = setting(
        "*", "origins whose pages may frame the player, comma-separated; * for all, empty for none"
    )
    trusted_proxies: str = setting(
        "",
        "addresses and networks of the proxies in front, comma-separated; X-Forwarded-… of nobody "
        "else is believed",
    )
    tls_cert: str = setting(
        "", "file of the certificate and what it is signed by (PEM), to speak HTTPS; with tls_key"
    )
    tls_key: str = setting("", "file of the certificate's key (PEM)")
    max_connections: int = setting(
        4096, "connections at once; one more is answered 503, but for its health checks", minimum=16
    )

    no_auth: bool = setting(
        False, "let everybody do everything, also from other machines; only without API keys"
    )
    token_ttl_s: int = setting(
        3600, "seconds for which the tokens of a session count", minimum=1, maximum=LONGEST_TOKEN_S
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.public_url and not re.match(r"https?://[^/\s]+", self.public_url):
            raise SetupError(f"public_url must begin with http(s)://, not be {self.public_url!r}")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SetupError("tls_cert and tls_key go together: set both, or none")
        for origin in listed(self.frame_ancestors):
            if not _FRAME_ANCESTOR.fullmatch(origin):
                raise SetupError(
                    "frame_ancestors must be origins such as https://app.example, not "
                    f"{self.frame_ancestors!r}"
                )
        self.proxy_networks()

    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Raises SetupError."""
        try:
            return tuple(ip_network(each) for each in listed(self.trusted_proxies))
        except ValueError as exc:
            raise SetupError(
                f"trusted_proxies must be addresses or networks such as 10.0.0.0/8: {exc}"
            ) from None


@dataclass(frozen=True)
class StorageConfig(_Checked):
    avatars_dir: Path = setting(lambda: data_folder("avatars"), "folder of the avatars")
    avatar_cache_mb: int = setting(
        4096,
        "megabytes of avatars kept open; those in use stay, others are closed, oldest first",
        minimum=0,
    )
    chunks_dir: Path = setting(lambda: data_folder("chunks"), "folder of the generated chunks")
    state_dir: Path = setting(
        lambda: data_folder("state"),
        "folder of what outlives the server: API keys, the secret that signs tokens, open sessions",
    )
    chunk_retention_s: float = setting(
        600.0, "seconds for which the chunks of a finished utterance stay", minimum=1
    )
    chunk_store_mb: int = setting(
        2048, "megabytes of chunks kept at once; an utterance beyond it ends in an error", minimum=1
    )
    min_free_mb: int = setting(
        200, "megabytes of each disk that stay free; nothing new is written beyond (507)", minimum=0
    )
    forget_on_stop: bool = setting(
        False,
        "end all sessions when the server is stopped, and delete their chunks; else the next one "
        "goes on with them",
    )
    recordings_dir: Path = setting(
        lambda: data_folder("recordings"), "folder of what is recorded by consent"
    )
    recording_days: float = setting(
        0.0, "days for which that is kept; 0: nothing is recorded", minimum=0, maximum=3650
    )
    recordings_mb: int = setting(
        10_000,
        "megabytes of that kept at once; an utterance beyond it is not recorded",
        minimum=1,
    )


@dataclass(frozen=True)
class SessionConfig(_Checked):
    avatar: str = setting("demo", "avatar of a session that names none")
    avatar_aliases: str = setting(
        "test_avatar=demo",
        "other names of avatars, NAME=ID, comma-separated (test_avatar: what the guides use)",
    )
    max_sessions: int = setting(64, "sessions at once; one more is refused (429)", minimum=1)
    session_idle_s: float = setting(
        900.0, "seconds without a viewer or a request after which a session expires", minimum=1
    )

    max_queue: int = setting(
        8, "utterances of one session that wait to be spoken; one more is refused (429)", minimum=1
    )
    max_sessions_per_user: int = setting(
        8, "sessions at once of one user_id; one more is refused (429); 0: no limit", minimum=0
    )
    max_utterances_per_user: int = setting(
        32,
        "utterances of one user_id that are spoken or wait, in all of its sessions; one more is "
        "refused (429); 0: no limit",
        minimum=0,
    )
    prebuffer_s: float = setting(
        0.2,
        "seconds by which playback of sound that is still arriving starts later, so that it does "
        "not stall; a session may ask for another value",
        minimum=0,
        maximum=_LONGEST_PREBUFFER_S,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.aliases()

    def aliases(self) -> dict[str, str]:
        """Avatar ids by their other names. Raises SetupError."""
        pairs = [pair.strip().partition("=") for pair in self.avatar_aliases.split(",")]
        if any(not (name and avatar_id) for name, _, avatar_id in pairs if name or avatar_id):
            raise SetupError(f"avatar_aliases must be NAME=ID,…, not {self.avatar_aliases!r}")
        return {name: avatar_id for name, _, avatar_id in pairs if name}


@dataclass(frozen=True)
class UploadConfig(_Checked):
    max_upload_mb: int = setting(100, "megabytes of one upload", minimum=1)
    max_audio_s: float = setting(600.0, "seconds of audio in one utterance", minimum=1)
    audio_stall_timeout_s: float = setting(
        10.0,
        "seconds without any more sound after which an utterance that is still arriving ends",
        minimum=0.1,
    )
    sound_memory_mb: int = setting(
        1000,
        "megabytes of decoded sound, 0.26 a second, that all sessions together may have in memory "
        "until it is spoken; files that would be more are refused (429)",
        minimum=1,
    )
    decode_memory_mb: int = setting(
        256, "megabytes that decoding one sound file may take; then it is refused (422)", minimum=32
    )
    decode_cpu_s: int = setting(
        60, "seconds of computing time that it may take; then it is refused (422)", minimum=1
    )

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * 10**6


@dataclass(frozen=True)
class LimitsConfig(_Checked):
    rate_per_key: float = setting(
        200.0,
        "requests per second of one API key, after ten seconds' worth at once; more are refused "
        "(429); 0: no limit",
        minimum=0,
    )
    rate_per_address: float = setting(
        200.0, "likewise of one address that has no API key; 0: no limit", minimum=0
    )
    upload_mb_per_hour: float = setting(
        0.0,
        "megabytes per hour that one API key, or one address without, may upload; more is refused "
        "(429); 0: no limit",
        minimum=0,
    )


@dataclass(frozen=True)
class PrepareConfig(_Checked):
    max_avatar_mb: int = setting(
        200, "megabytes of one picture or video that becomes an avatar", minimum=1
    )
    max_avatar_s: float = setting(60.0, "seconds of such a video", minimum=1)
    max_photo_mp: float = setting(100.0, "megapixels of such a picture", minimum=0.1)
    max_video_mp: float = setting(
        9.0, "megapixels of such a video's frames; 9 takes 4K, not 8K", minimum=0.1
    )
    avatar_side: int = setting(
        1280, "pixels of an avatar's longer side at most", minimum=64, maximum=4096
    )
    avatar_fps: float = setting(
        30.0, "frames per second of an avatar's own motion at most", minimum=5, maximum=60
    )
    face_finder: str = setting(
        "auto",
        "what finds faces; auto: mediapipe, else dwpose, whichever is there",
        choices=("auto", "mediapipe", "dwpose"),
    )
    max_jobs: int = setting(
        8, "preparations that wait; one more is refused (429)", minimum=1, maximum=1000
    )
    prepare_memory_mb: int = setting(
        8192,
        "megabytes that making an avatar may take, its mapped pictures aside; then it fails",
        minimum=512,
    )

    @property
    def max_avatar_bytes(self) -> int:
        return self.max_avatar_mb * 10**6


@dataclass(frozen=True)
class EncoderConfig(_Checked):
    preset: str = setting(
        "superfast",
        "x264 preset: faster ones cost less CPU and more bytes",
        choices=("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"),
    )
    crf: float = setting(
        23.0, "x264 constant rate factor: lower is better and larger", minimum=1, maximum=51
    )
    audio_kbps: int = setting(96, "AAC bit rate", minimum=32, maximum=320)


@dataclass(frozen=True)
class EngineConfig(_Checked):
    renderer: str = setting("builtin", "what moves the lips", choices=("builtin", "musetalk"))
    max_batch: int = setting(16, "frames in one render batch", minimum=1, maximum=64)
    capacity_fps: float = setting(
        0.0,
        "frames per second that all sessions may ask for together; 0: what is measured at start",
        minimum=0,
    )
    max_lead_s: float = setting(
        6.0, "seconds that generation may run ahead of playback", minimum=0.5
    )
    unwatched_s: float = setting(
        60.0,
        "seconds without anybody fetching what there is of an utterance after which no more of it "
        "is made; after as many again it ends in an error. 0: never",
        minimum=0,
    )
    drain_s: float = setting(
        30.0,
        "seconds that what is being spoken may go on when the server is told to stop",
        minimum=0,
        maximum=600,
    )
    render_stall_s: float = setting(
        60.0,
        "seconds after which a batch that does not come back means that the renderer is lost",
        minimum=0.1,
    )
    encode_threads: int = setting(
        lambda: os.cpu_count() or 1, "threads that compose and encode", minimum=1
    )
    log_level: str = setting(
        "info", "least severe messages shown", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "text",
        "how log lines look: text for people, json for programs, one object per line",
        choices=("text", "json"),
    )
    otlp_endpoint: str = setting(
        "",
        "address of an OpenTelemetry collector that takes OTLP over HTTP, to which a trace of "
        "every utterance is sent (http://127.0.0.1:4318); needs the extra tracing",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.otlp_endpoint and not re.fullmatch(r"https?://[^\s/]+\S*", self.otlp_endpoint):
            raise SetupError(
                f"otlp_endpoint must begin with http(s)://, not be {self.otlp_endpoint!r}"
            )


@dataclass(frozen=True)
class MuseTalkConfig(_Checked):
    models_dir: Path = setting(
        lambda: data_folder("models"), "folder of the MuseTalk weights (musetalk-stream weights)"
    )
    musetalk_version: str = setting("v15", "which MuseTalk", choices=("v15", "v1"))
    device: str = setting("cuda", "what MuseTalk runs on: cuda, cuda:1, … or cpu")
    precision: str = setting(
        "auto",
        "number format of the networks; auto: bf16 or fp16 on a GPU, fp32 on a CPU",
        choices=("auto", "fp32", "bf16", "fp16"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise SetupError(f"device must be cpu, cuda or cuda:N, not {self.device!r}")


@dataclass(frozen=True)
class Config:
    http: HttpConfig = field(default_factory=HttpConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    session: SessionConfig = field(default_factory=SessionConfig)
    upload: UploadConfig = field(default_factory=UploadConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    musetalk: MuseTalkConfig = field(default_factory=MuseTalkConfig)


SECTIONS: dict[str, type[_Checked]] = {
    "http": HttpConfig,
    "storage": StorageConfig,
    "session": SessionConfig,
    "upload": UploadConfig,
    "limits": LimitsConfig,
    "prepare": PrepareConfig,
    "encoder": EncoderConfig,
    "engine": EngineConfig,
    "musetalk": MuseTalkConfig,
}


def settings() -> Iterator[tuple[str, Field[Any]]]:
    """Every setting with the section it belongs to; names are unique over all sections."""
    for section, kind in SECTIONS.items():
        for spec in fields(kind):  # type: ignore[arg-type]
            yield section, spec


def default_of(spec: Field[Any]) -> Any:
    return spec.default_factory() if spec.default_factory is not MISSING else spec.default


def as_environment(config: Config) -> dict[str, str]:
    """The variables from which `load` builds this configuration, for a process of its own."""
    return {
        ENV_PREFIX + spec.name.upper(): str(getattr(getattr(config, section), spec.name))
        for section, spec in settings()
    }


def process_environment(config: Config, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """All variables of a process that works for us: ours, and our configuration."""
    others = {name: text for name, text in environ.items() if not name.startswith(ENV_PREFIX)}
    return others | as_environment(config)


def load(flags: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Config:
    """Build the configuration from flags (by field name) and variables; SetupError says which
    setting is wrong and what it may be."""
    if not {"prebuffer_s", ENV_PREFIX + "PREBUFFER_S"} & {*flags, *environ}:
        environ = {**environ, **_webrtc_settings(environ)}
    chosen: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    known = set()
    for section, spec in settings():
        variable = ENV_PREFIX + spec.name.upper()
        known.add(variable)
        raw = flags.get(spec.name, environ.get(variable))
        if raw is not None:
            chosen[section][spec.name] = _convert(spec, raw)
    unknown = sorted(name for name in environ if name.startswith(ENV_PREFIX) and name not in known)
    if unknown:
        raise SetupError(f"there is no setting {', '.join(unknown)}; see musetalk-stream serve -h")
    sections: dict[str, Any] = {name: kind(**chosen[name]) for name, kind in SECTIONS.items()}
    return Config(**sections)


def _webrtc_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What the WebRTC system's variables say about settings of ours, as ours would say it."""
    raw = environ.get(WEBRTC_PREBUFFER)
    if not raw:
        return {}
    spec = next(spec for spec in fields(SessionConfig) if spec.name == "prebuffer_s")
    try:
        prebuffer_s = min(_convert(spec, raw), _LONGEST_PREBUFFER_S)
        SessionConfig(prebuffer_s=prebuffer_s)
    except SetupError as exc:
        raise SetupError(f"{WEBRTC_PREBUFFER} sets prebuffer_s, and {exc}") from None
    return {ENV_PREFIX + "PREBUFFER_S": str(prebuffer_s)}


def webrtc_remarks(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each variable of the WebRTC system that is set and does not do here what it
    does there. Values are not repeated: one of them is a password."""
    remarks = [
        f"{name} has no effect here: {why}"
        for name in sorted(environ)
        for known, why in _WEBRTC_WITHOUT_EFFECT.items()
        if name == known or (known.endswith("_") and name.startswith(known))
    ]
    with suppress(ValueError):  # empty, or no number: then ours is set, and wins
        if float(environ.get(WEBRTC_PREBUFFER, "")) > _LONGEST_PREBUFFER_S:
            remarks.append(f"{WEBRTC_PREBUFFER} counts as {_LONGEST_PREBUFFER_S}, the most here")
    return remarks


def _convert(spec: Field[Any], raw: str) -> Any:
    kind: Any = spec.type
    try:
        if kind is Path:
            if not raw:
                raise SetupError(f"{spec.name} must be a folder, not empty")
            return Path(raw).expanduser().absolute()
        if kind is bool:
            return _TRUTHS[raw.lower()]
        return kind(raw)
    except (ValueError, OverflowError, KeyError):
        wanted = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise SetupError(f"{spec.name} must be {wanted}, not {raw!r}") from None
