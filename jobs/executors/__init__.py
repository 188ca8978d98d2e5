"""Who computes which share of a base split: workers on this machine, beside the process of the job."""

from jobs.executors.crew import Crew
from jobs.executors.task import Task

__all__ = ["Crew", "Task"]
