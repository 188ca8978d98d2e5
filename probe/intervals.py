"""Intervals of 95%: how far another test sample of the same kind might move a number.

Of SciPy only the special functions are imported, where they are used: `scipy.stats` takes longer to import than most
heads to train.
"""

import math

import numpy as np

__all__ = ["RESAMPLES", "balanced_interval", "bootstrap_sums", "expanded_interval", "wilson_interval"]

RESAMPLES = 2000
LEVEL = 0.95
# Resampling weights that are held at once: 64 MB.
_BLOCK_WEIGHTS = 8 << 20


def wilson_interval(correct: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, in the form of Newcombe 1998, Statistics in Medicine 17, method 3.
    """
    from scipy.special import ndtri

    p, z = correct / total, float(ndtri(0.5 + 0.5 * level))
    denominator = 2 * (total + z**2)
    centre = (2 * total * p + z**2) / denominator
    delta = z / denominator * math.sqrt(4 * total * p * (1 - p) + z**2)
    # At the ends rounding would leave a trace of what is exactly 0 or 1.
    return 0.0 if correct == 0 else centre - delta, 1.0 if correct == total else centre + delta


def balanced_interval(correct: np.ndarray, totals: np.ndarray) -> tuple[float, float]:
    """Return an interval of the mean of some classes' recalls: their Wilson intervals, combined.

    Args:
        correct: (K,) right predictions of each class.
        totals: (K,) rows of each class, at least 1.

    Source: Zou & Donner 2008, Construction of confidence limits about effect measures: a general approach, Statistics
    in Medicine 27 (MOVER).
    """
    recalls = correct / totals
    ends = np.array([wilson_interval(int(right), int(total)) for right, total in zip(correct, totals, strict=True)])
    mean, count = float(recalls.mean()), len(recalls)
    low = mean - float(np.sqrt(((recalls - ends[:, 0]) ** 2).sum())) / count
    high = mean + float(np.sqrt(((ends[:, 1] - recalls) ** 2).sum())) / count
    return max(low, 0.0), min(high, 1.0)


def bootstrap_sums(sums: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return the sums over units that are drawn with replacement, as many as there are.

    Args:
        sums: (U, S) what each unit contributes to each of S sums.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        (resamples, S) float64.
    """
    units = len(sums)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_WEIGHTS // units)
    found = np.empty((resamples, sums.shape[1]))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        # How often each resample holds each unit.
        weights = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        found[start : start + rows] = weights.astype(np.float64) @ sums
    return found


def expanded_interval(resampled: np.ndarray, units: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap, its percentiles moved outward for few units.

    Plain percentiles are too narrow where there are few units, as a normal interval with the population's standard
    deviation instead of Student's would be.

    Args:
        resampled: (resamples,) the statistic of each resample.
        units: how many units were resampled, at least 2.
        level: of the interval.

    Source: Hesterberg 2015, What Teachers Should Know About the Bootstrap, The American Statistician 69.
    """
    from scipy.special import ndtr, stdtrit

    tail = float(ndtr(np.sqrt(units / (units - 1)) * stdtrit(units - 1, (1 - level) / 2)))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
