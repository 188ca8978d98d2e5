"""Whether a head has become worse by more than is allowed, tested on equal images.

Of N images, b are right before and wrong now, and c the other way round; m = b + c differ. The drop of accuracy is
p(b) - p(c) = ψ (2π - 1), with ψ = p(b) + p(c) the share of images that differ, and π = p(b) / ψ. Given m, b is
binomial with π whatever ψ is; and a drop of δ makes π = (1 + δ / ψ) / 2. So the p-value of a drop is that of the
binomial test at the least favourable ψ in a confidence interval of it, plus the chance that the interval misses it:
it holds at any number of images, which the normal approximations do not at the small levels of many comparisons.

Source: Berger and Boos 1994, P values maximized over a confidence set for the nuisance parameter, J. Am. Stat. Assoc.
89; Clopper and Pearson 1934 for the interval; Liu et al. 2002, Tests for equivalence or non-inferiority for paired
binary data, Statistics in Medicine 21, for the hypotheses.

SciPy is imported where it is used: the name of a run must be found without it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = [
    "PairedCounts",
    "drop_bounds",
    "images_needed",
    "least_visible_drop",
    "p_of_larger_drop",
    "p_of_smaller_drop",
]

# Of a level, what the interval of the share that differs may take: little where many comparisons share the level.
_SHARE_LARGER, _SHARE_SMALLER = 0.1, 0.5
_BISECTIONS = 40
POWER = 0.8


@dataclass(frozen=True)
class PairedCounts:
    """What two heads say of equal images.

    Attributes:
        images: N; of images in groups, divided by the design effect, and so the others.
        only_before, only_now: b and c.
    """

    images: int
    only_before: int
    only_now: int

    @property
    def differing(self) -> int:
        """m."""
        return self.only_before + self.only_now

    @property
    def drop(self) -> float:
        """The observed drop of accuracy."""
        return (self.only_before - self.only_now) / self.images


def p_of_larger_drop(counts: PairedCounts, allowed: float, level: float) -> float:
    """Return the p-value of the drop being at most what is allowed: small where it is certainly larger.

    Args:
        counts: of equal images.
        allowed: δ, -1 to 1.
        level: that the p-value is to be compared with.
    """
    turned = PairedCounts(counts.images, counts.only_now, counts.only_before)
    return _p_of_fewer(turned, -allowed, _SHARE_LARGER * level)


def p_of_smaller_drop(counts: PairedCounts, allowed: float, level: float) -> float:
    """Return the p-value of the drop being at least what is allowed: small where it is certainly smaller.

    Args:
        counts: of equal images.
        allowed: δ, -1 to 1.
        level: that the p-value is to be compared with.
    """
    return _p_of_fewer(counts, allowed, _SHARE_SMALLER * level)


def _p_of_fewer(counts: PairedCounts, allowed: float, missed: float) -> float:
    """Return the p-value of the drop being at least δ; of ψ an interval that misses it with this chance is used."""
    from scipy.special import bdtr

    if not allowed:
        return float(bdtr(counts.only_before, counts.differing, 0.5))
    # P(B <= b) is largest where π is least.
    share = _largest_share(counts, missed) if allowed > 0 else _least_share(counts, missed)
    if share < allowed:
        # So few differ that no drop can be as large.
        return missed
    rate = 0.0 if share <= 0 else min(1.0, max(0.0, 0.5 * (1 + allowed / share)))
    return min(1.0, float(bdtr(counts.only_before, counts.differing, rate)) + missed)


def drop_bounds(counts: PairedCounts, *, lower_level: float, upper_level: float) -> tuple[float, float]:
    """Return what the drop is above and below, each one-sided: the ends at which the p-values reach the levels."""
    return (
        _last(lambda allowed: p_of_larger_drop(counts, allowed, lower_level) <= lower_level, -1.0, 1.0),
        -_last(lambda allowed: p_of_smaller_drop(counts, -allowed, upper_level) <= upper_level, -1.0, 1.0),
    )


def least_visible_drop(counts: PairedCounts, allowed: float, level: float) -> float | None:
    """Return the least true drop that this many images would have shown to be larger than is allowed, in 4 of 5 cases.

    The share of images that differ is taken to be the observed one, or the drop itself where that is larger.

    Args:
        counts: of equal images.
        allowed: δ.
        level: of the test.

    Returns:
        None if no drop could be seen.
    """
    observed = counts.differing / counts.images

    def is_missed(drop: float) -> bool:
        return _power(counts.images, max(observed, drop), drop, allowed=allowed, level=level) < POWER

    if is_missed(1.0):
        return None
    return _last(is_missed, max(allowed, 0.0), 1.0)


def images_needed(allowed: float, level: float) -> int:
    """Return how many images at least are needed to show that the drop is smaller, even where no prediction differs."""
    missed = _SHARE_SMALLER * level
    return int(np.ceil(np.log(missed) / np.log1p(-allowed))) if 0 < allowed < 1 else 1


def _power(images: int, share: float, drop: float, *, allowed: float, level: float) -> float:
    """Return the chance that a true drop is found to be larger than is allowed."""
    from scipy.stats import beta, binom

    spread = 6 * np.sqrt(images * share * (1 - share)) + 6
    differing = np.arange(max(0, int(images * share - spread)), min(images, int(images * share + spread)) + 1)
    missed = _SHARE_LARGER * level
    low = np.where(differing > 0, beta.ppf(missed, np.maximum(differing, 1), images - differing + 1), 0.0)
    rates = np.clip(0.5 * (1 + allowed / np.maximum(low, 1e-300)), 0.0, 1.0)
    # The least b at which the p-value is at most the level.
    critical = binom.isf(level - (missed if allowed else 0.0), differing, rates) + 1
    found = binom.sf(critical - 1, differing, min(1.0, 0.5 * (1 + drop / share)))
    return float((binom.pmf(differing, images, share) * found).sum())


def _least_share(counts: PairedCounts, missed: float) -> float:
    """Return what ψ is below with this chance only."""
    from scipy.special import betaincinv

    m = counts.differing
    return float(betaincinv(m, counts.images - m + 1, missed)) if m else 0.0


def _largest_share(counts: PairedCounts, missed: float) -> float:
    """Return what ψ is above with this chance only."""
    from scipy.special import betaincinv

    rest = counts.images - counts.differing
    return float(betaincinv(counts.differing + 1, rest, 1 - missed)) if rest else 1.0


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return the largest number for which something holds, that holds for all smaller ones."""
    if not holds(low):
        return low
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
