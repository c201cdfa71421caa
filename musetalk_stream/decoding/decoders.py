"""What decodes the files of all utterances of a server."""

from dataclasses import dataclass

from ..workers import Workers
from .processes import DecodeProcesses


@dataclass(frozen=True, slots=True)
class Decoders:
    """workers    threads that wait for whole files, a few at once; those that arrive have their own
    processes  where they are decoded
    """

    workers: Workers
    processes: DecodeProcesses
