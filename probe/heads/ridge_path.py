"""Ridge regression of class targets: one eigendecomposition, and from then on every penalty for a few products.

With features centred (and scaled), Xc (N, D), and targets Yc (N, K) that are 1 for a row's own class and -1 for the
others, centred too, the kernel minimises

    ‖Yc - Xc W‖² + alpha ‖W‖²            W = (Xcᵀ Xc + alpha I)⁻¹ Xcᵀ Yc = Xcᵀ (Xc Xcᵀ + alpha I)⁻¹ Yc

and the bias, which is not penalised, makes the residuals' mean 0. With the eigenvectors of Xcᵀ Xc (D ≤ N) or of Xc Xcᵀ
(N < D) the inverse is a division, so a path costs one decomposition.

Source: targets and penalty are those of `sklearn.linear_model.RidgeClassifier`; the path is Hastie, Tibshirani and
Friedman 2009, The Elements of Statistical Learning, 3.4.1 and 18.3.5.

SciPy is imported where it is used: the name of a run must be found without it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from probe.scaling import Scaler
from probe.sweep.rows import Rows

__all__ = ["RidgePath"]

# Of the scores that are computed together.
_SCORE_BYTES = 64 << 20


class RidgePath:
    """Ridge regression on some rows, ready for any penalty.

    Features are read in blocks, twice; what is kept is the decomposition, min(N, D)² and D min(N, D) float64.

    Args:
        features: (M, D) floats that can be sliced by rows: an array, or `store.Features`. Not scaled.
        labels: (M,) int in 0 … K-1.
        classes: K ≥ 2.
        rows: (N,) increasing numbers of the rows to train on.
        scaling: zscore, l2 or none, fitted on these rows.

    Attributes:
        count: N.
        scaler: what is done to features first.
    """

    def __init__(self, features: Any, labels: np.ndarray, classes: int, *, rows: np.ndarray, scaling: str) -> None:
        self.count = len(rows)
        self._is_l2 = scaling == "l2"
        self._rows = Rows(features, rows, self._is_l2)
        # (N, K): 1 for the own class, -1 for the others.
        targets = 2.0 * np.eye(classes)[labels[rows]] - 1.0
        self._offset = targets.mean(axis=0)
        self._targets = targets - self._offset
        self._centre, self._scale = self._moments(scaling == "zscore")
        nothing = np.zeros(self._rows.dim), np.ones(self._rows.dim)
        self.scaler = Scaler(scaling, *((self._centre, self._scale) if scaling == "zscore" else nothing))
        self._decompose()

    def kernels(self, alphas: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return kernels (A, D, K) and biases (A, K), float64, for features that `scaler` has transformed."""
        divided = self._rotated[:, None] / (self._values[:, None, None] + np.asarray(alphas)[:, None])
        # One wide product for all penalties, not a narrow one for each.
        wide = self._basis @ divided.reshape(len(self._values), -1)
        found = wide.reshape(len(wide), len(alphas), -1).transpose(1, 0, 2)
        shift = np.zeros(self._rows.dim) if self.scaler.kind == "zscore" else self._centre
        return found, self._offset - np.einsum("d,adk->ak", shift, found)

    def residual(self, alpha: float) -> float:
        """Return how far the normal equations are from solved: length of the residual as a share of the right side."""
        divided = self._rotated / (self._values + alpha)[:, None]
        solved = self._vectors @ divided
        right = self._vectors @ self._rotated
        length = float(np.linalg.norm(right))
        return float(np.linalg.norm(self._gram @ solved + alpha * solved - right)) / length if length else 0.0

    def scores(self, features: Any, rows: np.ndarray, alpha: float) -> np.ndarray:
        """Return the scores (R, K) float64 that a penalty gives some rows; see `scores_together`."""
        ((found,),) = self.scores_together(features, rows, [alpha])
        return np.asarray(found)

    def scores_together(self, features: Any, rows: np.ndarray, alphas: Sequence[float]) -> Iterator[np.ndarray]:
        """Yield the scores (a, R, K) float64 that penalties give some rows, as many at a time as fit.

        Args:
            features: (M, D) floats that can be sliced by rows, not scaled.
            rows: (R,) increasing numbers.
            alphas: A penalties.
        """
        classes = len(self._offset)
        held_out = Rows(features, rows, self._is_l2)
        together = max(1, _SCORE_BYTES // max(1, 8 * classes * len(rows)))
        for first in range(0, len(alphas), together):
            group = alphas[first : first + together]
            kernels, biases = self.kernels(group)
            wide = np.ascontiguousarray(kernels.transpose(1, 0, 2)).reshape(held_out.dim, -1)
            found = np.empty((len(group), len(rows), classes))
            for at in held_out.blocks:
                scaled = (held_out.exact(at) - self.scaler.mean) / self.scaler.scale
                found[:, at] = (scaled @ wide).reshape(-1, len(group), classes).transpose(1, 0, 2) + biases[:, None]
            yield found

    def _moments(self, is_zscored: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return what features are centred and divided by, (D,) each: mean, and population standard deviation or 1."""
        total, low, high = np.zeros(self._rows.dim), np.inf, -np.inf
        for at in self._rows.blocks:
            block = self._rows.exact(at)
            total += block.sum(axis=0)
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        centre, square = total / self.count, np.zeros(self._rows.dim)
        if not is_zscored:
            return centre, np.ones(self._rows.dim)
        for at in self._rows.blocks:
            square += np.square(self._rows.exact(at) - centre).sum(axis=0)
        # Rounding gives a constant feature a tiny deviation: ask for the range instead.
        return centre, np.where(low == high, 1.0, np.sqrt(square / self.count))

    def _scaled(self, at: slice) -> np.ndarray:
        return np.asarray((self._rows.exact(at) - self._centre) / self._scale)

    def _decompose(self) -> None:
        """Set the Gram matrix, its eigenvalues and eigenvectors, the targets in them, and the basis of kernels."""
        from scipy.linalg import eigh

        is_primal = self._rows.dim <= self.count
        if is_primal:
            self._gram = np.zeros((self._rows.dim, self._rows.dim))
            right = np.zeros((self._rows.dim, self._targets.shape[1]))
            for at in self._rows.blocks:
                block = self._scaled(at)
                self._gram += block.T @ block
                right += block.T @ self._targets[at]
        else:
            scaled = np.concatenate([self._scaled(at) for at in self._rows.blocks])
            self._gram, right = scaled @ scaled.T, self._targets
        values, self._vectors = eigh(self._gram, driver="evd")
        # Rounding turns zeros into tiny negative numbers.
        self._values = np.maximum(values, 0.0)
        self._rotated = self._vectors.T @ right
        self._basis = self._vectors if is_primal else scaled.T @ self._vectors
