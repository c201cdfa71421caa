"""The MuseTalk renderer: official weights, one device shared by all sessions."""

from .networks import choose_dtype, find_device
from .renderer import WINDOW, MuseTalkRenderer
from .stages import Stages, measure_stages

__all__ = [
    "WINDOW",
    "MuseTalkRenderer",
    "Stages",
    "choose_dtype",
    "find_device",
    "measure_stages",
]
