"""A renderer without weights: it moves the lips, jaw and chin of the avatar's own picture."""

from .renderer import BuiltinRenderer

__all__ = ["BuiltinRenderer"]
