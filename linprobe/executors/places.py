"""Which cores and which GPU each worker of a machine gets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Place", "share_machine", "usable_cores"]


@dataclass(frozen=True)
class Place:
    """Where a worker runs.

    Attributes:
        cores: numbers of the cores it may use; none where the system cannot say.
        gpu: what `CUDA_VISIBLE_DEVICES` calls the only GPU it sees; empty where there is none.
    """

    cores: tuple[int, ...]
    gpu: str = ""

    def occupy(self) -> None:
        """Bind this process to the place; before any framework is imported, for they look once."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        if self.gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu

    def __str__(self) -> str:
        """Write it for people."""
        cores = f"{len(self.cores)} core{'s' if len(self.cores) != 1 else ''}"
        return f"GPU {self.gpu}, {cores}" if self.gpu else cores


def share_machine(workers: int, gpus: int, cores: Sequence[int], *, visible: str = "") -> list[Place]:
    """Share a machine's GPUs and cores equally among workers.

    Args:
        workers: how many, at least 1.
        gpus: how many GPUs there are; further workers than those begin again with the first.
        cores: numbers of the cores that may be used. Each worker gets neighbours, which share caches and memory.
        visible: what `CUDA_VISIBLE_DEVICES` says, if it says something: the GPUs by the names there.
    """
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    places = []
    for worker in range(workers):
        first, end = worker * len(cores) // workers, (worker + 1) * len(cores) // workers
        own = tuple(cores[first:end] or cores[first : first + 1])
        places.append(Place(own, names[worker % gpus].strip() if gpus else ""))
    return places


def usable_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))
