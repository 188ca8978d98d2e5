import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, cohen_kappa_score, roc_auc_score

from probe.metrics import brier_score, cohen_kappa, compute_metrics
from probe.rank_metrics import auroc_with_interval, average_precision


def drawn(seed, rows=60, classes=5, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += 1
    if ties:
        logits = np.round(logits)
    shares = np.exp(logits)
    return labels, shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_they_are_scikit_learns(classes, ties):
    for seed in range(4):
        labels, shares = drawn(seed, classes=classes, ties=ties)
        shown = np.unique(labels)
        if classes == 2:
            area, precision = roc_auc_score(labels, shares[:, 1]), average_precision_score(labels, shares[:, 1])
        else:
            # A class that does not occur has no area; scikit-learn leaves that to its caller.
            area = np.mean([roc_auc_score(labels == label, shares[:, label]) for label in shown])
            precision = np.mean([average_precision_score(labels == label, shares[:, label]) for label in shown])
        assert auroc_with_interval(labels, shares)[0] == pytest.approx(area, abs=1e-12)
        assert average_precision(labels, shares) == pytest.approx(precision, abs=1e-12)
        brier = brier_score_loss(labels, shares[:, 1] if classes == 2 else shares, labels=np.arange(classes))
        assert brier_score(labels, shares) == pytest.approx(brier, abs=1e-12)
        predicted = shares.argmax(axis=1)
        kappa = cohen_kappa_score(labels, predicted)
        assert cohen_kappa(labels, predicted, classes) == pytest.approx(kappa, abs=1e-12)


def test_three_classes_that_all_occur_are_scikit_learns_one_against_the_rest():
    labels, shares = drawn(0, rows=80, classes=3)
    assert auroc_with_interval(labels, shares)[0] == pytest.approx(roc_auc_score(labels, shares, multi_class="ovr"))


def test_rows_of_one_class_have_no_order():
    found = compute_metrics(np.zeros(5, np.int64), np.full((5, 3), 1 / 3))
    assert not {"auroc", "average_precision"} & set(found)
    assert found["cohen_kappa"] == 0.0
    assert cohen_kappa(np.ones(4, np.int64), np.ones(4, np.int64), 2) == 0.0


def test_a_perfect_order_still_has_an_interval():
    labels = np.arange(40) % 4
    area, low, high = auroc_with_interval(labels, np.eye(4)[labels])
    assert (area, high) == (1.0, 1.0)
    assert 0.9 < low < 0.95
    worst, low, high = auroc_with_interval(labels[:20] % 2, np.eye(2)[1 - labels[:20] % 2])
    assert (worst, low) == (0.0, 0.0)
    assert 0.1 < high < 0.2


@pytest.mark.parametrize("groups", [0, 25])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_interval_is_that_of_resampling(classes, groups):
    labels, shares = drawn(3, rows=300, classes=classes)
    units = np.arange(300) % groups if groups else None
    area, low, high = auroc_with_interval(labels, shares, units)
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(1000):
        if groups:
            at = np.concatenate([np.flatnonzero(units == unit) for unit in rng.integers(0, groups, groups)])
        else:
            at = rng.integers(0, 300, 300)
        resampled.append(auroc_with_interval(labels[at], shares[at])[0])
    wanted = 2 * 1.96 * np.std(resampled)
    assert low < area < high
    assert high - low == pytest.approx(wanted, rel=0.12)


@pytest.mark.heavy
@pytest.mark.parametrize(("classes", "strength", "rows"), [(2, 1.0, 60), (2, 3.0, 100), (5, 1.0, 100), (5, 2.5, 150)])
def test_the_interval_covers_the_truth_as_often_as_it_says(classes, strength, rows):
    rng = np.random.default_rng(0)

    def draw(count):
        labels = rng.integers(0, classes, count)
        logits = rng.normal(size=(count, classes))
        logits[np.arange(count), labels] += strength
        return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    truth = auroc_with_interval(*draw(200_000))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [auroc_with_interval(*draw(rows)) for _ in range(1500)]
    covered = np.mean([low <= truth <= high for _, low, high in found])
    # The standard deviation of a share of 95% of 1,500 is 0.6 points.
    assert 0.93 <= covered <= 0.985
