"""What is done to features before a head sees them. What a trained head is: `probe.prediction`."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from probe.errors import OptionError, nearest

__all__ = ["SCALINGS", "Scaler", "Scaling", "fit_scaler", "softmax", "to_unit_length"]

Scaling = Literal["zscore", "l2", "none"]
SCALINGS = get_args(Scaling)
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Scaler:
    """A fitted scaling.

    Attributes:
        kind: zscore, l2 or none.
        mean: (D,) float64.
        scale: (D,) float64, positive.
    """

    kind: str
    mean: np.ndarray
    scale: np.ndarray

    def transform(self, features: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
        """Scale features.

        Args:
            features: (N, D) floating.
            dtype: of the result; the arithmetic is float64 for float64, else float32.

        Returns:
            (N, D), always a new array.
        """
        scaled = np.array(features, dtype)
        if self.kind == "zscore":
            scaled -= self.mean.astype(dtype)
            scaled /= self.scale.astype(dtype)
        elif self.kind == "l2":
            to_unit_length(scaled)
        return scaled


def to_unit_length(rows: np.ndarray) -> None:
    """Divide rows (N, D) by their lengths, in place; a row of zeros has no direction, and stays zeros.

    Squares of numbers above 1e19 overflow float32, and those below 1e-19 are lost in it: such rows are brought to a
    largest number of 1 first.
    """
    lengths = _lengths(rows)
    is_extreme = ~((lengths > 1e-15) & (lengths < 1e15))
    if is_extreme.any():
        largest = np.abs(rows[is_extreme]).max(axis=1, initial=0.0)[:, None]
        rows[is_extreme] /= np.where(largest == 0, 1, largest)
        lengths[is_extreme] = _lengths(rows[is_extreme])
    rows /= np.where(lengths == 0, 1, lengths)[:, None]


def _lengths(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.sqrt(np.einsum("nd,nd->n", rows, rows)))


def fit_scaler(kind: str, features: np.ndarray) -> Scaler:
    """Fit a scaling to training rows.

    Args:
        kind: zscore (population standard deviation; a constant feature divides by 1), l2 or none.
        features: (N, D) floating, N ≥ 1.
    """
    if kind not in SCALINGS:
        raise OptionError(f"scaling {kind!r}: {nearest(kind, SCALINGS)}.")
    dim = features.shape[1]
    mean, scale = np.zeros(dim), np.ones(dim)
    if kind == "zscore":
        mean = features.mean(axis=0, dtype=np.float64)
        square = np.zeros(dim)
        for start in range(0, len(features), _BLOCK_ROWS):
            square += np.square(features[start : start + _BLOCK_ROWS] - mean).sum(axis=0)
        # Rounding gives a constant feature a tiny deviation: ask for the range instead.
        is_constant = features.max(axis=0) == features.min(axis=0)
        scale = np.where(is_constant, 1.0, np.sqrt(square / len(features)))
    return Scaler(kind, mean, scale)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis; of the same shape, without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))
