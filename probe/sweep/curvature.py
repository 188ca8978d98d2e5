"""The Hessian of the loss at one point, as a product with directions."""

import numpy as np

from probe.sweep.products import backproject, project
from probe.sweep.rows import Rows
from probe.workers import Workers

__all__ = ["NEGLIGIBLE", "Curvature"]

# A row adds w x xᵀ to the Hessian by the kernels, w at most 1 - Σ p², and w to that by the biases. It is left out where
# w ‖x‖² is below this share of λ, and w below this share of its mean over the rows: with weak penalties two rows in
# five of Fashion-MNIST's pixels are so certain.
NEGLIGIBLE = 0.01
# Leaving rows out takes a copy of the others: worth it if no more than this share of them stays.
_WORTHWHILE = 0.8


class Curvature:
    """The Hessian, without the penalty, for directions that need not be exact: float32 inside.

    Args:
        rows: N rows of D features.
        workers: who computes.
        probabilities: (K, J, N) float64 at the point.
        weights: (J, N) of the rows in each column's fold.
        penalties: (J,) λ.
        ratio, shift: (J, D): a column's features are ratio · fast row + shift.
    """

    def __init__(
        self,
        rows: Rows,
        workers: Workers,
        probabilities: np.ndarray,
        *,
        weights: np.ndarray,
        penalties: np.ndarray,
        ratio: np.ndarray,
        shift: np.ndarray,
    ) -> None:
        self._rows, self._workers, self._ratio, self._shift = rows, workers, ratio, shift
        self._copied: np.ndarray | None = None
        self._blocks = rows.blocks
        if rows.squares is not None:
            uncertain = weights * (1.0 - np.einsum("kjn,kjn->jn", probabilities, probabilities))
            by_kernel = uncertain * rows.squares > NEGLIGIBLE * penalties[:, None]
            is_felt = (by_kernel | (uncertain > NEGLIGIBLE * uncertain.mean(axis=1, keepdims=True))).any(axis=0)
            if is_felt.mean() <= _WORTHWHILE:
                felt = np.flatnonzero(is_felt)
                probabilities, weights = probabilities[..., felt], weights[:, felt]
                self._blocks = rows.cut(len(felt))
                self._copied = copied = np.empty((len(felt), rows.dim), np.float32)

                def copy(at: slice) -> None:
                    copied[at] = rows.take(felt[at])

                workers.map(copy, self._blocks)
        self._probabilities = probabilities.astype(np.float32)
        self._weights = weights.astype(np.float32)

    def __call__(self, kernels: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the product with directions, both (K, J, D) and (K, J)."""
        classes, columns = biases.shape
        if not self._blocks:
            return np.zeros_like(kernels), np.zeros_like(biases)
        offsets = (biases + np.einsum("kjd,jd->kj", kernels, self._shift)).astype(np.float32)[..., None]
        flat = (kernels * self._ratio).astype(np.float32).reshape(classes * columns, -1)

        def compute(at: slice) -> tuple[np.ndarray, np.ndarray]:
            block = self._rows.fast(at) if self._copied is None else self._copied[at]
            bent = project(flat, block).reshape(classes, columns, -1)
            bent += offsets
            bent *= self._probabilities[..., at]
            bent -= self._probabilities[..., at] * bent.sum(axis=0)
            bent *= self._weights[:, at]
            return backproject(bent.reshape(classes * columns, -1), block), bent.sum(axis=-1)

        products, sums = self._workers.summed(compute, self._blocks)
        return products.reshape(kernels.shape) * self._ratio + sums[..., None] * self._shift, sums
