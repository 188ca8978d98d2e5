import numpy as np
import pytest

from probe.metrics import compute_metrics, expected_calibration_error, negative_log_likelihood, wilson_interval


def test_metrics_by_hand():
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    found = compute_metrics(labels, probabilities)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    # F1 of class 0: precision 1, recall 2/3 → 4/5; of class 1: precision 1/2, recall 1 → 2/3.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert "top5" not in found


def test_wilson_interval_by_its_formula():
    # p = 0.75, n = 4, z = 1.959964: centre (p + z²/2n) / (1 + z²/n), half z/(1+z²/n) sqrt(p(1-p)/n + z²/4n²).
    z, p, n = 1.9599639845400545, 0.75, 4
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson_interval(3, 4) == pytest.approx((centre - half, centre + half))


def test_a_perfect_test_still_has_an_interval():
    low, high = wilson_interval(10, 10)
    assert high == 1.0
    assert 0.7 < low < 0.73  # n / (n + z²) = 10 / 13.84


def test_a_certain_mistake_costs_a_finite_number():
    assert negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(15 * np.log(10))


def test_calibration_error_by_hand():
    # Two rows in bin (0.8, 0.867], one of them right: |0.5 - 0.85|; two in (0.933, 1], both right: |1 - 0.95|.
    probabilities = np.array([[0.85, 0.15], [0.85, 0.15], [0.95, 0.05], [0.95, 0.05]])
    found = expected_calibration_error(np.array([0, 1, 0, 0]), probabilities)
    assert found == pytest.approx((2 * 0.35 + 2 * 0.05) / 4)


def test_top5_counts_the_five_most_probable():
    probabilities = np.tile(np.array([0.3, 0.25, 0.2, 0.1, 0.08, 0.07]), (6, 1))
    assert compute_metrics(np.arange(6), probabilities)["top5"] == pytest.approx(5 / 6)
