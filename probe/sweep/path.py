"""The path: from one penalty to the next, each start extrapolated from the points before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from probe.prediction import head_arrays
from probe.scaling import Scaler
from probe.sweep.few_rows import FewRowsProblem, FoldBlocks, are_few
from probe.sweep.newton import Certified, Columns, minimise
from probe.sweep.preconditioner import Preconditioner
from probe.sweep.problem import Problem
from probe.sweep.rows import KEPT_BYTES, Rows
from probe.workers import Workers

__all__ = ["PathFit", "SoftmaxPath"]

# Points that a start is extrapolated from: a cubic in log C.
_POINTS = 4
_HISTORY_BYTES = 256 << 20


@dataclass(frozen=True)
class PathFit:
    """One fold's head at one C.

    Attributes:
        C: inverse penalty, as scikit-learn's: λ = 1 / (C n), n being the fold's training rows.
        scaler: what is done to features first.
        kernel: (D, K) float64, on scaled features.
        bias: (K,) float64; a class that the fold lacks has -1e6.
        objective: scikit-learn's, divided by C n.
        gradient_norm: of the objective, by kernel and bias.
        bound: the objective is at most this far above its minimum.
        newton_steps, iterations: steps of Newton's method, and of conjugate gradients inside.
        converged: whether the bound is within the share of the objective that was asked for.
    """

    C: float
    scaler: Scaler
    kernel: np.ndarray
    bias: np.ndarray
    objective: float
    gradient_norm: float
    bound: float
    newton_steps: int
    iterations: int
    converged: bool

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the head as plain arrays; see `probe.prediction`."""
        return head_arrays(self.scaler, self.kernel, self.bias)

    def without_head(self) -> "PathFit":
        """Return what is known of the fit, without its large arrays."""
        nothing = np.zeros(0)
        return replace(self, scaler=Scaler(self.scaler.kind, nothing, nothing), kernel=nothing, bias=nothing)


@dataclass(frozen=True)
class _Visited:
    """A point of the path: log C, kernels (K, F, D), biases (K, F), logits (K, F, N)."""

    log_c: float
    kernels: np.ndarray
    biases: np.ndarray
    logits: np.ndarray


