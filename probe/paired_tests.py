"""Tests of a difference between two heads on equal images.

SciPy is imported where it is used: the name of a run must be found without it.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["design_effect", "exact_mcnemar", "flip_p_value", "holm", "minimum_detectable_difference"]

# Up to here all 2^U ways to flip U units are tried, 8,192 of them; beyond, this many that are drawn.
_MOST_ENUMERATED = 13
_FLIPS = 9_999
_BLOCK = 1 << 22


def exact_mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value, two-sided, that two heads are right equally often.

    Args:
        only_first: images that only the first head has right.
        only_second: images that only the second head has right.

    Source: McNemar 1947, Psychometrika 12, in the exact (binomial) form.
    """
    from scipy.special import bdtr

    # Twice the lower tail of a fair coin, which counts the middle twice where both are equal.
    return min(1.0, 2.0 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def flip_p_value(differences: np.ndarray, seed: int = 0) -> float:
    """Return the p-value, two-sided, that exchanging the two heads within a unit changes nothing.

    The signs of whole units are flipped: members of a group are no draws of their own. Where all units that differ do
    so by as much, this is the exact test of McNemar.

    Args:
        differences: (U,) what each unit contributes to the difference of the two heads.
        seed: of the draws, where there are too many units to try all.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, 3rd edition (matched pairs);
    Phipson & Smyth 2010, Permutation P-values Should Never Be Zero, for the 1 that is added.
    """
    differing = differences[differences != 0]
    if not len(differing):
        return 1.0
    if np.ptp(np.abs(differing)) <= 1e-12 * np.abs(differing[0]):
        return exact_mcnemar(int((differing > 0).sum()), int((differing < 0).sum()))
    # Rounding must not make a sum smaller than an equal one.
    observed = abs(float(differing.sum())) * (1 - 1e-12)
    units = len(differing)
    if units <= _MOST_ENUMERATED:
        bits = np.arange(2**units)[:, None] >> np.arange(units) & 1
        return float((np.abs((2.0 * bits - 1) @ differing) >= observed).mean())
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // units)
    extreme = 0
    for start in range(0, _FLIPS, block):
        signs = rng.integers(0, 2, (min(block, _FLIPS - start), units), np.int8)
        extreme += int((np.abs((2.0 * signs - 1) @ differing) >= observed).sum())
    return (extreme + 1) / (_FLIPS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for there being several.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may be smaller than the one before it.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate((count - np.arange(count)) * np.asarray(p_values, np.float64)[order])
    found = np.empty(count)
    found[order] = np.minimum(adjusted, 1.0)
    return [float(p) for p in found]


def design_effect(differences: np.ndarray, units: np.ndarray) -> float:
    """Return how many rows count as one because they come in units: at least 1.

    Args:
        differences: (N,) of each image.
        units: (N,) int, 0 … U-1.

    Source: Kish 1965, Survey Sampling: the variance of a mean of clusters over that of as many single rows.
    """
    centred = differences - differences.mean()
    alone = float((centred**2).sum())
    sums = np.bincount(units, centred)
    count = len(sums)
    if count < 2 or not alone:
        return 1.0
    return max(1.0, count / (count - 1) * float((sums**2).sum()) / alone)


def minimum_detectable_difference(
    rows: float, discordant: float, level: float = 0.05, *, power: float = 0.8
) -> float | None:
    """Return the least difference of accuracies that a paired test of so many images finds with this power.

    It solves rows · δ² = (z(1 - level/2) √ψ + z(power) √(ψ - δ²))² for δ, ψ being the share of images on which only
    one head is right: the observed one, or δ itself where that is larger.

    Args:
        rows: images; with groups, divided by the design effect.
        discordant: the observed share of images on which only one of the two heads is right.
        level: of the test, two-sided.
        power: the chance to find the difference.

    Returns:
        None if the images are too few for any difference.

    Source: Connor 1987, Sample size for testing differences in proportions for the paired-sample design, Biometrics 43.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    of_level, of_power = norm.ppf(1 - level / 2), norm.ppf(power)

    def missing(delta: float) -> float:
        share = max(discordant, delta)
        needed = of_level * np.sqrt(share) + of_power * np.sqrt(share - delta**2)
        return float(needed**2 - rows * delta**2)

    return float(brentq(missing, 1e-9, 1.0)) if missing(1.0) < 0 else None
