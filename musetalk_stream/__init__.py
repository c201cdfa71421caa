"""Speech audio in, a lip-synced talking avatar out, over plain HTTP."""

__version__ = "0.1.0"
__all__ = ["__version__"]
