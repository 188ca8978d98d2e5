"""Who computes which share of a base split: workers on this machine, beside the process of the job."""

from linprobe.executors.crew import Crew
from linprobe.executors.spec import SplitSpec

__all__ = ["Crew", "SplitSpec"]
