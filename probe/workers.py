"""Threads of our own over blocks of rows, with BLAS held to one thread each.

BLAS's own threads wait for each other at the end of every product: with few columns, or beside other work on the same
cores, they lose more than they win. Blocks of rows need to meet only at the end of a pass, and what is done
number by number between two products runs in parallel too.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

__all__ = ["Workers", "open_workers"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Workers:
    """A few threads, or none: then work is done where it is called for.

    Attributes:
        count: how many work at once, at least 1.
    """

    def __init__(self, count: int = 1, pool: ThreadPoolExecutor | None = None) -> None:
        self.count = count
        self._pool = pool

    def map(self, function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """Return the function's results in the order of the items."""
        if self._pool is None or len(items) == 1:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def summed(self, compute: Callable[[slice], tuple[np.ndarray, ...]], pieces: Sequence[slice]) -> list[np.ndarray]:
        """Return the sums, over pieces of rows, of each array that `compute` returns."""

        def add_up(turn: int) -> list[np.ndarray]:
            # Which worker gets which pieces is fixed, so that sums repeat to the last bit.
            total = list(compute(pieces[turn]))
            for at in pieces[turn + self.count :: self.count]:
                for whole, part in zip(total, compute(at), strict=True):
                    whole += part
            return total

        first, *others = self.map(add_up, range(min(self.count, len(pieces))))
        for other in others:
            for whole, part in zip(first, other, strict=True):
                whole += part
        return first


@contextmanager
def open_workers() -> Iterator[Workers]:
    """Yield as many workers as BLAS has threads, which meanwhile has one."""
    # Loaded first: SciPy brings a BLAS of its own, which must be among those that are held.
    import scipy.linalg.lapack  # noqa: F401
    from threadpoolctl import threadpool_info, threadpool_limits

    count = max((found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"), default=1)
    with threadpool_limits(1, user_api="blas"):
        if count == 1:
            yield Workers()
            return
        with ThreadPoolExecutor(count) as pool:
            yield Workers(count, pool)
