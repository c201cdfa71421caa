"""Uploads on their way to avatars: one process at a time makes them, and anybody may look on."""

from .job import Job
from .jobs import Jobs, Wanted
from .state import JobState

__all__ = ["Job", "JobState", "Jobs", "Wanted"]
