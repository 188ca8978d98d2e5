"""A run seen class by class. Imports scikit-learn and SciPy, so only writing a site imports it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from store import ProbeResult

__all__ = ["ClassRow", "ConfusedPair", "class_rows", "confused_pairs", "confusion"]


@dataclass(frozen=True)
class ClassRow:
    """One class of the test split; what is undefined (no such example, never predicted) is NaN.

    Attributes:
        name: the class name.
        n: test examples of the class.
        precision: share of right ones among the examples predicted as this class.
        recall: share of right ones among the examples of this class.
        recall_low: lower end of the recall's 95% Wilson interval.
        recall_high: its upper end.
        f1: harmonic mean of precision and recall.
    """

    name: str
    n: int
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that were taken for one another, in one direction.

    Attributes:
        label: the true class.
        predicted: what it was taken for.
        count: how often.
        share: of the test examples of the true class, in [0, 1].
    """

    label: str
    predicted: str
    count: int
    share: float


def confusion(run: ProbeResult) -> npt.NDArray[np.int64]:
    """Count predictions.

    Returns:
        Counts of shape (classes, classes), a row per true class, a column per predicted class.
    """
    size = len(run.class_names)
    labels, predicted = (run.predictions[name].to_numpy(np.int64) for name in ("label", "predicted"))
    counts = np.bincount(labels * size + predicted, minlength=size * size)
    return counts.reshape(size, size).astype(np.int64)


def class_rows(run: ProbeResult) -> list[ClassRow]:
    """Return a row per class, in label order."""
    labels, predicted = (run.predictions[name].to_numpy(np.int64) for name in ("label", "predicted"))
    scores: Any = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(run.class_names)), zero_division=np.nan
    )
    right = np.diag(confusion(run))
    rows = []
    for index, (name, precision, recall, f1, n) in enumerate(zip(run.class_names, *scores, strict=True)):
        low, high = _wilson(int(right[index]), int(n))
        rows.append(ClassRow(name, int(n), float(precision), float(recall), low, high, float(f1)))
    return rows


def confused_pairs(run: ProbeResult, count: int = 15) -> list[ConfusedPair]:
    """Return the most frequent confusions, ties by the share of the true class, then label order.

    Args:
        run: the run.
        count: how many pairs at most.
    """
    counts = confusion(run)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    pairs = [
        ConfusedPair(run.class_names[i], run.class_names[j], int(counts[i, j]), float(counts[i, j] / totals[i]))
        for i, j in zip(*np.nonzero(counts), strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:count]


def _wilson(right: int, n: int) -> tuple[float, float]:
    if n == 0:
        return float("nan"), float("nan")
    interval = binomtest(right, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
