"""The one test of a final head: every metric of it, and what a temperature would make of its probabilities."""

from collections.abc import Sequence

import numpy as np

from probe.draws import units_of
from probe.metrics import compute_metrics, expected_calibration_error, negative_log_likelihood
from probe.parts import Part, stand_before
from probe.temperature import at_temperature, fit_temperature, logits_of
from probe.training import HeldOut

__all__ = ["evaluate"]


def evaluate(
    parts: Sequence[Part], probabilities: np.ndarray, held_out: HeldOut | None, *, is_near: np.ndarray | None = None
) -> dict[str, float]:
    """Compute the metrics of a test.

    Args:
        parts: what was trained on, and last the test part.
        probabilities: (N, K) of the test part's rows.
        held_out: predictions before the refit, on rows that were not trained on.
        is_near: (N,) which test images have a near duplicate, or an equal image, among those trained on.

    Returns:
        The metrics of `compute_metrics`, intervals by group where the test part has groups;
        `accuracy_without_duplicates` where some but not all test images stand in train or validation too;
        `accuracy_without_near_duplicates` where some more have a near duplicate there;
        `temperature` (1 where no other fits better), and `nll_calibrated` and `ece_calibrated` with logits divided
        by it, where there are held-out predictions.
    """
    test = parts[-1]
    units = units_of(test.contents, test.groups)[0] if any(test.groups) else None
    metrics = compute_metrics(test.labels, probabilities, units)
    is_correct = probabilities.argmax(axis=1) == test.labels
    is_fresh = ~stand_before(parts)
    if is_fresh.any() and not is_fresh.all():
        metrics["accuracy_without_duplicates"] = float(is_correct[is_fresh].mean())
    if is_near is not None and (is_near & is_fresh).any() and not is_near.all():
        metrics["accuracy_without_near_duplicates"] = float(is_correct[~is_near].mean())
    if held_out is not None:
        metrics |= _calibrated(test.labels, probabilities, held_out)
    return metrics


def _calibrated(labels: np.ndarray, probabilities: np.ndarray, held_out: HeldOut) -> dict[str, float]:
    temperature = _temperature(held_out)
    calibrated = at_temperature(probabilities, temperature)
    return {
        "temperature": temperature,
        "nll_calibrated": negative_log_likelihood(labels, calibrated),
        "ece_calibrated": expected_calibration_error(labels, calibrated),
    }


def _temperature(held_out: HeldOut) -> float:
    """Return the temperature of what was held out; 1 where any other would serve the rows worse that it is fitted to.

    A fitted one expects errors that few rows have not shown, which heads that are sure and right do not need.
    """
    labels, probabilities = held_out.labels, held_out.probabilities
    found = fit_temperature(logits_of(probabilities), labels)
    before, after = (negative_log_likelihood(labels, at_temperature(probabilities, t)) for t in (1.0, found))
    return found if after <= before else 1.0
