"""Batches under way: while the engine computes one, the next waits at its door and the one before is written."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from extract.engines.engine import Engine
from extract.pipeline import Batch

__all__ = ["Flight"]


class Flight:
    """The batches that an engine has been given and whose rows have not been taken yet, in their order.

    Args:
        engine: called in threads of its own, in as many as it allows side by side.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(engine.in_flight, thread_name_prefix="engine")
        self._under_way: deque[tuple[Batch, Future[np.ndarray]]] = deque()

    def __enter__(self) -> "Flight":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def launch(self, batch: Batch) -> None:
        """Hand a batch to the engine, without waiting for its rows."""
        self._under_way.append((batch, self._threads.submit(self._rows, batch)))

    def land(self, leave: int = 0) -> Iterator[tuple[Batch, np.ndarray]]:
        """Give back batches with their rows, in their order, until at most so many are left under way.

        Raises:
            whatever the engine raised for them.
        """
        while len(self._under_way) > leave:
            yield self._landed()

    def _landed(self) -> tuple[Batch, np.ndarray]:
        batch, rows = self._under_way.popleft()
        return batch, rows.result()

    def _rows(self, batch: Batch) -> np.ndarray:
        # A batch of nothing but broken pictures has no row.
        return self._engine(batch.images) if batch.pending else np.empty((0, self._engine.dim), np.float32)
