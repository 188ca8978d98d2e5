"""An approximate inverse of the Hessian: one block per class, each with a weighted Gram matrix of its own.

The Hessian's block of class k is X̃ᵀ diag(w) X̃ + λI with w = p_k (1 - p_k), X̃ centred at its weighted mean (which takes
the bias out). On 6,000 rows of z-scored pixels at C = 1, conjugate gradients need 12 steps with these blocks for what
takes 108 with one Gram matrix for all classes, and 128 with Böhning's bound. What couples the classes is left out, and
neither weights nor penalty need be exact: folds share the blocks, and they serve many points of a path.
"""

import math

import numpy as np

from probe.sweep.curvature import NEGLIGIBLE
from probe.sweep.problem import Problem
from probe.sweep.products import backproject

__all__ = ["Preconditioner", "apply_twice", "draw_by_weight", "invert"]

# Rows per dimension from which a Gram matrix is drawn. Fewer make it cheaper, but directions that few rows
# see are lost: with 8 instead of all 23, steps doubled at weak penalties.
_ROWS_PER_DIM = 24
# Bytes of blocks; where they do not suffice, classes of like share have one in common.
_BUDGET = 512 << 20
# A block's Gram matrix in float64 … the rows' float32 decides its precision; below this share of the diagonal
# its eigenvalues are rounding errors.
_ROUNDING = 1e-7
# With a penalty above this share of the matrix's norm, rounding to float32 is not felt in the factors, which then take
# half the time.
_SAFE = 1e-5
# Rows of an inverse factor that are applied at once, and that are computed at once.
_BAND = 256
_FEW = 64
# Rows that are added to a Gram matrix at once: their copy is small enough to be used again by the next.
_PIECE = 2048
# Classes whose weights differ from their mean by less than this share, on average over the rows' mass, share a block:
# with strong penalties no row is certain of anything.
_ALIKE = 0.25
# Factors serve until the penalty has moved by this factor.
_PENALTY_RANGE = 2.8
# Rows are left out that would not be felt at a penalty this much weaker, for which the matrices may still serve.
_FUTURE = 0.1
# What a new set of Gram matrices costs: this share of D steps of one fold.
_PATIENCE = 1 / 24


