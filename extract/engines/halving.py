"""What does not fit into memory is done in smaller batches."""

from collections.abc import Callable

import numpy as np

from extract.engines.engine import Engine
from extract.errors import EngineUnavailable, OutOfMemory

__all__ = ["HalvingEngine"]


class HalvingEngine:
    """Runs another engine; a batch that does not fit into its memory is halved, for good, and said so.

    Args:
        engine: heeds its `batch_size` when that is lowered.
        notify: told of each halving.
    """

    def __init__(self, engine: Engine, notify: Callable[[str], None]) -> None:
        self._engine = engine
        self._notify = notify
        self.name = engine.name
        self.device = engine.device
        self.threads = engine.threads
        self.in_flight = engine.in_flight
        self.batch_size = engine.batch_size
        self.dim = engine.dim
        self.parameters = engine.parameters

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`.

        Raises:
            EngineUnavailable: not even one image fits.
        """
        rows, at = [], 0
        while at < len(images):
            size = self._engine.batch_size
            try:
                rows.append(self._engine(images[at : at + size]))
                at += size
            except (OutOfMemory, MemoryError) as error:
                self._shrink(size, error)
        return np.concatenate(rows)

    def _shrink(self, size: int, error: MemoryError) -> None:
        if size == 1:
            raise EngineUnavailable(
                f"{self.name}: not even one image fits into the memory of {self.device} ({str(error)[:200]}); "
                "end what else uses it, or take --device cpu."
            ) from error
        # Another batch in flight may have lowered it already.
        smaller = min(self._engine.batch_size, size // 2)
        self._engine.batch_size = smaller
        self._notify(
            f"{self.name}: a batch of {size} images does not fit into the memory of {self.device}; "
            f"going on with batches of {smaller}."
        )
