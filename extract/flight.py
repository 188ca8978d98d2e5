"""Batches in flight: while the engine computes one, the next waits at its door and the one before is written."""

import threading
import time
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

    Attributes:
        busy: seconds during which the engine had a batch, or several, until it last had none.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(engine.in_flight, thread_name_prefix="engine")
        self._in_flight: deque[tuple[Batch, Future[np.ndarray]]] = deque()
        self._lock = threading.Lock()
        self._computing = 0
        self._busy_since = 0.0
        self.busy = 0.0

    def __enter__(self) -> "Flight":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def launch(self, batch: Batch) -> None:
        """Hand a batch to the engine, without waiting for its rows."""
        self._in_flight.append((batch, self._threads.submit(self._rows, batch)))

    def land(self, leave: int = 0) -> Iterator[tuple[Batch, np.ndarray]]:
        """Give back batches with their rows, in their order, until at most so many are left in flight.

        Raises:
            whatever the engine raised for them.
        """
        while len(self._in_flight) > leave:
            yield self._landed()

    def _landed(self) -> tuple[Batch, np.ndarray]:
        batch, rows = self._in_flight.popleft()
        return batch, rows.result()

    def _rows(self, batch: Batch) -> np.ndarray:
        if not batch.pending:  # nothing but broken images
            return np.empty((0, self._engine.dim), np.float32)
        self._count(1)
        try:
            return self._engine(batch.images)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            now = time.perf_counter()
            if not self._computing:
                self._busy_since = now
            self._computing += change
            if not self._computing:
                self.busy += now - self._busy_since
