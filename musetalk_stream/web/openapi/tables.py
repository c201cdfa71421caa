"""All operations and all schemas. A test compares the operations with the routes; what all routes
have in common is added in `document`."""

from ...config import Config
from . import avatars, operating, recordings, sessions, speech, watching, webrtc
from .parts import Operation, Schema

TAGS = {
    "sessions": "One viewer's connection to one avatar",
    "speech": "Sound that is spoken, and what became of it",
    "watching": "Events, chunks and other media of what is spoken, and what players report",
    "avatars": "Faces, made of photos and videos",
    "recordings": "What is kept by consent",
    "operating": "How the server is doing",
    "webrtc": "The paths of servers that stream over WebRTC, for their clients",
    "pages": "For people, and the files of these pages",
}


def operations(config: Config) -> dict[str, Operation]:
    """By method and path, as `GET /sessions/{session_id}`."""
    its = {
        **sessions.operations(config),
        **speech.operations(config),
        **watching.operations(),
        **avatars.operations(config),
        **recordings.operations(),
        **operating.operations(),
    }
    return {**its, **webrtc.operations(its)}


def components(config: Config) -> dict[str, Schema]:
    """All schemas by name."""
    its = {
        **operating.schemas(),
        **avatars.schemas(),
        **sessions.schemas(config),
        **speech.schemas(),
        **watching.schemas(),
        **recordings.schemas(),
    }
    return {**its, **webrtc.schemas(its)}
