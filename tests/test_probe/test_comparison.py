import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest

from probe import NotComparable, compare_runs, judge_runs
from probe.comparison import pair_predictions
from probe.paired_tests import exact_mcnemar
from store import ProbeResult


def build_run(name, labels, predicted, *, contents=None, groups=None, class_names=("cat", "dog"), **config):
    """A run that was tested on images named 0, 1, …"""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    names = contents or [str(at) for at in range(len(labels))]
    right = labels == predicted
    frame = pd.DataFrame(
        {
            "example_id": names,
            "content_sha256": names,
            "group": groups or [""] * len(labels),
            "label": labels,
            "predicted": predicted,
            "is_correct": right,
            "confidence": 0.8,
            "label_probability": np.where(right, 0.8, 0.2),
        }
    )
    asked = {
        "dataset": "pets", "extractor": name, "head": "logistic", "options": {}, "train": "train", "validation": "",
        "test": "test", "seed": 0, "shots": "all", "train_share": 1.0, "metric": "accuracy", "sets": {}, "protocol": 2,
    }  # fmt: skip
    accuracy = float(right.mean())
    metrics = {"accuracy": accuracy, "accuracy_low": accuracy - 0.02, "accuracy_high": accuracy + 0.02,
               "balanced_accuracy": accuracy, "nll": 1.0}  # fmt: skip
    return ProbeResult(
        run_id=hashlib.sha256(name.encode()).hexdigest(), config={**asked, **config}, counts={"n_train": 4 * len(labels), "n_test": len(labels)}, selection={}, metrics=metrics,
        class_names=tuple(class_names), predictions=frame, curves=pd.DataFrame(), head={}, fit={"converged": True},
    )  # fmt: skip


LABELS = [0] * 50 + [1] * 50


def wrong_on(*rows):
    return [1 - label if at in rows else label for at, label in enumerate(LABELS)]


def test_a_comparison_by_hand():
    found = compare_runs(build_run("a", LABELS, wrong_on(0, 50)), build_run("b", LABELS, wrong_on(*range(50, 60))))
    # a is wrong on 0 and 50, b on 50 to 59: both on 50.
    assert (found.only_first, found.only_second) == (9, 1)
    assert (found.n_pictures, found.n_first, found.n_second, found.n_groups) == (100, 100, 100, None)
    assert found.accuracies == (0.98, 0.9)
    assert found.accuracy.value == pytest.approx(0.08)
    assert found.mcnemar == found.p_value == pytest.approx(22 / 1024)
    assert found.balanced_accuracy.value == pytest.approx(0.08)
    # Of 100 images 8 more are 0.8 sure instead of 0.2.
    assert found.nll.value == pytest.approx(-0.08 * np.log(4))
    cat, dog = found.classes
    assert (cat["class_name"], cat["n"], cat["difference"], cat["p_value"]) == ("cat", 50, -0.02, 1.0)
    assert (dog["difference"], dog["p_value"]) == (pytest.approx(0.18), pytest.approx(2 / 512))
    assert dog["p_holm"] == pytest.approx(2 * dog["p_value"])


def test_the_interval_of_a_difference_is_that_of_paired_images():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    base = np.where(rng.random(2000) < 0.8, labels, 1 - labels)
    better = np.where(rng.random(2000) < 0.1, labels, base)
    found = compare_runs(build_run("a", labels, better), build_run("b", labels, base))
    differences = (better == labels).astype(float) - (base == labels)
    half = 1.96 * differences.std() / np.sqrt(2000)
    assert found.accuracy.low == pytest.approx(found.accuracy.value - half, abs=0.1 * half)
    assert found.accuracy.high == pytest.approx(found.accuracy.value + half, abs=0.1 * half)


def test_groups_are_resampled_and_tested_whole():
    labels = [0, 1] * 100
    groups = [f"g{at // 10}" for at in range(200)]
    predicted = [1 - label if at < 60 else label for at, label in enumerate(labels)]
    runs = (build_run(name, labels, told, groups=groups) for name, told in (("a", labels), ("b", predicted)))
    found = compare_runs(*runs)
    assert found.n_groups == 20
    # Sixty images, but six groups: 2 / 2^6.
    assert found.mcnemar < 1e-15
    assert found.p_value == pytest.approx(2 / 64)
    alone = compare_runs(build_run("a", labels, labels), build_run("b", labels, predicted))
    assert found.accuracy.high - found.accuracy.low > 2.5 * (alone.accuracy.high - alone.accuracy.low)
    assert found.detectable > 2 * alone.detectable


def test_only_shared_images_count_each_once_and_disagreed_ones_are_left_out():
    first = build_run("a", [0, 1, 0, 1, 0], [0, 1, 0, 1, 0], contents=["p", "q", "r", "s", "p"])
    second = build_run("b", [0, 0, 0, 1], [0, 0, 1, 1], contents=["p", "q", "r", "t"])
    found = compare_runs(first, second)
    assert (found.n_pictures, found.n_relabelled, found.n_first, found.n_second) == (2, 1, 5, 4)
    assert (found.only_first, found.only_second) == (1, 0)


def test_classes_in_another_order_are_matched_by_name():
    first = build_run("a", [0, 1, 1], [0, 1, 0], class_names=("cat", "dog"))
    second = build_run("b", [1, 0, 0], [1, 0, 0], class_names=("dog", "cat"))
    pairs = pair_predictions(first, second)
    assert pairs.relabelled == 0
    assert pairs.differences.tolist() == [0.0, 0.0, -1.0]


