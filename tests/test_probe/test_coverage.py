"""Intervals of 95% hold the truth in about 95 of 100 simulated studies, and are no wider than they must be for that.

What a study's interval is of: the accuracy that its own trained head would have on all images of the kind, not on those
that happened to be drawn for its test. The short forms see gross mistakes; the campaign's thousand studies tell 93% from 95%.
"""

import hashlib

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chi2

from probe import compare_runs
from probe.draws import units_of
from probe.heads.registry import find_head, resolve_options
from probe.intervals import bootstrap_sums, expanded_interval
from probe.metrics import compute_metrics
from probe.prediction import predict_proba
from probe.training import TrainingData
from store import ProbeResult

FULL = pytest.mark.campaign
NAMES = ("accuracy", "balanced_accuracy")
# How likely sound intervals are to fail each of the four bounds of a check, if its seed were another.
ALARM = 2.5e-5


def check(intervals, estimates, truths):
    """Check how many intervals hold the truth, and how wide they are for how far estimates lie from it.

    A thousand intervals must hold it in 93% to 97%. Fewer may miss it as often as is likely with these shares.
    Half of an interval must be 0.9 to 1.15 times 1.96 standard errors, as the studies themselves tell them: of few
    studies many hold the truth by luck, but a width is seen in each.
    """
    lows, highs = np.array(intervals).T
    errors, studies = np.array(estimates) - truths, len(estimates)
    missed = int(((truths < lows) | (highs < truths)).sum())
    width = (highs - lows).mean() / (2 * 1.96 * errors.std(ddof=1))
    print(f"{missed} of {studies} intervals miss the truth; they are {width:.2f} times as wide as the errors say")
    shares = 0.03 * studies, 0.07 * studies
    likely = binom.ppf(ALARM, studies, 0.03), binom.isf(ALARM, studies, 0.07)
    least, most = shares if studies >= 1000 else likely
    assert least <= missed <= most
    # How far a deviation told by so many studies may lie from the true one.
    short, long = np.sqrt(chi2.ppf([ALARM, 1 - ALARM], studies - 1) / (studies - 1))
    assert 0.9 / long <= width <= 1.15 / short


@pytest.mark.parametrize("studies", [100, 400])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_check_notices_intervals_twice_too_wide_or_half_as_wide(factor, studies):
    estimates = np.random.default_rng(4).normal(size=studies)
    check(estimates[:, None] + [-1.96, 1.96], estimates, 0.0)
    with pytest.raises(AssertionError):
        check(estimates[:, None] + factor * np.array([-1.96, 1.96]), estimates, 0.0)


def told(labels, is_right):
    """Probabilities of a head that is right where it is said to be; two classes."""
    return np.eye(2)[np.where(is_right, labels, 1 - labels)] * 0.8 + 0.1


