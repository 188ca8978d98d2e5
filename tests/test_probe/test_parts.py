import re

import numpy as np
import pytest

from probe import HEADS, FeatureError, LabelError, ProbeRequest, SplitError, run_probe, select_parts
from probe.parts import SetTable, select_part
from probe.splits import parse_split
from store import FeatureSet

from_arrays = {"created": "2026-11-24T00:00:00Z"}
REQUEST = ProbeRequest("made", "arrays", "logistic")


def select(spec, features):
    counts = {features.split: features.candidates}
    return select_part("train", spec, parse_split(spec, counts), tables={features.split: SetTable(features)})


def test_a_quarantined_image_leaves_a_hole_and_shifts_nothing(lab):
    features = np.arange(10, dtype=np.float32)[:, None] + 1
    whole = lab.publish("train", features, [0, 1] * 5)
    holed = lab.publish("train", features, [0, 1] * 5, quarantined=[2, 7])
    for spec in ("train[:50%]", "train[50%:]", "train[3:8]", "train[-4:]"):
        part = select(spec, holed)
        missing = {"train/0002.png", "train/0007.png"}
        expected = [name for name in select(spec, whole).example_ids if name not in missing]
        assert list(part.example_ids) == expected
        assert part.read()[:, 0].tolist() == [float(name[6:10]) + 1 for name in expected]
        assert part.quarantined == len(select(spec, whole)) - len(part)


@pytest.mark.parametrize("how", ["seed", "draw"])
def test_drawn_parts_are_complementary_and_part_no_unit(how, lab):
    count = 200
    groups = [f"g{at // 5}" if at < 100 else "" for at in range(count)]
    contents = [f"p{at // 2}" if at >= 100 else f"q{at}" for at in range(count)]
    features = lab.publish(
        "all", np.ones((count, 2)), [at % 2 for at in range(count)], contents=contents, groups=groups
    )
    train, test = select(f"all/{how}3[:80%]", features), select(f"all/{how}3[80%:]", features)
    assert len(train) + len(test) == count
    assert not set(train.example_ids) & set(test.example_ids)
    assert not {g for g in train.groups if g} & {g for g in test.groups if g}
    assert not set(train.contents) & set(test.contents)
    # 70 units, half of them groups of 5 rows: 80% with a standard deviation of some 6 points.
    assert 0.6 < len(train) / count < 0.95


def test_another_seed_draws_another_part(lab):
    features = lab.publish("all", np.ones((100, 2)), [0, 1] * 50)
    assert select("all/seed0[80%:]", features).example_ids != select("all/seed1[80%:]", features).example_ids


def test_terms_that_overlap_are_refused(lab):
    features = lab.publish("train", np.ones((10, 1)), [0, 1] * 5)
    with pytest.raises(SplitError, match="selects 2 rows twice"):
        select("train[:5]+train[3:8]", features)


def test_a_part_whose_images_are_all_quarantined_selects_nothing(lab):
    features = lab.publish("train", np.ones((10, 1)), [0, 1] * 5, quarantined=[0, 1])
    with pytest.raises(SplitError, match=r"selects nothing \(2 candidates are quarantined\)"):
        select("train[:2]", features)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"train": "train[:60]", "test": "train[59:]"}, "train and test share 1 rows, such as row 59 of 'train'"),
        ({"validation": "train[:10]"}, "train and validation share 10 rows"),
        ({"validation": "test[:10]"}, "validation and test share 10 rows"),
        ({"train": "train/seed0[:80%]", "test": "train[:10]"}, "train and test share"),
    ],
)
def test_parts_that_share_rows_are_refused(fields, named, blob_sets):
    with pytest.raises(SplitError, match=named):
        run_probe(ProbeRequest("made", "arrays", "logistic", **fields), blob_sets, **from_arrays)


