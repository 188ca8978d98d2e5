"""The engine of floors that are plain NumPy."""

import numpy as np

from extract.engines.engine import ParameterCounts
from extract.extractors.extractor import Extractor

__all__ = ["NumpyEngine"]


class NumpyEngine:
    """Runs an extractor's pixel function.

    Args:
        extractor: one that has a `pixel_function`.
    """

    name = "numpy"
    device = "CPU"
    threads = 1
    batch_size = 256
    parameters = ParameterCounts(0, 0)

    def __init__(self, extractor: Extractor) -> None:
        if extractor.pixel_function is None or extractor.dim is None:
            raise ValueError(f"{extractor.name}: has no pixel function.")
        self._function = extractor.pixel_function
        self.dim = extractor.dim

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`."""
        return self._function(images)
