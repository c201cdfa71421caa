"""Where faces are: found in a picture, followed through a video, made steady."""

from .face import Bgr, Face, FaceFinder, Rect
from .finders import make_finder

__all__ = ["Bgr", "Face", "FaceFinder", "Rect", "make_finder"]