def test_a_class_that_train_or_test_lacks_is_named(lab, blobs):
    features, labels = blobs(40, 4, 8, seed=1)
    whole = lab.publish("train", features, labels)
    missing = lab.publish("test", features[labels != 2] + 1, labels[labels != 2], classes=4)
    with pytest.raises(LabelError, match="test: 30 rows, and none of class 2"):
        run_probe(REQUEST, {"train": whole, "test": missing}, **from_arrays)
    with pytest.raises(LabelError, match="train: 30 rows, and none of class 2"):
        run_probe(ProbeRequest("made", "arrays", "logistic", train="test", test="train"),
                  {"train": whole, "test": missing}, **from_arrays)  # fmt: skip


def test_a_class_that_an_official_validation_part_lacks_is_named(lab, blobs):
    sets = {name: lab.publish(name, *blobs(40, 4, 8, seed)) for seed, name in enumerate(("train", "test"))}
    features, labels = blobs(40, 4, 8, seed=3)
    sets["validation"] = lab.publish("validation", features[labels != 2], labels[labels != 2], classes=4)
    with pytest.raises(LabelError, match="validation: 30 rows, and none of class 2"):
        run_probe(REQUEST, sets, **from_arrays)


@pytest.mark.heavy
def test_a_test_on_the_official_validation_part_is_told(lab, blobs):
    sets = {name: lab.publish(name, *blobs(40, 4, 8, seed)) for seed, name in enumerate(("train", "validation"))}
    told = "there is no base split 'test': tested on 'validation'"
    found = run_probe(REQUEST, sets, **from_arrays)
    assert told in found.warnings
    assert found.config["test"] == "validation"
    meant = run_probe(ProbeRequest("made", "arrays", "logistic", test="validation"), sets, **from_arrays)
    assert told not in meant.warnings
    assert meant.run_id == found.run_id


def test_a_slice_of_rows_that_stand_class_by_class_is_told_how_to_draw(lab, blobs):
    features, labels = blobs(40, 4, 8, seed=1)
    order = np.argsort(labels, kind="stable")
    sets = {"all": lab.publish("all", features[order], labels[order])}
    halves = ProbeRequest("made", "arrays", "logistic", train="all[:50%]", test="all[50%:]")
    with pytest.raises(LabelError, match=r"Its rows stand class by class.*all/draw0\[:80%\]"):
        run_probe(halves, sets, **from_arrays)
    is_early = np.arange(len(labels)) < len(labels) // 2
    sets = {"all": lab.publish("all", features, np.where((labels == 3) & is_early, 2, labels), classes=4)}
    with pytest.raises(LabelError, match=r"out of the dataset\.$"):
        run_probe(halves, sets, **from_arrays)


def test_a_class_that_no_image_shows_is_left_out_and_told(lab, blobs):
    # As emnist/letters, which declares 37 classes and uses 26; and as an array whose labels begin at 1.
    features, labels = blobs(60, 4, 8, seed=1)
    spread = lab.publish("all", features, np.array([1, 2, 4])[labels % 3], classes=6)
    plain = lab.publish("all", features, labels % 3, classes=3)
    request = ProbeRequest("made", "arrays", "ridge")
    found, same = (run_probe(request, {"all": one}, **from_arrays) for one in (spread, plain))
    assert found.class_names == tuple(f"class {label}" for label in (1, 2, 4))
    assert found.counts["classes"] == 3
    assert "left out, since no image shows them: 3 of 6 classes (class 0, class 3, class 5)" in found.warnings
    assert found.metrics["accuracy"] == same.metrics["accuracy"]
    assert found.predictions["label"].tolist() == same.predictions["label"].tolist()
    # The parts themselves speak of the set's own classes.
    (_, train), *_ = select_parts(request, {"all": spread})
    assert set(train.labels.tolist()) == {1, 2, 4}


def test_one_class_only_is_refused(lab):
    sets = {name: lab.publish(name, np.ones((4, 2)), [0] * 4) for name in ("train", "test")}
    with pytest.raises(LabelError, match=r"one class only \(class 0\)"):
        run_probe(REQUEST, sets, **from_arrays)


