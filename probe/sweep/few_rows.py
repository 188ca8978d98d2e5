"""Few rows of many features: each fold in coordinates of the span of its own rows.

What a kernel has outside of the span of a fold's scaled rows X̃ (n, D) changes no logit and costs penalty, so the
optimum has nothing there (the representer theorem). With X̃ᵀ = Q R, the columns of Q (D, n) orthonormal, a kernel is
W = Q V: its logits are X̃ W = Rᵀ V, its length is that of V, and its gradient is Q times that of V. So objective,
gradient norm and certificate of V on the rows Rᵀ are those of W, and a hundred rows of 1,280 features are a hundred
of a hundred.

Folds that are z-scored apart have spans of their own; so there is a Q for each, and products run fold by fold.

Source: Schölkopf, Herbrich and Smola 2001, A Generalized Representer Theorem, COLT.
"""

from collections.abc import Callable, Sequence

import numpy as np

from probe.sweep.preconditioner import Preconditioner, apply_twice, invert
from probe.sweep.problem import Hessian, Problem
from probe.sweep.rows import Rows
from probe.workers import Workers

__all__ = ["FewRowsProblem", "FoldBlocks", "are_few"]

# A fold may have this share of D rows; with 0.6, 1,000 rows of 1,280 features still take 0.8 of the time (10 classes)
# and 0.4 of it (100 classes).
_SHARE = 0.7
# Of the rows' whole length: along a direction with less of it than this, none is seen.
_SEEN = 1e-12
# Multiplications of a product with all folds' features below which threads cost more than they bring.
_ALONE_BELOW = 1 << 25


def are_few(dim: int, used: int, sizes: Sequence[int], *, kept_bytes: int) -> bool:
    """Whether folds of these sizes, of so many rows of D features in all, are better fitted in spans of their own."""
    largest = max(sizes)
    kept = len(sizes) * largest * (8 * dim + 12 * used)
    return largest <= _SHARE * dim and kept <= kept_bytes


