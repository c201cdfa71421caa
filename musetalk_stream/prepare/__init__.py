"""From a picture, a video or a shipped folder to an avatar that can be opened in milliseconds."""

from .derive import derive
from .store import prepare_store

__all__ = ["derive", "prepare_store"]