class DoctoredSet(FeatureSet):
    """A set that holds what the store itself refuses to publish."""

    def __init__(self, honest: FeatureSet, **replaced: np.ndarray) -> None:
        super().__init__(honest.folder)
        vars(self).update(replaced)


def test_a_label_out_of_range_is_named(lab, blobs):
    train = lab.publish("train", *blobs(4, 2, 2, seed=1))
    sets = {
        "train": DoctoredSet(train, labels=np.array([0, 1, 2, 0])),
        "test": lab.publish("test", *blobs(4, 2, 2, seed=2)),
    }
    with pytest.raises(LabelError, match=r"'train/0002.png' has label 2, 0 to 1 expected"):
        run_probe(REQUEST, sets, **from_arrays)


def test_sets_with_other_classes_are_refused(lab):
    sets = {
        "train": lab.publish("train", np.ones((4, 2)), [0, 1, 1, 0], classes=2),
        "test": lab.publish("test", np.ones((4, 2)), [0, 1, 1, 0], classes=3),
    }
    with pytest.raises(LabelError, match="has other classes than"):
        run_probe(REQUEST, sets, **from_arrays)


@pytest.mark.heavy
def test_sets_of_another_dim_are_refused(lab, blobs):
    sets = {
        "train": lab.publish("train", *blobs(40, 2, 8, seed=1)),
        "test": lab.publish("test", *blobs(40, 2, 6, seed=2)),
    }
    with pytest.raises(FeatureError, match=r"features \(N, 8\) expected, \(40, 6\) found"):
        run_probe(REQUEST, sets, **from_arrays)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_name_their_example(bad, lab, blobs):
    features, _ = blobs(40, 4, 8, seed=1)
    features[17, 3] = bad
    train = DoctoredSet(lab.publish("train", *blobs(40, 4, 8, seed=1)), features=features)
    sets = {"train": train, "test": lab.publish("test", *blobs(40, 4, 8, seed=2))}
    with pytest.raises(FeatureError, match=r"train: 1 of 40 rows hold NaN or infinity, the first is 'train/0017.png'"):
        run_probe(REQUEST, sets, **from_arrays)


def test_thin_classes_shared_images_and_quarantine_are_warned_of(lab, blobs):
    features, labels = blobs(43, 2, 8, seed=1)
    labels[labels == 1] = np.where(np.arange((labels == 1).sum()) < 4, 1, 0)
    contents = [f"image {at}" for at in range(43)]
    sets = {
        "train": lab.publish("train", features, labels, contents=contents),
        "test": lab.publish("test", *blobs(40, 2, 8, seed=2), contents=["image 5", *(f"t{at}" for at in range(39))],
                            quarantined=[39]),
        "validation": lab.publish("validation", *blobs(8, 2, 8, seed=3)),
    }  # fmt: skip
    found = run_probe(REQUEST, sets, **from_arrays).warnings
    assert "fewer than 5 training rows of class 1 (4)" in found
    assert "fewer than 5 validation rows of class 0 (4), class 1 (4)" in found
    assert not any("fewer than 5 test rows" in warning for warning in found)
    assert "1 of 39 test images stand in train or validation too" in found
    assert "test lacks 1 quarantined images" in found


def test_train_is_limited_to_shots_and_validation_is_left_out(lab, blobs):
    sets = {
        name: lab.publish(name, *blobs(80, 4, 8, seed)) for seed, name in enumerate(("train", "validation", "test"))
    }
    found = run_probe(ProbeRequest("made", "arrays", "logistic", shots=3), sets, **from_arrays)
    assert found.counts["n_train"] == 12
    assert found.config["validation"] == ""
    assert found.selection["method"] == "none: a fixed penalty"
    assert "3 per class, up to 5" in found.selection["notes"][0]
    assert found.fit["C"] == pytest.approx(1 / 8)
    assert not any("fewer than" in warning for warning in found.warnings)
    assert "temperature" not in found.metrics