class FewRowsProblem(Problem):
    """A problem whose kernels (K, J, R) are coordinates in the span of their fold's rows; see `Problem`.

    R is the size of the largest fold; of a smaller one the last coordinates are zero.
    """

    def __init__(
        self, rows: Rows, labels: np.ndarray, classes: int, *, weights: np.ndarray, is_zscored: bool, workers: Workers
    ) -> None:
        super().__init__(rows, labels, classes, weights=weights, is_zscored=is_zscored, workers=workers)
        sizes = (weights > 0).sum(axis=1)
        self.dim = int(sizes.max())
        # (F, R, D) and (F, N, R); rows that a fold does not train on are zero there.
        self._basis = np.zeros((len(sizes), self.dim, rows.dim))
        self.features = np.zeros((len(sizes), rows.count, self.dim))
        exact = np.concatenate([rows.exact(at) for at in rows.blocks])

        def rotate(fold: int) -> None:
            members = np.flatnonzero(weights[fold])
            scaled = (exact[members] - self.centre[fold]) / self.scale[fold]
            basis, triangle = np.linalg.qr(scaled.T)
            lengths = np.linalg.norm(triangle, axis=1)
            # Centred rows add up to nothing: one column of Q at least is a rounding error, and no row is seen along it.
            self._basis[fold, : len(members)] = np.where(lengths > _SEEN * np.linalg.norm(lengths), basis, 0.0).T
            self.features[fold, members, : len(members)] = triangle.T

        workers.map(rotate, range(len(sizes)))
        self.fast_features = self.features.astype(np.float32)
        if classes * self.features.size < _ALONE_BELOW:
            self.workers = Workers()

    def expand(self, kernels: np.ndarray) -> np.ndarray:
        """Return kernels by feature, (K, F, D), of kernels of all folds, (K, F, R)."""
        found: np.ndarray = np.matmul(kernels.transpose(1, 0, 2), self._basis).transpose(1, 0, 2)
        return found

    def reduce(self, kernels: np.ndarray) -> np.ndarray:
        """Return the part of kernels (K, F, D) that lies in the spans, (K, F, R)."""
        return np.ascontiguousarray(
            np.matmul(kernels.transpose(1, 0, 2), self._basis.transpose(0, 2, 1)).transpose(1, 0, 2)
        )

    def logits(self, kernels: np.ndarray, biases: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return (K, J, N) float64."""
        found = self.forward(kernels, self.features, folds)
        found += biases[..., None]
        return found

    def kernel_gradient(self, probabilities: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return the gradient of the loss by the kernels, (K, J, R) float64, without the penalty's part."""
        residuals = self._residuals(probabilities, slice(0, self.rows.count), folds)
        return self.backward(residuals, self.features, folds)

    def hessian(self, probabilities: np.ndarray, folds: np.ndarray, penalties: np.ndarray) -> Hessian:
        """Return the Hessian of the loss where columns have these probabilities (K, J, N), float32 inside."""
        fast = probabilities.astype(np.float32)
        weights = self.weights[folds].astype(np.float32)

        def product(kernels: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            bent = self.forward(kernels.astype(np.float32), self.fast_features, folds)
            bent += biases.astype(np.float32)[..., None]
            bent *= fast
            bent -= fast * bent.sum(axis=0)
            bent *= weights
            products = self.backward(bent, self.fast_features, folds)
            return products.astype(np.float64), bent.sum(axis=-1).astype(np.float64)

        return product

    def forward(self, kernels: np.ndarray, features: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return kernels (K, J, R) times the features (F, N, R) of their folds, (K, J, N)."""
        found = np.empty((*kernels.shape[:2], features.shape[1]), features.dtype)
        self.over(folds, lambda j, fold: np.matmul(kernels[:, j], features[fold].T, out=found[:, j]))
        return found

    def backward(self, residuals: np.ndarray, features: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return residuals (K, J, N) times the features (F, N, R) of their folds, (K, J, R)."""
        found = np.empty((*residuals.shape[:2], features.shape[2]), features.dtype)
        self.over(folds, lambda j, fold: np.matmul(residuals[:, j], features[fold], out=found[:, j]))
        return found

    def over(self, folds: np.ndarray, function: Callable[[int, int], object]) -> None:
        """Call a function with each column's number and fold, some at once."""
        self.workers.map(lambda pair: function(*pair), list(enumerate(folds.tolist())))


class FoldBlocks(Preconditioner):
    """A block for each fold, which its classes share; see `Preconditioner`.

    Few rows of many features can be told apart whatever the penalty, and so are alike uncertain: with a block for each
    class too, 100 to 500 rows of ten classes take a quarter fewer steps, and up to twice the time.

    Args:
        problem: whose Hessian it is.
    """

    def __init__(self, problem: FewRowsProblem) -> None:
        super().__init__(problem)
        self._few = problem
        count, dim = len(problem.weights), problem.dim
        self._of_folds = np.zeros((2, count, dim, dim), np.float32)
        self._fold_centres, self._fold_masses = np.zeros((count, dim)), np.ones(count)

    def __call__(self, kernels: np.ndarray, biases: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply the approximate inverse to residuals, (K, J, R) and (K, J)."""
        problem, centres = self._few, self._fold_centres[folds]
        kernels, biases = problem.balance(kernels, folds), problem.balance(biases, folds)
        centred = (kernels - biases[..., None] * centres).astype(np.float32)
        solved = np.empty_like(kernels)

        def solve(column: int, fold: int) -> None:
            solved[:, column] = apply_twice(self._of_folds[1, fold], centred[:, column])

        problem.over(folds, solve)
        solved_biases = biases / self._fold_masses[folds] - np.einsum("kjr,jr->kj", solved, centres)
        return problem.balance(solved, folds), problem.balance(solved_biases, folds)

    def _is_stale(self, has_moved: bool) -> bool:
        # They cost no more than the factors, and stale ones predict too little of what is left to gain.
        return has_moved or super()._is_stale(has_moved)

    def _weigh(self, probabilities: np.ndarray, folds: np.ndarray) -> None:
        problem = self._few
        # Folds that are done, and not among these, keep what they have.
        weights = (probabilities * (1 - probabilities)).mean(axis=0) * problem.weights[folds]

        def compute(column: int, fold: int) -> None:
            mass = max(float(weights[column].sum()), 1e-30)
            centre = weights[column] @ problem.features[fold] / mass
            share = np.sqrt(weights[column]).astype(np.float32)[:, None]
            centred = (problem.fast_features[fold] - centre.astype(np.float32)) * share
            np.matmul(centred.T, centred, out=self._of_folds[0, fold])
            self._fold_centres[fold], self._fold_masses[fold] = centre, mass

        problem.over(folds, compute)

    def _factorise(self) -> None:
        grams, inverses = self._of_folds

        def compute(fold: int) -> None:
            inverses[fold] = invert(grams[fold], self._penalty)

        self._few.workers.map(compute, range(len(grams)))
