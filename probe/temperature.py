"""One number that turns scores into probabilities: a temperature, fitted to rows that were not trained on.

SciPy is imported where it is used: the name of a run must be found without it.
"""

import numpy as np

from probe.scaling import softmax

__all__ = ["fit_temperature"]

# Temperatures in this range are looked at, as multiples of the scores' own size.
_LOWEST, _HIGHEST = 1e-4, 1e4
# Of log T: a third of a percent changes no figure that is reported.
_TOLERANCE = 3e-3


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T > 0 at which softmax(scores / T) has the least mean negative log-likelihood.

    The target of a row is not 1 for its own class, but (M + 1) / (M + 2), and 1 / (M + 2) for the likeliest of the
    others: of M rows that are all right, Laplace's rule of succession expects the next to be wrong as often. So such
    rows give a T above 0, and with two classes these are Platt's targets. One more row of each class would outweigh
    the rows at hand where classes are many.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, 4.2 (temperature); Platt 1999, Probabilistic
    Outputs for Support Vector Machines, 2.2 (targets).

    Args:
        scores: (M, K) floating, of rows that the head was not trained on, M ≥ 1.
        labels: (M,) int in 0 … K-1.
    """
    from scipy.optimize import root_scalar

    rows = len(scores)
    scores = scores - scores.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.square(scores).mean()))
    if size == 0:
        return 1.0
    scores = scores / size
    own = np.arange(rows), labels
    others = scores.copy()
    others[own] = -np.inf
    wanted = float((scores[own] - (scores[own] - others.max(axis=1)) / (rows + 2)).mean())

    def slope(log_t: float) -> float:
        """Return the derivative of the mean negative log-likelihood by 1 / T, which grows with 1 / T."""
        predicted = softmax(scores / np.exp(log_t))
        return float(np.einsum("mk,mk->m", predicted, scores).mean()) - wanted

    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    if slope(low) <= 0:
        return _LOWEST * size
    # Scores that say nothing, or the wrong thing: the more even, the better.
    if slope(high) >= 0:
        return _HIGHEST * size
    found = root_scalar(slope, bracket=(low, high), method="brentq", xtol=_TOLERANCE)
    return float(size * np.exp(found.root))
