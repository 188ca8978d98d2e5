"""Scores per class and confusions, of a test split small enough to count by hand."""

import math

import pytest

from reports.classes import class_rows, confused_pairs, confusion


def test_confusion_counts_true_classes_in_rows(make_run):
    # Cats: three right, one taken for a dog. Dogs: two right, one a cat. Owls: two right, one a dog.
    assert confusion(make_run()).tolist() == [[3, 1, 0], [1, 2, 0], [0, 1, 2]]


def test_class_rows_hold_precision_recall_and_f1(make_run):
    cat, dog, owl = class_rows(make_run())
    assert [row.name for row in (cat, dog, owl)] == ["cat", "dog", "owl"]
    assert (cat.n, cat.precision, cat.recall, cat.f1) == (4, 3 / 4, 3 / 4, 3 / 4)
    # Four were called dogs, two of them rightly; three are dogs. F1 = 2·2 / (4 + 3).
    assert (dog.n, dog.precision, dog.recall) == (3, 1 / 2, 2 / 3)
    assert dog.f1 == pytest.approx(4 / 7)
    assert (owl.precision, owl.recall, owl.f1) == (1, 2 / 3, pytest.approx(4 / 5))


def test_recall_has_wilsons_interval(make_run):
    cat = class_rows(make_run())[0]
    # p = 3/4, n = 4, z = 1.959964: z² = 3.841459;
    # centre (p + z²/2n) / (1 + z²/n) = (0.75 + 0.480182) / 1.960365 = 0.627527,
    # half width z·sqrt(p(1-p)/n + z²/4n²) / 1.960365 = 1.959964·sqrt(0.046875 + 0.060023) / 1.960365 = 0.326885.
    assert cat.recall_low == pytest.approx(0.627527 - 0.326885, abs=1e-5)
    assert cat.recall_high == pytest.approx(0.627527 + 0.326885, abs=1e-5)


def test_what_is_undefined_is_nan(make_run, make_predictions):
    # No owl in the test split and none predicted; fish occur, but nothing was called one.
    run = make_run(frame=make_predictions([0, 1, 3], [0, 1, 1]), class_names=("cat", "dog", "owl", "fish"))
    *_, owl, fish = class_rows(run)
    assert owl.n == 0
    assert all(map(math.isnan, (owl.precision, owl.recall, owl.recall_low, owl.recall_high, owl.f1)))
    assert math.isnan(fish.precision)
    assert (fish.recall, fish.f1) == (0, 0)


def test_confused_pairs_stand_by_count_then_share(make_run, make_predictions):
    labels, predicted = [0] * 5 + [1] * 4 + [2] * 2, [0, 0, 1, 1, 2, 1, 1, 1, 0, 2, 0]
    pairs = confused_pairs(make_run(frame=make_predictions(labels, predicted)))
    assert [(pair.label, pair.predicted, pair.count, pair.share) for pair in pairs] == [
        ("cat", "dog", 2, 2 / 5),
        ("owl", "cat", 1, 1 / 2),
        ("dog", "cat", 1, 1 / 4),
        ("cat", "owl", 1, 1 / 5),
    ]
    assert len(confused_pairs(make_run(), count=1)) == 1
