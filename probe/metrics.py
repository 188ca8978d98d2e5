"""Numbers about predictions, each with its definition.

They are written out in NumPy, and tested against scikit-learn, which takes longer to import than most heads to train.
"""

import numpy as np

from probe.intervals import balanced_interval, bootstrap_sums, expanded_interval, wilson_interval
from probe.rank_metrics import auroc_with_interval, average_precision

__all__ = [
    "brier_score",
    "cohen_kappa",
    "compute_metrics",
    "expected_calibration_error",
    "macro_f1",
    "negative_log_likelihood",
    "recalls_of",
    "top_k_accuracy",
]

# Probabilities are clipped here before the logarithm: a certain mistake costs 34.5 nats, not infinity.
NLL_CLIP = 1e-15
ECE_BINS = 15


def compute_metrics(labels: np.ndarray, probabilities: np.ndarray, units: np.ndarray | None = None) -> dict[str, float]:
    """Compute the metrics of a test.

    Args:
        labels: (N,) int in 0 … K-1, N ≥ 1.
        probabilities: (N, K), each row sums to 1.
        units: (N,) int, 0 … U-1: rows that were not drawn apart from each other, such as those of one group; None if
            every row was drawn by itself.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall of the classes), each with `…_low` and `…_high` (95%: Wilson's,
        or resampled by unit), `macro_f1`, `top5` (only with more than 5 classes), `nll` (mean, natural logarithm),
        `ece`, `brier`, `cohen_kappa`; and where the rows show two classes or more, `average_precision` and `auroc` with
        `auroc_low` and `auroc_high`.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    is_correct = predicted == labels
    metrics = {
        "accuracy": float(is_correct.mean()),
        "balanced_accuracy": float(recalls_of(labels, predicted, classes)[0].mean()),
        "macro_f1": macro_f1(labels, predicted, classes),
        "nll": negative_log_likelihood(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "brier": brier_score(labels, probabilities),
        "cohen_kappa": cohen_kappa(labels, predicted, classes),
    }
    if (labels != labels[0]).any():
        metrics["auroc"], metrics["auroc_low"], metrics["auroc_high"] = auroc_with_interval(
            labels, probabilities, units
        )
        metrics["average_precision"] = average_precision(labels, probabilities)
    for name, (low, high) in _intervals(labels, is_correct, units).items():
        metrics[f"{name}_low"], metrics[f"{name}_high"] = low, high
    if classes > 5:
        metrics["top5"] = top_k_accuracy(labels, probabilities)
    return metrics


def recalls_of(labels: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the recalls of the classes that occur, and how many rows each of them has; both (≤ K,)."""
    totals = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[labels == predicted], minlength=classes)
    occurs = totals > 0
    return right[occurs] / totals[occurs], totals[occurs]


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Return the mean over all classes of F1 = 2 TP / (2 TP + FP + FN), which is 0 for a class without a true positive.

    Source: `sklearn.metrics.f1_score` with `average="macro"` and `zero_division=0`.
    """
    true_positives = np.bincount(labels[labels == predicted], minlength=classes)
    rows = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    f1 = np.divide(2.0 * true_positives, rows, out=np.zeros(classes), where=rows > 0)
    return float(f1.mean())


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over rows of the squared distance between probabilities and truth, halved for two classes.

    Source: Brier 1950, Verification of forecasts expressed in terms of probability; `sklearn.metrics.brier_score_loss`.
    """
    distance = np.square(probabilities, dtype=np.float64).sum(axis=1)
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float((distance - 2 * own + 1).mean()) / (2 if probabilities.shape[1] == 2 else 1)


def cohen_kappa(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Return by how much the predictions agree with the labels beyond chance: 1 for all, 0 for chance.

    Where both say one class alone, everything is chance, and that is 0.

    Source: Cohen 1960, A coefficient of agreement for nominal scales; `sklearn.metrics.cohen_kappa_score`.
    """
    counts = [np.bincount(of, minlength=classes) / len(labels) for of in (labels, predicted)]
    expected = float(counts[0] @ counts[1])
    agreed = float((labels == predicted).mean())
    return (agreed - expected) / (1 - expected) if expected < 1 else 0.0


def top_k_accuracy(labels: np.ndarray, probabilities: np.ndarray, k: int = 5) -> float:
    """Return the share of rows whose class is among the k most probable.

    Where classes are equally probable, any of them may be the k-th: a row counts for the chance that its class is. With
    no such ties it is `sklearn.metrics.top_k_accuracy_score`, which takes the last of them.
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    more, equal = (probabilities > own).sum(axis=1), (probabilities == own).sum(axis=1)
    return float(np.clip((k - more) / equal, 0.0, 1.0).mean())


def _intervals(labels: np.ndarray, is_correct: np.ndarray, units: np.ndarray | None) -> dict[str, tuple[float, float]]:
    totals = np.bincount(labels)
    right = np.bincount(labels, is_correct, minlength=len(totals)).astype(np.int64)
    count = len(labels) if units is None else int(units.max()) + 1
    if units is None or count < 2 or is_correct.all() or not is_correct.any():
        # Where all rows agree, resampling can show nothing else: Wilson's then, with a unit for a row.
        scale = count / len(labels)
        correct = round(float(scale * is_correct.sum()))
        occurs = totals > 0
        sizes = np.maximum(np.round(scale * totals[occurs]), 1)
        recalls = right[occurs] / totals[occurs]
        return {
            "accuracy": wilson_interval(correct, count),
            "balanced_accuracy": balanced_interval(np.round(recalls * sizes), sizes),
        }
    return _resampled_intervals(labels, is_correct, units, count=count)


def _resampled_intervals(
    labels: np.ndarray, is_correct: np.ndarray, units: np.ndarray, *, count: int
) -> dict[str, tuple[float, float]]:
    """Return intervals from resampling whole units: (U, K) right and (U, K) all rows of each unit and class."""
    names, of_row = np.unique(labels, return_inverse=True)
    cells = units * len(names) + of_row
    shape = (count, len(names))
    right = np.bincount(cells, is_correct, minlength=count * len(names)).reshape(shape)
    totals = np.bincount(cells, minlength=count * len(names)).reshape(shape)
    drawn = bootstrap_sums(np.hstack([right, totals]))
    drawn_right, drawn_totals = drawn[:, : len(names)], drawn[:, len(names) :]
    accuracy = drawn_right.sum(axis=1) / drawn_totals.sum(axis=1)
    # A class that a resample lacks has no recall there.
    recalls = np.divide(drawn_right, drawn_totals, out=np.full_like(drawn_right, np.nan), where=drawn_totals > 0)
    return {
        "accuracy": expanded_interval(accuracy, count),
        "balanced_accuracy": expanded_interval(np.nanmean(recalls, axis=1), count),
    }


def negative_log_likelihood(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean of -log p(label), with p clipped to at least `NLL_CLIP`."""
    chosen = probabilities[np.arange(len(labels)), labels]
    # Not minus the mean: that of certainties would be -0.
    return float(0.0 - np.log(np.clip(chosen, NLL_CLIP, 1.0)).mean())


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error of the top class.

    Rows fall into bins of equal width by confidence, a bin (low, high]; the error is the mean over
    rows of |accuracy of the row's bin - mean confidence of the row's bin|.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2 (15 bins).
    """
    confidence = probabilities.max(axis=1)
    is_correct = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, is_correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
