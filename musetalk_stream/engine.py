"""What one utterance is, and what all utterances of a server share."""

from dataclasses import dataclass, field

from .avatar import Avatar
from .batcher import Batcher
from .config import EncoderConfig, UploadConfig
from .decoding import Decoders
from .options import SessionOptions
from .recordings import Recordings
from .renderers import Mouth
from .sound import Sound
from .speech import Speech
from .stats import EngineStats
from .store import ChunkStore
from .supervisor import Supervisor
from .tracing import Tracing
from .workers import Workers


@dataclass(frozen=True, slots=True)
class Engine:
    """What all utterances of a server share."""

    supervisor: Supervisor
    store: ChunkStore
    stats: EngineStats
    workers: Workers  # compose and encode
    decoders: Decoders
    encoder: EncoderConfig
    max_lead_s: float
    limits: UploadConfig
    tracing: Tracing
    recordings: Recordings
    unwatched_s: float = 0.0  # without anybody who fetches; 0: for ever

    @property
    def batcher(self) -> Batcher:
        """Of the renderer that is in use."""
        return self.supervisor.batcher


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One piece of speech to be spoken by one avatar."""

    request_id: str
    epoch: int
    session_id: str
    avatar: Avatar
    speech: Speech
    options: SessionOptions
    begun_s: float  # monotonic clock, when it could be spoken and its turn had come
    # By lips frame: those that have been rendered and that frames to come show, too.
    lips: dict[int, Mouth | None] = field(default_factory=dict)

    @property
    def sound(self) -> Sound:
        assert self.speech.sound is not None, "nothing of it has come yet"
        return self.speech.sound

    def __repr__(self) -> str:
        return f"<Utterance {self.request_id[:8]} of session {self.session_id[:8]}>"
