"""Metrics that look at the order of probabilities, and the AUROC's interval.

They are written out in NumPy, and tested against scikit-learn, which takes longer to import than most heads to train.
"""

import numpy as np

from probe.intervals import wilson_interval

__all__ = ["auroc_with_interval", "average_precision"]

# Of the standard normal distribution: 95% lie between -z and z.
_Z = 1.959963984540054


def auroc_with_interval(
    labels: np.ndarray, probabilities: np.ndarray, units: np.ndarray | None = None
) -> tuple[float, float, float]:
    """Return the area under the ROC curve, and its 95% interval.

    For each class that occurs, and not in every row, the chance that a row of it has a higher probability of the class
    than a row of another, equal ones counting half; and the mean over these classes. Two classes have one such area.

    The interval is that of the mean of the rows' influences, by unit, on the logit scale; where every pair is in order,
    Wilson's of so many units.

    Source: `sklearn.metrics.roc_auc_score` with `multi_class="ovr"`; DeLong, DeLong and Clarke-Pearson 1988, Comparing
    the Areas under Two or More Correlated ROC Curves, Biometrics 44 (structural components); Pepe 2003, The Statistical
    Evaluation of Medical Tests, 5.2 (logit).

    Args:
        labels: (N,) int in 0 … K-1, of two classes or more.
        probabilities: (N, K).
        units: (N,) int, 0 … U-1, rows that were not drawn apart from each other; None if every row was.
    """
    count, classes = probabilities.shape
    areas, influence = [], np.zeros(count)
    for label in [1] if classes == 2 else range(classes):
        is_own = labels == label
        own, others = probabilities[is_own, label], probabilities[~is_own, label]
        if not len(own) or not len(others):
            continue
        # The share of the other side that each row is in order with.
        of_own = _share_below(own, np.sort(others))
        of_others = 1.0 - _share_below(others, np.sort(own))
        area = float(of_own.mean())
        areas.append(area)
        influence[is_own] += (of_own - area) * count / len(own)
        influence[~is_own] += (of_others - area) * count / len(others)
    mean = float(np.mean(areas))
    influence /= len(areas)
    sums = influence if units is None else np.bincount(units, influence)
    number = len(sums)
    if not 0.0 < mean < 1.0 or number < 2:
        low, high = wilson_interval(round(mean * number), number)
        return mean, low, high
    error = float(np.sqrt(number / (number - 1) * np.square(sums - sums.mean()).sum())) / count
    logit, spread = np.log(mean / (1 - mean)), _Z * error / (mean * (1 - mean))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * spread)))) for sign in (-1, 1))
    return mean, low, high


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over the classes that occur of their average precision.

    That of a class is the sum over its thresholds of the precision there times what the recall gains; two classes have
    one, of the second.

    Source: `sklearn.metrics.average_precision_score`.

    Args:
        labels: (N,) int in 0 … K-1.
        probabilities: (N, K).
    """
    classes = probabilities.shape[1]
    found = []
    for label in [1] if classes == 2 else range(classes):
        is_own = labels == label
        if not is_own.any():
            continue
        order = np.argsort(-probabilities[:, label], kind="stable")
        score, hits = probabilities[order, label], is_own[order].cumsum()
        # Rows of one probability are one threshold.
        ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
        precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
        found.append(float((precision * np.diff(recall, prepend=0.0)).sum()))
    return float(np.mean(found)) if found else float("nan")


def _share_below(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return for each value the share of ordered numbers below it, equal ones counting half."""
    below = np.searchsorted(ordered, values, side="left")
    through = np.searchsorted(ordered, values, side="right")
    return (below + through) / (2.0 * len(ordered))
