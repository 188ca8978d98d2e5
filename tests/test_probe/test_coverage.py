"""Intervals of 95% hold the truth in about 95 of 100 simulated studies.

What a study's interval is of: the accuracy that its own trained head would have on all pictures of the kind, not on those
that happened to be drawn for its test. The short forms see gross mistakes; the campaign's thousand studies tell 93% from 95%.
"""

import numpy as np
import pytest

from probe.draws import units_of
from probe.heads.registry import default_options, find_recipe
from probe.heads.training import TrainingData
from probe.intervals import bootstrap_sums, expanded_interval
from probe.metrics import compute_metrics
from probe.prediction import predict_proba

FULL = pytest.mark.campaign
NAMES = ("accuracy", "balanced_accuracy")


def check(is_held, studies):
    """Between 93% and 97%, widened by three deviations where the studies are few."""
    share = float(np.mean(is_held))
    print(f"{share:.1%} of {studies} intervals hold the truth")
    slack = 0 if studies >= 1000 else 3 * np.sqrt(0.95 * 0.05 / studies)
    assert 0.93 - slack <= share <= 0.97 + slack


def told(labels, is_right):
    """Probabilities of a head that is right where it is said to be; two classes."""
    return np.eye(2)[np.where(is_right, labels, 1 - labels)] * 0.8 + 0.1


@pytest.mark.parametrize("studies", [300, pytest.param(1000, marks=FULL)])
def test_intervals_of_single_pictures(studies):
    rng = np.random.default_rng(0)
    recalls, shares = np.array([0.9, 0.7]), np.array([0.75, 0.25])
    truth = {"accuracy": recalls @ shares, "balanced_accuracy": recalls.mean()}
    held = {name: [] for name in NAMES}
    for _ in range(studies):
        labels = (rng.random(300) < shares[1]).astype(int)
        found = compute_metrics(labels, told(labels, rng.random(300) < recalls[labels]))
        for name in NAMES:
            held[name].append(found[f"{name}_low"] <= truth[name] <= found[f"{name}_high"])
    for name in NAMES:
        check(held[name], studies)


@pytest.mark.parametrize("groups", [25, 60])
@pytest.mark.parametrize("studies", [200, pytest.param(1000, marks=FULL)])
def test_intervals_of_groups(groups, studies):
    """Groups of 1 to 15 pictures; some groups are hard, and all of their pictures with them."""
    rng = np.random.default_rng(groups)
    held = {name: [] for name in NAMES}
    for _ in range(studies):
        sizes = rng.integers(1, 16, groups)
        units = np.repeat(np.arange(groups), sizes)
        labels = rng.integers(0, 2, len(units))
        # Beta(4, 1) has the mean 0.8; size and difficulty are independent.
        is_right = rng.random(len(units)) < rng.beta(4, 1, groups)[units]
        found = compute_metrics(labels, told(labels, is_right), units)
        for name in NAMES:
            held[name].append(found[f"{name}_low"] <= 0.8 <= found[f"{name}_high"])
    for name in NAMES:
        check(held[name], studies)


@pytest.mark.parametrize("studies", [200, pytest.param(1000, marks=FULL)])
def test_intervals_of_a_difference(studies):
    rng = np.random.default_rng(2)
    held = []
    for _ in range(studies):
        # Right by the first alone 12%, by the second alone 6%: the difference is 6 points.
        differences = rng.choice([1.0, -1.0, 0.0], 300, p=[0.12, 0.06, 0.82])
        resampled = bootstrap_sums(differences[:, None], resamples=1000)[:, 0] / 300
        low, high = expanded_interval(resampled, 300)
        held.append(low <= 0.06 <= high)
    check(held, studies)


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

    held = []
    for study in range(studies):
        features, labels, groups = draw(15)
        contents = [str(at) for at in range(len(labels))]
        units, tokens = units_of(contents, [f"g{group}" for group in groups] if group_size > 1 else [""] * len(labels))
        data = TrainingData(features, labels, units, tokens, 0, 3, study, contents, shots=shots)
        trained = find_recipe(head)(data, default_options(head), lambda _: None)
        everything, everything_labels, _ = draw(30_000 // group_size)
        truth = (predict_proba(trained.head, everything).argmax(axis=1) == everything_labels).mean()
        test, test_labels, test_groups = draw(60)
        found = compute_metrics(test_labels, predict_proba(trained.head, test), test_groups if group_size > 1 else None)
        held.append(found["accuracy_low"] <= truth <= found["accuracy_high"])
    check(held, studies)
