"""A grid of penalties on some folds: every fit, and its score on the rows that the fold holds out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe.prediction import predict_proba
from probe.selection import BY_ACCURACY, MAX_EXTENSIONS, Criterion, Score, extend_grid, score_fold
from probe.sweep.path import PathFit, SoftmaxPath
from probe.sweep.rows import Rows, mean_variance
from probe.workers import open_workers

__all__ = ["PATIENCE", "Search", "grid_for", "search"]

# 45 points. Source: on unscaled features from 1e-6 to 1e5: Oquab et al. 2023, DINOv2 (dinov2/eval/log_regression.py).
_GRID_ZSCORE = tuple(float(f"{C:.12g}") for C in 10.0 ** np.linspace(-7, 2, 45))
_GRID_OTHERS = tuple(float(f"{C:.12g}") for C in 10.0 ** np.linspace(-6, 5, 45))


def grid_for(features: Any, scaling: str) -> tuple[float, ...]:
    """Return the values of C to try, from strong to weak regularisation.

    Unscaled features may be of any size, and C is of theirs: 1e-6 to 1e5 hold for features whose mean variance is 1,
    and are divided by it. So features times a thousand give the same heads.

    Args:
        features: (N, D) floats that can be sliced by rows, not scaled.
        scaling: zscore, l2 or none.
    """
    if scaling != "none":
        return _GRID_ZSCORE if scaling == "zscore" else _GRID_OTHERS
    variance = mean_variance(features)
    return tuple(float(f"{C / variance:.12g}") for C in _GRID_OTHERS)


# A default grid is left where two decades (of 45 points over nine) brought nothing.
PATIENCE = 10


@dataclass(frozen=True)
class Search:
    """What a search saw; points run from strong to weak regularisation.

    Attributes:
        points: the values of C.
        scores: for each point, of every fold.
        fits: for each point, of every fold, without their heads.
        starts: for each point the first fold's kernel (D, K) float32, and bias (K,).
        held_out: for each point the probabilities (M, K) float32 of rows held out; see `predicted_folds`.
        notes: on what was added to the grid.
        unresolved: where the search had to stop on an edge.
    """

    points: list[float]
    scores: list[Sequence[Score]]
    fits: list[list[PathFit]]
    starts: list[tuple[np.ndarray, np.ndarray]]
    held_out: list[np.ndarray]
    notes: list[str]
    unresolved: list[str]


def search(
    features: Any,
    labels: np.ndarray,
    classes: int,
    *,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    scaling: str,
    grid: Sequence[float],
    gap: float = 1e-4,
    is_extended: bool = True,
    criterion: Criterion = BY_ACCURACY,
    predicted_folds: int = 0,
    patience: int | None = None,
    on_point: Callable[[float], None] = lambda _: None,
) -> Search:
    """Fit and score a grid on some folds.

    Args:
        features: (N, D) floats that can be sliced by rows, not scaled.
        labels: (N,) int in 0 … K-1.
        classes: K.
        pairs: training rows and rows held out of each fold, increasing numbers.
        scaling: zscore, l2 or none, fitted on each fold's training rows.
        grid: increasing values of C.
        gap: see `SoftmaxPath`.
        is_extended: whether to go on by decades while the choice lies on an edge, and to leave the grid where it brings
            nothing any more; else all of it is seen, and an edge only told.
        criterion: what the choice goes by.
        predicted_folds: of how many of the first folds the predictions are kept, at every point.
        patience: points without gain after which a grid may be left; 0 for none, by default `PATIENCE`.
        on_point: is told each C before it is fitted.
    """
    fits: dict[float, list[PathFit]] = {}
    starts: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    kept: dict[float, np.ndarray] = {}
    with open_workers() as workers:
        path = SoftmaxPath(
            features, labels, classes, folds=[train for train, _ in pairs], scaling=scaling, workers=workers, gap=gap
        )

        def score(C: float) -> list[Score]:
            on_point(C)
            found = path.fit(C)
            starts[C] = found[0].kernel.astype(np.float32), found[0].bias
            fits[C] = [fit.without_head() for fit in found]
            predicted = [_predict(features, held_out, fit) for (_, held_out), fit in zip(pairs, found, strict=True)]
            kept[C] = np.concatenate([np.zeros((0, classes)), *predicted[:predicted_folds]], dtype=np.float32)
            return [score_fold(labels[rows], of_fold) for (_, rows), of_fold in zip(pairs, predicted, strict=True)]

        if len(grid) > 1:
            most = MAX_EXTENSIONS if is_extended else 0
            seen = PATIENCE if patience is None else patience
            points, scores, notes, unresolved = extend_grid(
                grid, score, criterion=criterion, most=most, patience=seen if is_extended else 0
            )
        else:
            # One candidate is no choice, and so on no edge.
            points, scores, notes, unresolved = list(grid), [score(C) for C in grid], [], []
    return Search(
        points,
        scores,
        fits=[fits[C] for C in points],
        starts=[starts[C] for C in points],
        held_out=[kept[C] for C in points],
        notes=notes,
        unresolved=unresolved,
    )


def _predict(features: Any, held_out: np.ndarray, fit: PathFit) -> np.ndarray:
    rows, head = Rows(features, held_out), fit.arrays()
    return np.concatenate([predict_proba(head, rows.exact(at)) for at in rows.blocks])