def test_runs_without_common_pictures_or_classes_are_refused():
    first = build_run("a", [0, 1], [0, 1])
    with pytest.raises(NotComparable, match=r"share no test image: .* pets 'test' .* compare runs with a common"):
        compare_runs(first, build_run("b", [0, 1], [0, 1], contents=["x", "y"]))
    with pytest.raises(NotComparable, match="only the first has dog, only the second owl"):
        compare_runs(first, build_run("b", [0, 1], [0, 1], class_names=("cat", "owl")))
    with pytest.raises(NotComparable, match="agree on the class of no shared image"):
        compare_runs(first, build_run("b", [1, 0], [0, 1]))


def test_one_image_gives_no_interval():
    found = compare_runs(build_run("a", [0], [0]), build_run("b", [0], [1]))
    assert (found.accuracy.value, found.accuracy.low, found.accuracy.high) == (1.0, None, None)
    assert found.detectable is None


def test_the_best_is_named_and_what_cannot_be_told_from_it():
    runs = [
        build_run("best", LABELS, wrong_on(0)),
        build_run("close", LABELS, wrong_on(1, 2, 3)),
        build_run("far", LABELS, wrong_on(*range(10, 40))),
        build_run("few", LABELS, wrong_on(*range(20)), shots=5),
        build_run("elsewhere", LABELS, wrong_on(1, 2), contents=[f"other {at}" for at in range(100)]),
    ]
    verdicts = judge_runs(runs)
    best, close, far, few, elsewhere = (verdicts[run.run_id] for run in runs)
    assert (best.is_best, best.p_best, best.is_indistinguishable) == (True, None, False)
    assert close.is_indistinguishable
    assert close.p_best == pytest.approx(exact_mcnemar(3, 1))
    # Two are compared with the best: the smaller p-value counts twice.
    assert far.p_best == pytest.approx(2 * exact_mcnemar(30, 1))
    assert not far.is_indistinguishable
    assert few.is_best
    assert (elsewhere.p_best, elsewhere.is_indistinguishable) == (None, False)


def test_dense_and_logistic_further_apart_than_their_intervals_are_flagged():
    logistic = build_run("a", LABELS, wrong_on(0))
    dense = build_run("b", LABELS, wrong_on(*range(20)))
    recipe = {"epochs": 6, "batch_size": 32}
    dense = dataclasses.replace(dense, config={**dense.config, "extractor": "a", "head": "dense", "options": recipe})
    verdicts = judge_runs([logistic, dense])
    for run in (logistic, dense):
        assert verdicts[run.run_id].disagreement.startswith("dense (80.0%) and logistic (99.0%) on the same features")
    # 400 images, six epochs of 13 batches: what the lesson's recipe means on them is said.
    text = verdicts[dense.run_id].disagreement
    assert "6 epochs as the lesson is, which on 400 images are 78 steps, too few to end where logistic does" in text
    many = dataclasses.replace(dense, counts={**dense.counts, "n_train": 10_000})
    assert "one of them is not trained to its end" in judge_runs([logistic, many])[many.run_id].disagreement
    near = dataclasses.replace(dense, metrics={**dense.metrics, "accuracy": 0.985})
    assert not any(verdict.disagreement for verdict in judge_runs([logistic, near]).values())
    elsewhere = dataclasses.replace(dense, config={**dense.config, "train": "train[:50%]"})
    assert not any(verdict.disagreement for verdict in judge_runs([logistic, elsewhere]).values())
    seen = dataclasses.replace(dense, config={**dense.config, "views": 4})
    assert not any(verdict.disagreement for verdict in judge_runs([logistic, seen]).values())
    both = dataclasses.replace(logistic, config={**logistic.config, "views": 4})
    assert all(verdict.disagreement for verdict in judge_runs([both, seen]).values())


def test_images_under_several_labels_are_left_out_and_counted():
    # Three rows of each picture, under every label: whatever a head says, one of them is right, and 1 in 3 is chance.
    contents = [str(at // 3) for at in range(300)]
    labels, names = np.tile([0, 1, 2], 100), ("a", "b", "c")
    first, second = (np.repeat(np.random.default_rng(seed).integers(0, 3, 100), 3) for seed in (0, 1))
    always = np.zeros(300, np.int64)
    for predicted in (second, always):
        runs = [
            build_run(name, labels, of, contents=contents, class_names=names)
            for name, of in (("one", first), ("two", predicted))
        ]
        with pytest.raises(NotComparable, match="no shared image; 100 stand under several labels, and are left out"):
            compare_runs(*runs)
    # Ten more, of one label each, are all that is compared.
    more, ten = [*contents, *(f"plain {at}" for at in range(10))], np.arange(10) % 3
    runs = [
        build_run(name, [*labels, *ten], [*of, *answers], contents=more, class_names=names)
        for name, of, answers in (("one", first, ten), ("two", second, [*ten[:8], 0, 1]))
    ]
    found = compare_runs(*runs)
    assert (found.n_pictures, found.n_conflicting, found.n_relabelled) == (10, 100, 0)
    assert (found.only_first, found.only_second) == (2, 0)
    assert found.p_value == 0.5
    # In the part of one run alone, the other's single row says no more.
    found = compare_runs(runs[0], build_run("three", ten, ten, contents=more[300:], class_names=names))
    assert (found.n_pictures, found.n_conflicting) == (10, 0)
    third = build_run("four", [0, *ten], [0, *ten], contents=["0", *more[300:]], class_names=names)
    found = compare_runs(runs[0], third)
    assert (found.n_pictures, found.n_conflicting) == (10, 1)
