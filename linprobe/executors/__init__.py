"""Who computes which share of a base split: workers on this machine, beside the process of the job."""

from linprobe.executors.crew import Crew
from linprobe.executors.task import Task

__all__ = ["Crew", "Task"]