class Preconditioner:
    """Blocks for columns that lie near each other.

    They are computed anew when waiting has cost as much as that would: after so many steps above what the
    first solution with them took.

    Args:
        problem: whose Hessian it is.

    Attributes:
        refreshes: how often the Gram matrices were computed.
        optimism: at most so many times what the blocks alone foresee was gained since then, at least 1.
    """

    def __init__(self, problem: Problem) -> None:
        self.refreshes = 0
        self.optimism = 1.0
        self._problem = problem
        self._patience = max(4.0, _PATIENCE * problem.dim / len(problem.weights))
        self._waited, self._least = 0, 0
        self._penalty = self._least_felt = 0.0
        # Of B blocks: the classes of each (B, V), its Gram matrix, and the inverse factor of that.
        self._members = np.zeros((0, 0), np.int64)
        self._grams: list[np.ndarray] = []
        self._inverses = np.zeros((0, 0, 0), np.float32)
        self._centres = np.zeros((0, 0))
        self._masses = np.zeros(0)

    def update(self, probabilities: np.ndarray, folds: np.ndarray, penalties: np.ndarray) -> None:
        """Follow the columns to another point.

        Args:
            probabilities: (K, J, N) at the columns.
            folds: (J,) their folds.
            penalties: (J,) their λ.
        """
        penalty = math.exp(np.log(penalties).mean())
        has_moved = not self._penalty / _PENALTY_RANGE < penalty < self._penalty * _PENALTY_RANGE
        if self._is_stale(has_moved):
            self.refreshes += 1
            self._waited, self._least, self.optimism = 0, 0, 1.0
            self._least_felt = _FUTURE * NEGLIGIBLE * penalty
            self._weigh(probabilities, folds)
            has_moved = True
        if has_moved:
            self._penalty = penalty
            self._factorise()

    def note(self, steps: int, optimism: float) -> None:
        """Take notice of how many steps a solution took, and how much more it gained than the blocks foresaw."""
        self.optimism = max(self.optimism, optimism)
        if not self._least:
            self._least = steps
        self._waited += max(0, steps - self._least)

    def __call__(self, kernels: np.ndarray, biases: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply the approximate inverse to residuals, (K, J, D) and (K, J)."""
        kernels, biases = self._problem.balance(kernels, folds), self._problem.balance(biases, folds)
        solved, solved_biases = np.empty_like(kernels), np.empty_like(biases)
        masses, centres = self._masses[:, None, None], self._centres[:, None, None]
        right_biases = biases[self._members]
        right = (kernels[self._members] - right_biases[..., None] * centres).astype(np.float32)
        vectors = right.reshape(len(right), -1, right.shape[-1])
        turns = min(len(right), self._problem.workers.count)
        pieces = zip(np.array_split(self._inverses, turns), np.array_split(vectors, turns), strict=True)
        found = self._problem.workers.map(lambda piece: apply_twice(*piece), list(pieces))
        of_blocks = np.concatenate(found, dtype=np.float64).reshape(right.shape)
        solved[self._members] = of_blocks
        solved_biases[self._members] = right_biases / masses - np.einsum("bvjd,bd->bvj", of_blocks, self._centres)
        return self._problem.balance(solved, folds), self._problem.balance(solved_biases, folds)

    def _is_stale(self, has_moved: bool) -> bool:
        """Whether the Gram matrices are to be computed anew; `has_moved` is whether the penalty has, too far."""
        return not self.refreshes or self._waited > self._patience

    def _weigh(self, probabilities: np.ndarray, folds: np.ndarray) -> None:
        """Compute the Gram matrices for columns with these probabilities (K, J, N)."""
        of_folds = self._problem.weights[folds]
        weights = np.stack([(p * (1 - p) * of_folds).mean(axis=0) for p in probabilities])
        dim = self._problem.dim
        affordable = 1 if _are_alike(weights) else int(max(1, _BUDGET // (8 * dim * dim)))
        each = -(-len(weights) // affordable)
        by_mass = np.argsort(weights.sum(axis=1), kind="stable")
        # The last block may have fewer classes: one of its own stands there again.
        padded = np.append(by_mass, np.repeat(by_mass[-1:], -len(by_mass) % each))
        self._members = padded.reshape(-1, each)
        thinned = np.stack([self._thin(weights[members].mean(axis=0)) for members in self._members])
        # A class that no row is uncertain of has no curvature left; its blocks are the penalty's.
        self._masses = np.maximum(thinned.sum(axis=1), 1e-30)
        fast, shares = self._problem.rows.fast, thinned.astype(np.float32)
        products = self._problem.workers.summed(
            lambda at: (backproject(shares[:, at], fast(at)).astype(np.float64),), self._problem.rows.blocks
        )
        self._centres = products[0] / self._masses[:, None]
        self._grams = self._problem.workers.map(self._gram, list(zip(thinned, self._centres, strict=True)))

    def _thin(self, weights: np.ndarray) -> np.ndarray:
        """Return weights (N,) of the rows from which a block is computed, 0 for the others."""
        if self._problem.rows.squares is not None:
            is_felt = weights * self._problem.rows.squares > self._least_felt
            weights = np.where(is_felt | (weights > NEGLIGIBLE * weights.mean()), weights, 0.0)
        drawn, found = draw_by_weight(weights, _ROWS_PER_DIM * self._problem.rows.dim)
        thinned = np.zeros_like(weights)
        thinned[drawn] = found
        return thinned

    def _gram(self, weighted: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the Gram matrix (D, D) float32 for weights (N,) and their centre (D,)."""
        weights, centre = weighted
        drawn = np.flatnonzero(weights)
        found = np.zeros((len(centre), len(centre)), np.float32)
        for start in range(0, len(drawn), _PIECE):
            numbers = drawn[start : start + _PIECE]
            piece = self._problem.rows.take(numbers)
            piece -= centre.astype(np.float32)
            piece *= np.sqrt(weights[numbers]).astype(np.float32)[:, None]
            found += piece.T @ piece
        return found

    def _factorise(self) -> None:
        """Bring the inverse factors to the penalty."""
        if self._inverses.shape[:2] != (len(self._grams), self._problem.dim):
            self._inverses = np.empty((len(self._grams), self._problem.dim, self._problem.dim), np.float32)

        def factorise(at: int) -> None:
            self._inverses[at] = invert(self._grams[at], self._penalty)

        self._problem.workers.map(factorise, range(len(self._grams)))


def invert(gram: np.ndarray, penalty: float) -> np.ndarray:
    """Return the inverse of the Cholesky factor of a Gram matrix and a penalty, (D, D) float32."""
    added = penalty
    dtype = np.float32 if added > _SAFE * float(np.linalg.norm(gram)) else np.float64
    while True:
        try:
            return _inverse_factor(gram, added, dtype).astype(np.float32, copy=False)
        except np.linalg.LinAlgError:
            if dtype == np.float64:
                added = max(10 * added, _ROUNDING * float(gram.diagonal().max()))
            dtype = np.float64


def _inverse_factor(gram: np.ndarray, added: float, dtype: type) -> np.ndarray:
    """Return the inverse of the Cholesky factor of a matrix (D, D) with a number added to its diagonal.

    A few rows after the other, by bordering: what is there of the inverse gives the Schur complement of the next.
    Every product is NumPy's, which lets other threads run; SciPy's LAPACK does not.
    """
    found: np.ndarray = np.zeros(gram.shape, dtype)
    for start in range(0, len(gram), _FEW):
        band = slice(start, min(start + _FEW, len(gram)))
        left: np.ndarray = gram[band, :start].astype(dtype)
        corner: np.ndarray = gram[band, band].astype(dtype)
        solved = apply_twice(found[:start, :start], left)
        corner.flat[:: len(corner) + 1] += dtype(added)
        factor = np.linalg.cholesky(corner - solved @ left.T)
        found[band, band] = inverse = np.tril(np.linalg.inv(factor))
        found[band, :start] = -inverse @ solved
    return found


def apply_twice(inverses: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return vectors (…, V, D) times the transposes of inverse factors (…, D, D), and times the factors.

    Two products, and not one with the inverse: rounding cannot make this indefinite. Both take a band of rows while it
    is in the cache, and leave out the zeros above the diagonal.
    """
    found = np.zeros_like(vectors)
    for start in range(0, vectors.shape[-1], _BAND):
        stop = min(start + _BAND, vectors.shape[-1])
        band = inverses[..., start:stop, :stop]
        found[..., :stop] += (vectors[..., :stop] @ band.swapaxes(-1, -2)) @ band
    return found


def _are_alike(weights: np.ndarray) -> bool:
    """Whether one block serves all classes, by their weights (K, N)."""
    mean = weights.mean(axis=0)
    spread = np.abs(weights - mean).sum(axis=1) / max(float(mean.sum()), 1e-300)
    return bool(spread.max() < _ALIKE)


def draw_by_weight(weights: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw about `budget` rows by weight, without randomness.

    Args:
        weights: (N,) ≥ 0.
        budget: how many rows at most, about.

    Returns:
        Increasing row numbers (n,), and weights (n,) that stand for all rows. Heavy rows keep their own
        weight; of light ones each drawn stands for its neighbours too.
    """
    rows = np.flatnonzero(weights > 0)
    found = weights[rows]
    if len(rows) <= budget:
        return rows, found
    factor = budget / found.sum()
    for _ in range(10):
        chance = np.minimum(1.0, factor * found)
        factor *= budget / chance.sum()
    chance = np.minimum(1.0, factor * found)
    # Systematic sampling: a row is drawn where the running sum of chances passes a whole number and a half.
    is_drawn = np.diff(np.floor(np.cumsum(chance) + 0.5), prepend=0.0) > 0
    return rows[is_drawn], (found / chance)[is_drawn]
