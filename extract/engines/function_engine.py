"""The engine of what is plain Python: floors, and models that somebody's own function runs."""

import numpy as np

from extract.engines.engine import ParameterCounts
from extract.errors import ModelMismatch
from extract.extractors.extractor import Extractor

__all__ = ["FunctionEngine"]


class FunctionEngine:
    """Runs an extractor's pixel function.

    Args:
        extractor: one that has a `pixel_function`.

    Raises:
        ModelMismatch: it does not give one vector per image, or not of the declared length.
    """

    device = "CPU"
    threads = 1
    in_flight = 1
    parameters = ParameterCounts(0, 0)

    def __init__(self, extractor: Extractor) -> None:
        if extractor.pixel_function is None:
            raise ValueError(f"{extractor.name}: has no pixel function.")
        self.name = "numpy" if extractor.is_floor else "python"
        self.batch_size = 256 if extractor.is_floor else 64
        self._extractor = extractor
        self._function = extractor.pixel_function
        size = extractor.preprocessing.size
        self.dim = extractor.dim or self._probed_dim(np.zeros((2, size, size, 3), extractor.preprocessing.pixels))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features; see `Engine`."""
        features = self._function(images)
        if features.shape != (len(images), self.dim):
            raise ModelMismatch(
                f"{self._extractor.name}: ({len(images)}, {self.dim}) numbers expected, shape {features.shape} found."
            )
        return features.astype(np.float32, copy=False)

    def _probed_dim(self, blanks: np.ndarray) -> int:
        shape = self._function(blanks).shape
        if len(shape) != 2 or shape[0] != len(blanks) or not shape[1]:
            raise ModelMismatch(
                f"{self._extractor.name}: a vector per image expected, shape {shape} found for {len(blanks)} of them."
            )
        return int(shape[1])