def intervals_of(found, name):
    """The intervals of a metric, and its values."""
    return [(metrics[f"{name}_low"], metrics[f"{name}_high"]) for metrics in found], [
        metrics[name] for metrics in found
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("studies", [300, pytest.param(1000, marks=FULL)])
def test_intervals_of_single_images(studies):
    rng = np.random.default_rng(0)
    recalls, shares = np.array([0.9, 0.7]), np.array([0.75, 0.25])
    truth = {"accuracy": recalls @ shares, "balanced_accuracy": recalls.mean()}
    found = []
    for _ in range(studies):
        labels = (rng.random(300) < shares[1]).astype(int)
        found.append(compute_metrics(labels, told(labels, rng.random(300) < recalls[labels])))
    for name in NAMES:
        check(*intervals_of(found, name), truth[name])


@pytest.mark.slow
@pytest.mark.parametrize("groups", [25, 60])
@pytest.mark.parametrize("studies", [200, pytest.param(1000, marks=FULL)])
def test_intervals_of_groups(groups, studies):
    """Groups of 1 to 15 images; some groups are hard, and all of their images with them."""
    rng = np.random.default_rng(groups)
    found = []
    for _ in range(studies):
        sizes = rng.integers(1, 16, groups)
        units = np.repeat(np.arange(groups), sizes)
        labels = rng.integers(0, 2, len(units))
        # Beta(4, 1) has the mean 0.8; size and difficulty are independent.
        is_right = rng.random(len(units)) < rng.beta(4, 1, groups)[units]
        found.append(compute_metrics(labels, told(labels, is_right), units))
    for name in NAMES:
        check(*intervals_of(found, name), 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("studies", [200, pytest.param(1000, marks=FULL)])
def test_intervals_of_a_difference(studies):
    rng = np.random.default_rng(2)
    intervals, estimates = [], []
    for _ in range(studies):
        # Right by the first alone 12%, by the second alone 6%: the difference is 6 points.
        differences = rng.choice([1.0, -1.0, 0.0], 300, p=[0.12, 0.06, 0.82])
        resampled = bootstrap_sums(differences[:, None], resamples=1000)[:, 0] / 300
        intervals.append(expanded_interval(resampled, 300))
        estimates.append(differences.mean())
    check(intervals, estimates, 0.06)


def run_of(name, labels, is_right, groups):
    """A run that is right where it is said to be."""
    names = [str(at) for at in range(len(labels))]
    predictions = {
        "content_sha256": names,
        "group": [f"g{group}" for group in groups] if len(groups) else "",
        "label": labels,
        "is_correct": is_right,
        "label_probability": np.where(is_right, 0.8, 0.2),
    }
    run_id = hashlib.sha256(name.encode()).hexdigest()
    return ProbeResult(
        run_id=run_id,
        config={},
        counts={},
        selection={},
        metrics={},
        class_names=("no", "yes"),
        predictions=pd.DataFrame(predictions, index=names),
        curves=pd.DataFrame(),
        head={},
        fit={},
    )


@pytest.mark.slow
@pytest.mark.parametrize("has_groups", [False, True])
@pytest.mark.parametrize("studies", [100, pytest.param(1000, marks=FULL)])
def test_intervals_that_a_comparison_tells(studies, has_groups, monkeypatch):
    """Of 240 images, or of 40 groups of 1 to 11, in which most images are told alike."""
    # statsmodels collects garbage whenever it adjusts p-values: a tenth of a second each time.
    monkeypatch.setattr("gc.collect", lambda: 0)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(studies):
        groups = np.repeat(np.arange(40), rng.integers(1, 12, 40)) if has_groups else np.arange(240)
        count, units = len(groups), groups.max() + 1
        # Both right 70%, the first alone 15%, the second alone 5%, none 10%: the difference is 10 points.
        kind = rng.choice(4, units, p=[0.7, 0.15, 0.05, 0.1])[groups]
        kind = np.where(rng.random(count) < 0.8, kind, rng.choice(4, count, p=[0.7, 0.15, 0.05, 0.1]))
        labels, told_groups = rng.integers(0, 2, count), groups if has_groups else ()
        first = run_of("first", labels, kind < 2, told_groups)
        second = run_of("second", labels, (kind == 0) | (kind == 2), told_groups)
        found.append(compare_runs(first, second))
    for name in NAMES:
        differences = [getattr(comparison, name) for comparison in found]
        intervals = [(difference.low, difference.high) for difference in differences]
        check(intervals, [difference.value for difference in differences], 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("group_size", [1, 6])
@pytest.mark.parametrize(
    ("head", "shots", "studies"), [("ridge", 5, 150), pytest.param("ridge", None, 1000, marks=FULL)]
)
def test_intervals_of_heads_that_are_trained_anew_in_every_study(head, shots, studies, group_size):
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(3, 5))

    def draw(groups):
        """Features (N, 5), labels and group numbers; members of a group look alike, and are of one class."""
        labels = np.repeat(np.arange(groups) % 3, group_size)
        shift = np.repeat(rng.normal(size=(groups, 5)), group_size, axis=0) if group_size > 1 else 0.0
        noise = rng.normal(scale=0.7 if group_size > 1 else 1.2, size=(len(labels), 5))
        return (centres[labels] + shift + noise).astype(np.float32), labels, np.repeat(np.arange(groups), group_size)

    found, truths = [], []
    for study in range(studies):
        features, labels, groups = draw(15)
        contents = [str(at) for at in range(len(labels))]
        units, tokens = units_of(contents, [f"g{group}" for group in groups] if group_size > 1 else [""] * len(labels))
        data = TrainingData(features, labels, units, tokens, 0, 3, study, contents, shots=shots)
        trained = find_head(head).train(data, resolve_options(head, {}), lambda _: None)
        everything, everything_labels, _ = draw(30_000 // group_size)
        truths.append((predict_proba(trained.head, everything).argmax(axis=1) == everything_labels).mean())
        test, test_labels, test_groups = draw(60)
        told_units = test_groups if group_size > 1 else None
        found.append(compute_metrics(test_labels, predict_proba(trained.head, test), told_units))
    check(*intervals_of(found, "accuracy"), np.array(truths))
