import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, top_k_accuracy_score

from probe.intervals import balanced_interval, expanded_interval, wilson_interval
from probe.metrics import (
    compute_metrics,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
    top_k_accuracy,
)


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


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_interval_is_scipys(level):
    for total in (1, 2, 7, 50, 1000):
        for correct in {0, 1, total // 3, total - 1, total}:
            wanted = stats.binomtest(correct, total).proportion_ci(level, method="wilson")
            assert wilson_interval(correct, total, level) == pytest.approx((wanted.low, wanted.high), rel=1e-15)


def test_expanded_percentiles_by_scipys_distributions():
    resampled = np.random.default_rng(0).random(2000)
    for units in (2, 5, 40, 1000):
        tail = stats.norm.cdf(np.sqrt(units / (units - 1)) * stats.t.ppf(0.025, units - 1))
        wanted = np.quantile(resampled, [tail, 1 - tail])
        assert expanded_interval(resampled, units) == pytest.approx(tuple(wanted), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(6, 20))
    # Some classes are in no label, some are never predicted, and many probabilities are equal.
    labels = rng.integers(0, classes - 2, 40)
    probabilities = rng.integers(0, 4, (40, classes)).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = f1_score(labels, predicted, labels=np.arange(classes), average="macro", zero_division=0.0)
    assert macro_f1(labels, predicted, classes) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_top5_is_scikit_learns_and_with_ties_what_it_is_on_average_however_they_are_broken(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 12, 40)
    plain = rng.random((40, 12))
    assert top_k_accuracy(labels, plain) == top_k_accuracy_score(labels, plain, k=5, labels=np.arange(12))
    tied = rng.integers(0, 4, (40, 12)).astype(np.float32)
    broken = [
        top_k_accuracy_score(labels, tied + 1e-3 * rng.random(tied.shape), k=5, labels=np.arange(12))
        for _ in range(2000)
    ]
    # The standard deviation of one is some 5%.
    assert top_k_accuracy(labels, tied) == pytest.approx(np.mean(broken), abs=0.006)
    # A head that says nothing is at chance, wherever the labels stand.
    assert top_k_accuracy(labels, np.zeros((40, 12))) == pytest.approx(5 / 12)


def test_a_perfect_test_still_has_an_interval():
    low, high = wilson_interval(10, 10)
    assert high == 1.0
    assert 0.7 < low < 0.73  # n / (n + z²) = 10 / 13.84


def test_balanced_interval_of_one_class_is_wilsons():
    assert balanced_interval(np.array([3]), np.array([4])) == pytest.approx(wilson_interval(3, 4))


def test_balanced_interval_of_equal_classes_by_its_formula():
    # Two classes alike: the half-widths shrink by sqrt(2) of what one has.
    (low, high), (one_low, one_high) = (
        balanced_interval(np.array([30, 30]), np.array([40, 40])),
        wilson_interval(30, 40),
    )
    assert low == pytest.approx(0.75 - (0.75 - one_low) / np.sqrt(2))
    assert high == pytest.approx(0.75 + (one_high - 0.75) / np.sqrt(2))


def test_rows_of_one_group_count_as_one_draw():
    rng = np.random.default_rng(0)
    is_right = rng.random(40) < 0.7
    labels = np.zeros(400, np.int64)
    labels[200:] = 1
    # Ten rows of a group are right or wrong together.
    right = np.repeat(is_right, 10)
    probabilities = np.eye(2)[np.where(right, labels, 1 - labels)] * 0.8 + 0.1
    alone = compute_metrics(labels, probabilities)
    grouped = compute_metrics(labels, probabilities, np.repeat(np.arange(40), 10))
    for name in ("accuracy", "balanced_accuracy"):
        assert grouped[name] == alone[name]
        assert grouped[f"{name}_low"] < grouped[name] < grouped[f"{name}_high"]
        widths = [found[f"{name}_high"] - found[f"{name}_low"] for found in (grouped, alone)]
        # Ten rows say what one says: the interval is sqrt(10) = 3.2 times as wide.
        assert 2.7 < widths[0] / widths[1] < 3.8


def test_groups_that_agree_have_the_interval_of_as_many_rows():
    labels = np.array([0, 1] * 50)
    probabilities = np.eye(2)[labels] * 0.8 + 0.1
    found = compute_metrics(labels, probabilities, np.repeat(np.arange(10), 10))
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(wilson_interval(10, 10))


def test_a_certain_mistake_costs_a_finite_number():
    assert negative_log_likelihood(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(15 * np.log(10))


def test_certainties_cost_nothing_and_no_less():
    assert str(negative_log_likelihood(np.array([1]), np.array([[0.0, 1.0]]))) == "0.0"


def test_calibration_error_by_hand():
    # Two rows in bin (0.8, 0.867], one of them right: |0.5 - 0.85|; two in (0.933, 1], both right: |1 - 0.95|.
    probabilities = np.array([[0.85, 0.15], [0.85, 0.15], [0.95, 0.05], [0.95, 0.05]])
    found = expected_calibration_error(np.array([0, 1, 0, 0]), probabilities)
    assert found == pytest.approx((2 * 0.35 + 2 * 0.05) / 4)


def test_top5_counts_the_five_most_probable():
    probabilities = np.tile(np.array([0.3, 0.25, 0.2, 0.1, 0.08, 0.07]), (6, 1))
    assert compute_metrics(np.arange(6), probabilities)["top5"] == pytest.approx(5 / 6)
