"""The MuseTalk renderer: official weights, one device shared by all sessions."""

from .networks import choose_dtype, find_device
from .renderer import WINDOW, MuseTalkRenderer

__all__ = ["WINDOW", "MuseTalkRenderer", "choose_dtype", "find_device"]