def test_more_shots_than_pictures_name_the_class_and_its_images(lab, blobs):
    features, labels = blobs(40, 4, 8, seed=1)
    contents = ["same"] * 3 + [str(at) for at in range(37)]
    labels[:3] = 2
    # Rows 0 and 1 leave classes 0 and 1; the three equal images of class 2 count once.
    sets = {
        "train": lab.publish("train", features, labels, contents=contents),
        "test": lab.publish("test", *blobs(40, 4, 8, seed=2)),
    }
    with pytest.raises(LabelError, match=r"shots = 10: .* of class 0 \(9\), class 1 \(9\); ask for fewer"):
        run_probe(ProbeRequest("made", "arrays", "logistic", shots=10), sets, **from_arrays)


@pytest.mark.heavy
def test_a_share_of_train_is_trained_on(lab, blobs):
    sets = {"train": lab.publish("train", *blobs(400, 2, 8, seed=1)), "test": lab.publish("test", *blobs(60, 2, 8, 2))}
    found = run_probe(ProbeRequest("made", "arrays", "ridge", train_share=0.25), sets, **from_arrays)
    assert 70 < found.counts["n_train"] < 130
    assert found.config["train_share"] == 0.25


def test_the_least_share_keeps_an_image_of_every_class(lab, blobs):
    features, labels = blobs(200, 2, 8, seed=1)
    labels[:] = 0
    labels[:2] = 1
    sets = {"train": lab.publish("train", features, labels), "test": lab.publish("test", *blobs(60, 2, 8, seed=2))}
    found = run_probe(ProbeRequest("made", "arrays", "ridge", train_share=0.0001), sets, **from_arrays)
    assert found.counts["n_train"] == 2


def test_images_under_several_labels_are_told(lab, blobs):
    features, labels = blobs(60, 3, 8, seed=1)
    contents = [f"p{at}" for at in range(60)]
    contents[1], features[1] = contents[0], features[0]
    contents[7] = contents[5] = contents[4]
    features[7] = features[5] = features[4]
    test = lab.publish("test", features, labels, contents=contents)
    sets = {"train": lab.publish("train", *blobs(60, 3, 8, seed=2)), "test": test}
    found = run_probe(ProbeRequest("made", "arrays", "ridge"), sets, **from_arrays)
    told = (
        "test: 2 equal images under several labels (5 of 60 rows, such as 'test/0000.png'); comparisons leave them out"
    )
    assert told in found.warnings


UNEVEN = [([5, 5], 0), ([990, 10], 0), ([20, 20, 1, 1, 1], 3)]
MANY = [([20] * 30, 0), ([2] * 60, 0)]


@pytest.mark.parametrize(
    ("head", "counts", "untested"),
    [
        *((head, *of) for head in HEADS for of in UNEVEN),
        *(("ridge", *of) for of in MANY),
        ("logistic", [2] * 12, 0),
    ],
)
@pytest.mark.heavy
def test_small_and_uneven_sets_are_probed_without_a_word_about_splits(head, counts, untested, lab, blobs):
    features, labels = blobs(sum(counts), 2, 8, seed=1)
    labels = np.repeat(np.arange(len(counts)), counts)
    features[:, 0] += labels
    sets = {"all": lab.publish("all", features, labels)}
    for seed in range(3 if head == "ridge" else 1):
        options = {"epochs": 1} if head == "dense" else {}
        found = run_probe(ProbeRequest("made", "arrays", head, options, seed=seed), sets, **from_arrays)
        assert found.counts["classes"] == len(counts)
        assert len(set(found.predictions["label"])) == len(counts) - untested
        told = f"no test image of {untested} of 5 classes: class 2, class 3, class 4"
        assert (told in found.warnings) == bool(untested)
        assert all(np.isfinite(value) for value in found.metrics.values())


