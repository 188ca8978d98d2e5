"""One number that turns scores into probabilities: a temperature, fitted to rows that were not trained on."""

import numpy as np

from probe.scaling import softmax

__all__ = ["at_temperature", "fit_temperature", "fit_temperatures", "logits_of"]

# Temperatures in this range are looked at, as multiples of the scores' own size.
_LOWEST, _HIGHEST = 1e-4, 1e4
# Log T is found to 18.4 / 2^15: 0.06% of T, which changes no figure that is reported.
_HALVINGS = 15
# A probability of 0 has no logarithm; float32, in which held-out ones are kept, ends here.
_LEAST = 1e-38
# Of scores that are looked at together.
_NUMBERS = 1 << 20


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Return logits of probabilities, up to a constant of each row, which no softmax sees; float64."""
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), _LEAST)))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N, K) whose logits are divided by a temperature; float64."""
    return softmax(logits_of(probabilities) / temperature)


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
    return float(fit_temperatures(scores[None], labels)[0])


def fit_temperatures(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the temperature of each of several heads on the same rows; see `fit_temperature`.

    Args:
        scores: (A, M, K) floating.
        labels: (M,) int in 0 … K-1.

    Returns:
        (A,) float64.
    """
    together = max(1, _NUMBERS // max(1, scores[0].size))
    parts = [_fit(scores[at : at + together], labels) for at in range(0, len(scores), together)]
    return np.concatenate(parts)


def _fit(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    heads, rows, _ = scores.shape
    scores = scores - scores.mean(axis=2, keepdims=True, dtype=np.float64)
    size = np.sqrt(np.square(scores).mean(axis=(1, 2)))
    says_something = size > 0
    scores /= np.where(says_something, size, 1.0)[:, None, None]
    own = np.take_along_axis(scores, np.broadcast_to(labels[:, None], (heads, rows, 1)), axis=2)[..., 0]
    others = scores.copy()
    np.put_along_axis(others, np.broadcast_to(labels[:, None], (heads, rows, 1)), -np.inf, axis=2)
    wanted = (own - (own - others.max(axis=2)) / (rows + 2)).mean(axis=1)

    # The derivative of the mean negative log-likelihood by 1 / T grows with 1 / T. Scores that say nothing, or the
    # wrong thing, end at the highest T: the more even, the better.
    low, high = np.full(heads, np.log(_LOWEST)), np.full(heads, np.log(_HIGHEST))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        predicted = softmax(scores / np.exp(middle)[:, None, None])
        is_colder = np.einsum("amk,amk->a", predicted, scores) / rows > wanted
        low, high = np.where(is_colder, middle, low), np.where(is_colder, high, middle)
    return np.where(says_something, size * np.exp(0.5 * (low + high)), 1.0)
