"""Uploads on their way to avatars: one process at a time makes them, and anybody may look on."""

from .job import Job
from .jobs import Jobs
from .state import JobState
from .wanted import Wanted

__all__ = ["Job", "JobState", "Jobs", "Wanted"]
