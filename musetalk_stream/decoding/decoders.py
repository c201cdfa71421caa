"""What decodes the files of all utterances of a server."""

from dataclasses import dataclass, field

from ..sound import SoundRoom
from ..workers import Workers
from .processes import DecodeProcesses


@dataclass(frozen=True, slots=True)
class Decoders:
    """workers    threads that wait for whole files, a few at once; those that arrive have their own
    processes  where they are decoded
    room       for what has been decoded
    """

    workers: Workers
    processes: DecodeProcesses
    room: SoundRoom = field(default_factory=SoundRoom)
