"""Numbers about predictions, each with its definition.

scikit-learn and SciPy compute what they have; they are imported where they are used, because the
name of a run must be found without them.
"""

import numpy as np

__all__ = ["compute_metrics", "expected_calibration_error", "negative_log_likelihood", "wilson_interval"]

# Probabilities are clipped here before the logarithm: a certain mistake costs 34.5 nats, not infinity.
NLL_CLIP = 1e-15
ECE_BINS = 15


def compute_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Compute the metrics of a test.

    Args:
        labels: (N,) int in 0 … K-1, N ≥ 1.
        probabilities: (N, K), each row sums to 1.

    Returns:
        `accuracy`, `accuracy_low`, `accuracy_high` (Wilson, 95%), `balanced_accuracy` (mean recall of
        the classes), `macro_f1`, `top5` (only with more than 5 classes), `nll` (mean, natural
        logarithm), `ece`.
    """
    from sklearn.metrics import balanced_accuracy_score, f1_score, top_k_accuracy_score

    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    low, high = wilson_interval(correct, len(labels))
    metrics = {
        "accuracy": correct / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "macro_f1": f1_score(labels, predicted, labels=classes, average="macro", zero_division=0.0),
        "nll": negative_log_likelihood(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
    }
    if len(classes) > 5:
        metrics["top5"] = top_k_accuracy_score(labels, probabilities, k=5, labels=classes)
    return {name: float(value) for name, value in metrics.items()}


def wilson_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, as `scipy.stats.binomtest` computes it.
    """
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def negative_log_likelihood(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean of -log p(label), with p clipped to at least `NLL_CLIP`."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(chosen, NLL_CLIP, 1.0)).mean())


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