def test_a_leak_planted_between_train_and_test_is_found_and_told_apart(lab, blobs):
    features, labels = blobs(200, 4, 8, seed=1, spread=3.0)
    test, test_labels = blobs(100, 4, 8, seed=2, spread=3.0)
    contents = [f"image {at}" for at in range(200)]
    # Half of the test images are training images, with the labels that train says.
    test[:50], test_labels[:50] = features[:50], labels[:50]
    leaked = [*contents[:50], *(f"test {at}" for at in range(50))]
    sets = {
        "train": lab.publish("train", features, labels, contents=contents),
        "test": lab.publish("test", test, test_labels, contents=leaked),
    }
    found = run_probe(ProbeRequest("made", "arrays", "knn", options={"k": 1}), sets, **from_arrays)
    assert "50 of 100 test images stand in train or validation too" in found.warnings
    assert found.counts["n_test_duplicates"] == 50
    # The nearest neighbour of a leaked image is itself.
    assert found.metrics["accuracy"] == pytest.approx((1 + found.metrics["accuracy_without_duplicates"]) / 2)
    assert found.metrics["accuracy_without_duplicates"] < 0.9


@pytest.mark.parametrize("count", [0, 1, 2])
def test_parts_of_few_rows_are_refused_or_probed_but_never_blank(count, lab, blobs):
    train = lab.publish("train", *blobs(40, 2, 8, seed=1))
    sets = {"train": train, "test": lab.publish("test", *blobs(40, 2, 8, seed=2))}
    request = ProbeRequest("made", "arrays", "logistic", train=f"train[:{count}]")
    if count < 2:
        with pytest.raises((SplitError, LabelError), match="selects nothing" if not count else "1 rows, and none of"):
            run_probe(request, sets, **from_arrays)
        return
    found = run_probe(request, sets, **from_arrays)
    assert all(np.isfinite(value) for value in found.metrics.values())
    assert "fewer than 5 training rows of class 0 (1), class 1 (1)" in found.warnings


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("count", "refusal"),
    [(0, r"test = 'test\[:0\]' selects nothing"), (1, "test: 1 rows, and none of class 1"), (2, "")],
)
def test_a_test_of_few_rows_is_refused_or_measured_but_never_blank(count, refusal, lab, blobs):
    sets = {name: lab.publish(name, *blobs(40, 2, 8, seed)) for seed, name in enumerate(("train", "test"))}
    request = ProbeRequest("made", "arrays", "logistic", test=f"test[:{count}]")
    if refusal:
        with pytest.raises((SplitError, LabelError), match=refusal):
            run_probe(request, sets, **from_arrays)
        return
    found = run_probe(request, sets, **from_arrays)
    assert found.counts["n_test"] == len(found.predictions) == 2
    assert all(np.isfinite(value) for value in found.metrics.values())
    assert 0 <= found.metrics["accuracy_low"] <= found.metrics["accuracy"] <= found.metrics["accuracy_high"] <= 1


@pytest.mark.parametrize(
    ("count", "refusals"),
    [
        (1, {"test = 'all[80%:]' selects nothing. No class has two images, or two groups, to draw from"}),
        (2, {"test = 'all[80%:]' selects nothing. No class has two images, or two groups, to draw from"}),
    ],
)
def test_a_whole_dataset_of_few_rows_cannot_be_parted(count, refusals, lab, blobs):
    sets = {"all": lab.publish("all", *blobs(count, 2, 8, seed=1), classes=2)}
    told = set()
    for seed in range(12):
        with pytest.raises(SplitError, match="selects nothing") as refused:
            run_probe(ProbeRequest("made", "arrays", "logistic", seed=seed), sets, **from_arrays)
        told.add(re.sub(rf"/draw{seed}|\.$|; give.*", "", str(refused.value)))
    assert told == refusals


@pytest.mark.heavy
def test_a_class_with_one_image_alone_is_probed_with_a_warning(lab, blobs):
    features, labels = blobs(61, 3, 8, seed=1)
    labels[labels == 2] = 0
    labels[60] = 2
    sets = {"train": lab.publish("train", features, labels), "test": lab.publish("test", *blobs(60, 3, 8, seed=2))}
    found = run_probe(REQUEST, sets, **from_arrays)
    assert "fewer than 5 training rows of class 2 (1)" in found.warnings
    assert all(np.isfinite(value) for value in found.metrics.values())