class SoftmaxPath:
    """Softmax regression on several folds of the same rows, at one C after another.

    Any order gives the same fits, within their certificates; from small C to large, in steps below a factor 2, is fast.

    Args:
        features: (N, D) floats that can be sliced by rows: an array, or `store.Features`. Not scaled.
        labels: (N,) int in 0 … K-1.
        classes: K ≥ 2.
        folds: the training rows of each fold, numbers that do not fall; each fold has two classes or more.
        scaling: zscore, l2 or none, fitted on each fold's own training rows.
        workers: who computes; see `open_workers`.
        gap: a fit has converged if its certificate is within this share of its objective.
        kept_bytes: a scaled float32 copy of the rows is kept if it is no larger.
    """

    def __init__(
        self,
        features: Any,
        labels: np.ndarray,
        classes: int,
        *,
        folds: Sequence[np.ndarray],
        scaling: str,
        workers: Workers | None = None,
        gap: float = 1e-4,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        used = np.unique(np.concatenate(folds))
        weights = np.zeros((len(folds), len(used)))
        for fold, rows in enumerate(folds):
            # A row that stands there twice counts twice.
            np.add.at(weights[fold], np.searchsorted(used, rows), 1.0 / len(rows))
        self._sizes = np.array([len(rows) for rows in folds])
        self._scaling, self._gap = scaling, gap
        selected = None if len(used) == len(labels) else used
        kept = Rows(features, selected, is_l2=scaling == "l2", kept_bytes=kept_bytes)
        self._problem: Problem
        self._preconditioner: Preconditioner
        if are_few(kept.dim, kept.count, self._sizes.tolist(), kept_bytes=kept_bytes):
            self._problem = few = FewRowsProblem(
                kept,
                labels[used],
                classes,
                weights=weights,
                is_zscored=scaling == "zscore",
                workers=workers or Workers(),
            )
            self._preconditioner = FoldBlocks(few)
        else:
            self._problem = Problem(
                kept,
                labels[used],
                classes,
                weights=weights,
                is_zscored=scaling == "zscore",
                workers=workers or Workers(),
            )
            self._preconditioner = Preconditioner(self._problem)
        self._folds = np.arange(len(folds))
        one = 8 * classes * weights.size
        self._points = int(min(_POINTS, max(1, _HISTORY_BYTES // one)))
        biases = self._problem.first_biases()
        kernels = np.zeros((*biases.shape, self._problem.dim))
        logits = np.broadcast_to(biases[..., None], (*biases.shape, kept.count))
        # Where C is 0. The logits of all rows are the same: a view that takes no memory.
        self._origin = _Visited(-math.inf, kernels, biases, logits)
        self._visited: list[_Visited] = []

    def start_at(self, C: float, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> None:
        """Let the next fit start from these heads if they are better than what it has: (D, K) and (K,) per fold."""
        found = self._problem.unit * np.stack([kernel.T for kernel in kernels], axis=1).astype(np.float64)
        offsets = np.stack(biases, axis=1) + self._offsets(found)
        found = self._problem.reduce(self._problem.balance(found, self._folds))
        offsets = np.where(self._problem.shares > 0, offsets, self._origin.biases)
        logits = self._problem.logits(found, offsets, self._folds)
        self._visited = [_Visited(math.log(C), found, offsets, logits)]

    def fit(self, C: float) -> list[PathFit]:
        """Minimise at one C; returns a fit per fold."""
        start = self._start(math.log(C), self._problem.factors / (C * self._problem.unit**2 * self._sizes))
        columns, found = minimise(self._problem, start, self._preconditioner, gap=self._gap)
        visited = _Visited(math.log(C), columns.kernels, columns.biases, columns.logits)
        others = [point for point in self._visited if point.log_c != visited.log_c]
        self._visited = [*others, visited][-self._points :]
        kernels = self._problem.expand(columns.kernels)
        biases = columns.biases - self._offsets(kernels)
        return [
            self._describe(fold, C, kernels[:, fold], bias=biases[:, fold], found=found)
            for fold in range(len(self._folds))
        ]

    def _start(self, log_c: float, penalties: np.ndarray) -> Columns:
        """Return the best of some starts, for each fold: zero, and polynomials through the last points."""
        best = self._extrapolate([self._origin], log_c, penalties)
        least = self._objective(best)
        for count in range(1, len(self._visited) + 1):
            found = self._extrapolate(self._visited[-count:], log_c, penalties)
            objective = self._objective(found)
            best, least = best.replaced(objective < least, found), np.minimum(objective, least)
        return best

    def _extrapolate(self, points: Sequence[_Visited], log_c: float, penalties: np.ndarray) -> Columns:
        shares = _lagrange([point.log_c for point in points], log_c)
        kernels, biases, logits = (
            np.asarray(sum(share * getattr(point, name) for share, point in zip(shares, points, strict=True)))
            for name in ("kernels", "biases", "logits")
        )
        return Columns(kernels, biases, logits, self._folds, penalties)

    def _objective(self, columns: Columns) -> np.ndarray:
        return np.asarray(self._problem.evaluate(columns.logits, self._folds)[0] + columns.shrinkage())

    def _offsets(self, kernels: np.ndarray) -> np.ndarray:
        """Return what centring adds to the biases of heads that do not centre, (K, F)."""
        if self._scaling == "zscore":
            return np.zeros(kernels.shape[:2])
        return np.asarray(np.einsum("kfd,fd->kf", kernels / self._problem.unit, self._problem.centre))

    def _describe(self, fold: int, C: float, kernel: np.ndarray, *, bias: np.ndarray, found: Certified) -> PathFit:
        mean, scale = self._problem.centre[fold], self._problem.scale[fold]
        if self._scaling != "zscore":
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        return PathFit(
            C=C,
            scaler=Scaler(self._scaling, mean, scale),
            kernel=np.ascontiguousarray(kernel.T / self._problem.unit),
            bias=bias.copy(),
            objective=float(found.objective[fold]),
            gradient_norm=float(found.gradient_norm[fold]),
            bound=float(found.bound[fold]),
            newton_steps=int(found.newton_steps[fold]),
            iterations=int(found.iterations[fold]),
            converged=bool(found.bound[fold] <= self._gap * found.objective[fold]),
        )


def _lagrange(nodes: Sequence[float], at: float) -> list[float]:
    """Return the shares of the nodes' values in the polynomial through them."""
    return [
        math.prod((at - other) / (node - other) for j, other in enumerate(nodes) if j != i)
        for i, node in enumerate(nodes)
    ]
