"""What is minimised: scikit-learn's objective for several folds at once, in wide arrays.

Column j of J stands for one fit: a fold, at a penalty. Arrays are laid out with the class first, so that sums over
classes are sums of contiguous planes, and products with features are single matrix products:

    kernels (K, J, D)    biases (K, J)    logits, probabilities (K, J, N)

scikit-learn's binary model is the softmax of two columns -w/2 and +w/2 with twice the penalty:
2λ/2 (‖w/2‖² + ‖w/2‖²) = λ/2 ‖w‖². So one objective serves every K; see `Problem.factors`.

A fold that lacks a class has the objective of the other classes: the missing one has no probability and
a kernel of zeros.
"""

from collections.abc import Callable

import numpy as np

from probe.sweep.curvature import Curvature
from probe.sweep.products import backproject, project
from probe.sweep.rows import Rows
from probe.workers import Workers

__all__ = ["Hessian", "Problem"]

# exp(-1e6) is 0, and 1e6 times 0 is not NaN.
_ABSENT = -1e6
# Numbers in a piece of logits: what is done to it, number by number, stays in a cache.
_PIECE = 1 << 17

# From directions (K, J, D) and (K, J) to their products with the Hessian of the loss.
Hessian = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Problem:
    """Rows, labels and folds of a sweep.

    Args:
        rows: N rows of D features; their common scaling is set here.
        labels: (N,) int in 0 … K-1.
        classes: K ≥ 2.
        weights: (F, N) float64: 1/n on the n training rows of a fold, else 0.
        is_zscored: whether features are divided by their deviation; else all of them by one power of two, which
            changes no digit. They are centred either way, which the intercept undoes.
        workers: who computes.

    Attributes:
        dim: of a kernel, D.
        centre, scale: (F, D) float64: fold f sees (x - centre_f) / scale_f.
        unit: the power of two, near the root of the features' mean variance; 1 where they are z-scored. A kernel of
            features as they are is one of these divided by it, so that its penalty is λ / unit².
        shares: (K, F) the classes' shares of a fold's rows.
        entropy: (F,) their entropy: the objective while all kernels are zero.
        factors: (F,) 2 where a fold has two classes, else 1: the penalty of the softmax, by λ.
        curvature: (F,) at least the largest eigenvalue of the loss's Hessian by the kernel: half the trace
            of the Gram matrix. Source: Böhning 1992, Ann. Inst. Statist. Math. 44.
    """

    def __init__(
        self, rows: Rows, labels: np.ndarray, classes: int, *, weights: np.ndarray, is_zscored: bool, workers: Workers
    ) -> None:
        self.rows, self.labels, self.classes, self.weights, self.workers = rows, labels, classes, weights, workers
        self.dim = rows.dim
        self.centre, deviation = self._moments()
        self.unit = 1.0 if is_zscored else _power_of_two(float(np.sqrt(np.square(deviation).mean())))
        self.scale = np.where(deviation > 0, deviation, 1.0) if is_zscored else np.full_like(deviation, self.unit)
        rows.standardise(self.centre.mean(axis=0), self.scale.mean(axis=0))
        self.shares = np.stack([np.bincount(labels, weights=w, minlength=classes) for w in weights], axis=1)
        self._present = self.shares > 0
        self.entropy = -(self.shares * np.log(np.where(self._present, self.shares, 1.0))).sum(axis=0)
        self.factors = np.where(self._present.sum(axis=0) == 2, 2.0, 1.0)
        self.curvature = 0.5 * np.square(deviation / self.scale).sum(axis=1)

    def first_biases(self) -> np.ndarray:
        """Return the biases that are best while all kernels are zero, (K, F)."""
        logs = np.log(np.where(self._present, self.shares, 1.0))
        return np.where(self._present, logs - logs.sum(axis=0) / self._present.sum(axis=0), _ABSENT)

    def balance(self, values: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return values (K, J, …) less their mean over the fold's classes; zero where a class is absent."""
        mask = self._present[:, folds].reshape(self.classes, len(folds), *[1] * (values.ndim - 2))
        return np.where(mask, values - (values * mask).sum(axis=0) / mask.sum(axis=0), 0.0)

    def expand(self, kernels: np.ndarray) -> np.ndarray:
        """Return kernels of all folds by feature, (K, F, D)."""
        return kernels

    def reduce(self, kernels: np.ndarray) -> np.ndarray:
        """Return what of kernels by feature of all folds, (K, F, D), lies where the optimum is sought."""
        return kernels

    def logits(self, kernels: np.ndarray, biases: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return (K, J, N) float64."""
        inside = kernels / self.scale[folds]
        offsets = biases - np.einsum("kjd,jd->kj", inside, self.centre[folds])
        found = np.empty((*biases.shape, self.rows.count))
        flat = inside.reshape(-1, self.rows.dim)

        def compute(at: slice) -> None:
            found[..., at] = project(flat, self.rows.exact(at)).reshape(*biases.shape, -1) + offsets[..., None]

        self.workers.map(compute, self.rows.blocks)
        return found

    def kernel_gradient(self, probabilities: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return the gradient of the loss by the kernels, (K, J, D) float64, without the penalty's part."""
        classes, columns, _ = probabilities.shape

        def compute(at: slice) -> tuple[np.ndarray, np.ndarray]:
            residuals = self._residuals(probabilities[..., at], at, folds)
            return backproject(residuals.reshape(classes * columns, -1), self.rows.exact(at)), residuals.sum(axis=-1)

        products, sums = self.workers.summed(compute, self.rows.blocks)
        inside = products.reshape(classes, columns, -1) - sums[..., None] * self.centre[folds]
        return np.asarray(inside / self.scale[folds])

    def hessian(self, probabilities: np.ndarray, folds: np.ndarray, penalties: np.ndarray) -> Hessian:
        """Return the Hessian of the loss where columns have these probabilities (K, J, N), for directions."""
        ratio = self.rows.scale / self.scale[folds]
        shift = (self.rows.centre - self.centre[folds]) / self.scale[folds]
        return Curvature(
            self.rows,
            self.workers,
            probabilities,
            weights=self.weights[folds],
            penalties=penalties,
            ratio=ratio,
            shift=shift,
        )

    def evaluate(self, logits: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean losses (J,) and probabilities (K, J, N), float64."""
        found = np.empty_like(logits)

        def compute(at: slice) -> tuple[np.ndarray]:
            return (self._softmax(logits[..., at], at, folds, out=found[..., at]),)

        return self.workers.summed(compute, self._pieces(logits))[0], found

    def slope(
        self, logits: np.ndarray, directions: np.ndarray, lengths: np.ndarray, *, folds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return losses (J,) and their derivatives by the length (J,), at logits + lengths · directions."""

        def compute(at: slice) -> tuple[np.ndarray, np.ndarray]:
            along = directions[..., at]
            there = logits[..., at] + lengths[:, None] * along
            loss = self._softmax(there, at, folds, out=there)
            return loss, np.einsum("kjn,kjn->j", self._residuals(there, at, folds), along)

        losses, slopes = self.workers.summed(compute, self._pieces(logits))
        return losses, slopes

    def bias_system(self, probabilities: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient by the biases, (K, J), and its Hessian, (J, K, K), made regular.

        Adding one number to every bias changes nothing. That null direction gets the mean curvature of the others,
        and an absent class a one; the gradient is zero there, so Newton's step is not changed.
        """

        def compute(at: slice) -> tuple[np.ndarray, np.ndarray]:
            piece = probabilities[..., at]
            weighted = piece * self.weights[folds, at]
            return weighted.sum(axis=-1), np.matmul(weighted.transpose(1, 0, 2), piece.transpose(1, 2, 0))

        sums, products = self.workers.summed(compute, self._pieces(probabilities))
        present = self._present[:, folds].T
        trace = np.maximum(sums.sum(axis=0) - np.trace(products, axis1=1, axis2=2), 1e-300)
        fill = trace / present.sum(axis=1) ** 2
        hessian = fill[:, None, None] * (present[:, :, None] & present[:, None, :]) - products
        hessian[:, range(self.classes), range(self.classes)] += np.where(present, sums.T, 1.0)
        return self.balance(sums - self.shares[:, folds], folds), hessian

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each fold's means and standard deviations, (F, D); 0 for a feature that is constant on its rows."""
        shape = (len(self.weights), self.rows.dim)
        mean, square = np.zeros(shape), np.zeros(shape)
        low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
        for at in self.rows.blocks:
            block = self.rows.exact(at)
            mean += self.weights[:, at] @ block
            for fold, weights in enumerate(self.weights[:, at]):
                members = block[weights > 0]
                if len(members):
                    low[fold] = np.minimum(low[fold], members.min(axis=0))
                    high[fold] = np.maximum(high[fold], members.max(axis=0))
        for at in self.rows.blocks:
            block = self.rows.exact(at)
            for fold, weights in enumerate(self.weights[:, at]):
                square[fold] += weights @ np.square(block - mean[fold])
        # Rounding gives a constant feature a tiny deviation: ask for the range instead.
        return mean, np.where(high > low, np.sqrt(square), 0.0)

    def _softmax(self, logits: np.ndarray, at: slice, folds: np.ndarray, *, out: np.ndarray) -> np.ndarray:
        """Write probabilities to `out`, which may be `logits`; return weighted losses (J,)."""
        of_label = logits[self.labels[at], :, np.arange(logits.shape[-1])].T
        top = logits.max(axis=0)
        np.subtract(logits, top, out=out)
        np.exp(out, out=out)
        total = out.sum(axis=0)
        out /= total
        return np.asarray(np.einsum("jn,jn->j", np.log(total) + top - of_label, self.weights[folds, at]))

    def _residuals(self, probabilities: np.ndarray, at: slice, folds: np.ndarray) -> np.ndarray:
        weights = self.weights[folds, at]
        found: np.ndarray = probabilities * weights
        found[self.labels[at], :, np.arange(probabilities.shape[-1])] -= weights.T
        return found

    def _pieces(self, logits: np.ndarray) -> list[slice]:
        classes, columns, count = logits.shape
        step = max(64, _PIECE // (classes * columns))
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _power_of_two(value: float) -> float:
    """Return the power of two that is nearest by ratio, or 1 for what has none."""
    return float(2.0 ** np.round(np.log2(value))) if value > 0 else 1.0
