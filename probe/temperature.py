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

    The target of a row is not 1 for its own class and 0 for the others, but (M + 1) / (M + K) and 1 / (M + K): what one
    more row of each class would leave of certainty. So rows that are all predicted right give a T above 0.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, 4.2 (temperature); Platt 1999, Probabilistic
    Outputs for Support Vector Machines, 2.2 (targets).

    Args:
        scores: (M, K) floating, of rows that the head was not trained on, M ≥ 1.
        labels: (M,) int in 0 … K-1.
    """
    from scipy.optimize import root_scalar

    rows, classes = scores.shape
    scores = scores - scores.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.square(scores).mean()))
    if size == 0:
        return 1.0
    scores = scores / size
    share = 1.0 / (rows + classes)
    # Centred scores sum to 0, so the even part of the targets contributes nothing.
    wanted = float((1.0 - classes * share) * scores[np.arange(rows), labels].mean())

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
