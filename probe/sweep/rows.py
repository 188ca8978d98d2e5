"""Feature rows as the sweep reads them: in blocks, so that they need not fit in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from probe.scaling import Scaler

__all__ = ["KEPT_BYTES", "Rows", "mean_variance"]

# Of a block in float64: large enough for matrix products, small enough for a cache.
_BLOCK_BYTES = 4 << 20
_MIN_BLOCK_ROWS = 256
# A scaled float32 copy of the rows is kept if it is no larger; else each pass reads and scales them anew.
KEPT_BYTES = 512 << 20


class Rows:
    """Some rows of a feature array, in two forms.

    Exact blocks are float64 and decide where the optimum is. Fast blocks are float32, centred and
    scaled by numbers common to all folds; they serve directions and preconditioners, which need not be exact.

    Args:
        features: (M, D) floats that can be sliced by rows: an array, or `store.Features`.
        selected: (N,) increasing row numbers; None for all M.
        is_l2: whether each row is divided by its length as it is read.
        kept_bytes: the largest float32 copy to keep.

    Attributes:
        count: N.
        dim: D.
        centre, scale: (D,) float64: a fast row is (exact row - centre) / scale.
        squares: (N,) float32 squared lengths of the fast rows; None unless those are kept.
        blocks: slices that cover the rows.
    """

    def __init__(
        self, features: Any, selected: np.ndarray | None = None, is_l2: bool = False, *, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._features = features
        self._selected = selected
        self._normaliser = Scaler("l2", np.zeros(0), np.zeros(0)) if is_l2 else None
        self.count = int(features.shape[0] if selected is None else len(selected))
        self.dim = int(features.shape[1])
        self.centre, self.scale = np.zeros(self.dim), np.ones(self.dim)
        self._keeps = 4 * self.count * self.dim <= kept_bytes
        self._kept: np.ndarray | None = None
        self.squares: np.ndarray | None = None
        self.blocks = self.cut(self.count)

    def cut(self, count: int) -> Sequence[slice]:
        """Return slices that cover so many rows, each small enough for a cache."""
        step = max(_MIN_BLOCK_ROWS, _BLOCK_BYTES // (8 * max(self.dim, 1)))
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]

    def standardise(self, centre: np.ndarray, scale: np.ndarray) -> None:
        """Set what fast rows are centred and divided by, (D,) each, rounded; keep them if they are small enough."""
        # Numbers that float32 has: so that fast rows can be computed in it, and are what `centre` and `scale` say.
        self.centre = centre.astype(np.float32).astype(np.float64)
        self.scale = np.maximum(scale.astype(np.float32), np.finfo(np.float32).tiny).astype(np.float64)
        if self._keeps:
            self._kept = np.empty((self.count, self.dim), np.float32)
            for at in self.blocks:
                self._kept[at] = self._standardised(at)
            self.squares = np.einsum("nd,nd->n", self._kept, self._kept)

    def exact(self, at: slice) -> np.ndarray:
        """Return consecutive rows, (n, D) float64."""
        block = self._read(at)
        if self._normaliser is not None:
            block = self._normaliser.transform(block, np.float64)
        return np.asarray(block, np.float64)

    def fast(self, at: slice) -> np.ndarray:
        """Return consecutive rows, (n, D) float32, centred and scaled."""
        return self._standardised(at) if self._kept is None else self._kept[at]

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return the fast rows of these increasing numbers, (n, D) float32."""
        if self._kept is not None:
            kept: np.ndarray = self._kept[numbers]
            return kept
        found = np.empty((len(numbers), self.dim), np.float32)
        for at in self.blocks:
            first, last = np.searchsorted(numbers, (at.start, at.stop))
            if first < last:
                found[first:last] = self._standardised(at)[numbers[first:last] - at.start]
        return found

    def _read(self, at: slice) -> np.ndarray:
        """Return consecutive rows as they are kept, (n, D)."""
        if self._selected is None:
            return np.asarray(self._features[at])
        wanted = self._selected[at]
        # A slice of what lies between: mapped features know slices best.
        found: np.ndarray = np.asarray(self._features[int(wanted[0]) : int(wanted[-1]) + 1])[wanted - wanted[0]]
        return found

    def _standardised(self, at: slice) -> np.ndarray:
        block = self._read(at)
        # Rows that are not kept are computed anew in each product: in float32, unless there is more to them.
        dtype = np.float32 if block.dtype.itemsize <= 4 else np.float64
        if self._normaliser is not None:
            block = self._normaliser.transform(block, dtype)
        scaled: np.ndarray = np.subtract(block, self.centre.astype(dtype), dtype=dtype)
        scaled /= self.scale.astype(dtype)
        return scaled.astype(np.float32, copy=False)


def mean_variance(features: Any) -> float:
    """Return the variance of features, the mean over all of them, or 1 where none varies.

    Args:
        features: (N, D) floats that can be sliced by rows.
    """
    rows = Rows(features)
    total, square = np.zeros(rows.dim), 0.0
    for at in rows.blocks:
        total += rows.exact(at).sum(axis=0)
    for at in rows.blocks:
        square += float(np.square(rows.exact(at) - total / rows.count).sum())
    return square / (rows.count * rows.dim) or 1.0
