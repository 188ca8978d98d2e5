import dataclasses
import json
from functools import cached_property

import numpy as np
import pandas as pd
import pytest

from probe import HEADS, PROTOCOL_VERSION, FeatureError, ProbeRequest, predict_proba, restore_head, run_id, run_probe
from store import FeatureSet
from store.probability_tables import probability_table, read_probabilities
from store.results import PREDICTION_COLUMNS

REQUEST = ProbeRequest("made", "arrays", "logistic")
CREATED = "2026-11-24T00:00:00Z"


def run(sets, on_progress=None, **fields):
    return run_probe(dataclasses.replace(REQUEST, **fields), sets, created=CREATED, on_progress=on_progress)


class WatchedFeatures:
    """Features that write down every time they are read."""

    def __init__(self, features, name, events) -> None:
        self._features, self._name, self._events = features, name, events
        self.shape, self.dtype = features.shape, features.dtype

    def __getitem__(self, index):
        rows = np.arange(len(self._features))[index]
        self._events.append((f"read {self._name}", rows.tolist()))
        return self._features[index]

    def __array__(self, *args, **kwargs):
        raise AssertionError("read as a whole")


class WatchedSet(FeatureSet):
    """A set whose features are watched."""

    def __init__(self, features: FeatureSet, events) -> None:
        super().__init__(features.folder)
        self._events = events

    @cached_property
    def features(self):
        return WatchedFeatures(super().features, self.split, self._events)


@pytest.mark.heavy
def test_a_run_is_told_whole(blob_sets):
    said: list[str] = []
    found = run(blob_sets, said.append)
    assert found.run_id == run_id(REQUEST, blob_sets)
    assert found.config == {
        "dataset": "made",
        "extractor": "arrays",
        "head": "logistic",
        "options": {"keep_c": False, "rule": "best_nll", "scaling": "zscore"},
        "train": "train",
        "validation": "",
        "test": "test",
        "seed": 0,
        "shots": "all",
        "train_share": 1.0,
        "metric": "accuracy",
        "sets": {"test": blob_sets["test"].key, "train": blob_sets["train"].key},
        "protocol": PROTOCOL_VERSION,
        "pool_key": blob_sets["train"].pool_digest,
        "weights_sha256": blob_sets["train"].pool_key.weights_sha256,
        "preset": "",
    }
    assert found.counts == {
        "n_train": 120,
        "n_validation": 0,
        "n_test": 60,
        "n_test_duplicates": 0,
        "dim": 8,
        "classes": 4,
    }
    assert found.class_names == ("class 0", "class 1", "class 2", "class 3")
    assert found.metrics["accuracy"] > 0.75
    assert found.metrics["accuracy_low"] < found.metrics["accuracy"] <= found.metrics["accuracy_high"]
    assert found.fit["converged"] is True
    assert found.created == CREATED
    assert set(found.versions) == {"linprobe", "numpy", "scipy", "scikit-learn"}
    assert found.curves.empty
    assert said


@pytest.mark.heavy
def test_predictions_are_those_of_the_heads_arrays(blob_sets):
    found = run(blob_sets)
    table, test = found.predictions, blob_sets["test"]
    assert tuple(table.columns) == PREDICTION_COLUMNS
    probabilities = predict_proba(found.head, np.asarray(test.features))
    assert np.array_equal(table["predicted"], probabilities.argmax(axis=1))
    assert np.array_equal(table["confidence"], probabilities.max(axis=1))
    assert np.array_equal(table["label_probability"], probabilities[np.arange(60), test.labels])
    assert table["is_correct"].mean() == found.metrics["accuracy"]
    assert table["content_sha256"].tolist() == [row.tobytes().hex() for row in test.content_sha256]
    assert table["example_id"].tolist() == test.example_ids.tolist()


@pytest.mark.framework
@pytest.mark.parametrize("head", HEADS)
def test_a_run_can_be_kept_and_read_again(head, blob_sets, lab):
    found = run(blob_sets, head=head)
    json.dumps({name: getattr(found, name) for name in ("config", "counts", "selection", "metrics", "fit")},
               allow_nan=False)  # fmt: skip
    assert lab.store.publish_run(found)
    again = lab.store.run(found.run_id)
    assert again.metrics == found.metrics
    assert dict(again.selection) == json.loads(json.dumps(found.selection))
    pd.testing.assert_frame_equal(again.predictions, found.predictions)
    pd.testing.assert_frame_equal(again.curves, found.curves)
    first, second = (restore_head(head, blob_sets.values()) for head in (found.head, again.head))
    assert np.array_equal(predict_proba(first, np.ones((1, 8))), predict_proba(second, np.ones((1, 8))))
    assert len(lab.store.results()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_two_runs_are_equal(head, blob_sets):
    first, second = run(blob_sets, head=head), run(blob_sets, head=head)
    assert first.metrics == second.metrics
    assert first.selection == second.selection
    assert first.fit == second.fit
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    pd.testing.assert_frame_equal(first.curves, second.curves)
    for name in first.head:
        assert np.array_equal(first.head[name], second.head[name])


@pytest.mark.framework
@pytest.mark.parametrize("head", HEADS)
def test_test_rows_are_read_once_and_after_the_final_fit(head, lab, blobs):
    events: list[object] = []
    watched = WatchedSet(lab.publish("all", *blobs(150, 3, 6, seed=1)), events)
    found = run({"all": watched}, lambda line: events.append(line), head=head)
    reads = [
        (at, rows) for at, (what, rows) in enumerate(e if isinstance(e, tuple) else ("", []) for e in events) if rows
    ]
    assert len(reads) == 2
    (_, trained_on), (last, tested_on) = reads
    assert last == len(events) - 1
    assert any("final fit" in str(event) for event in events[:last])
    assert not set(trained_on) & set(tested_on)
    assert len(trained_on) == found.counts["n_train"]
    assert len(tested_on) == found.counts["n_test"]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "head", [pytest.param(head, marks=[] if head == "ridge" else pytest.mark.slow) for head in HEADS]
)
def test_other_test_labels_change_nothing_but_the_tests_figures(head, lab, blobs):
    train, (features, labels) = blobs(120, 4, 8, seed=1), blobs(60, 4, 8, seed=2)
    sets = {"train": lab.publish("train", *train), "test": lab.publish("test", features, labels)}
    shuffled = lab.publish("test", features, np.random.default_rng(0).permutation(labels))
    options = {"learning_rate": 0.1, "epochs": 5} if head == "dense" else {}
    honest, other = (run(each, head=head, options=options) for each in (sets, {**sets, "test": shuffled}))
    for name in ("selection", "fit", "counts", "warnings"):
        assert getattr(honest, name) == getattr(other, name), name
    pd.testing.assert_frame_equal(honest.curves, other.curves)
    assert set(honest.head) == set(other.head)
    for name, array in honest.head.items():
        assert np.array_equal(array, other.head[name]), name
    differing = {name for name in PREDICTION_COLUMNS if not honest.predictions[name].equals(other.predictions[name])}
    assert differing == {"label", "is_correct", "label_probability"}
    assert honest.metrics["temperature"] == other.metrics["temperature"]
    assert other.metrics["accuracy"] < 0.6 < honest.metrics["accuracy"]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "head", [pytest.param(head, marks=[] if head == "ridge" else pytest.mark.slow) for head in HEADS]
)
def test_shuffled_training_labels_give_chance(head, lab, blobs):
    features, labels = blobs(400, 4, 8, seed=1, spread=2.0)
    test = lab.publish("test", *blobs(400, 4, 8, seed=2, spread=2.0))
    accuracies = []
    options = {"epochs": 2} if head == "dense" else {}
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(labels)
        sets = {"train": lab.publish("train", features, shuffled), "test": test}
        accuracies.append(run(sets, head=head, options=options).metrics["accuracy"])
    # One in four. Rows of one class are predicted alike, so a single shuffle scatters by some 5 points.
    assert abs(np.mean(accuracies) - 0.25) < 0.1


@pytest.mark.heavy
def test_two_classes_are_probed(lab, blobs):
    sets = {
        "train": lab.publish("train", *blobs(60, 2, 6, seed=1)),
        "test": lab.publish("test", *blobs(40, 2, 6, seed=2)),
    }
    found = run(sets)
    assert found.head["kernel"].shape == (6, 2)
    assert found.metrics["accuracy"] > 0.75
    assert "top5" not in found.metrics


def test_slices_of_one_set_are_probed(lab, blobs):
    sets = {"train": lab.publish("train", *blobs(100, 2, 6, seed=1))}
    found = run(sets, train="train[:60%]", validation="train[60%:80%]", test="train[80%:]")
    assert found.counts["n_train"] == 80
    assert found.counts["n_validation"] == 20
    assert found.counts["n_test"] == 20
    assert found.selection["method"] == "accuracy on the official validation part"
    assert found.predictions["example_id"].tolist() == [f"train/{at:04d}.png" for at in range(80, 100)]


@pytest.mark.heavy
def test_a_drawn_run_can_be_asked_for_by_its_own_words(lab, blobs):
    sets = {"all": lab.publish("all", *blobs(150, 3, 6, seed=1))}
    drawn = run(sets, seed=5)
    assert drawn.config["train"] == "all/draw5[:80%]"
    again = run(sets, seed=5, train=drawn.config["train"], test=drawn.config["test"])
    assert again.run_id == drawn.run_id
    assert again.metrics == drawn.metrics


@pytest.mark.framework
def test_a_head_that_diverges_is_no_result(blob_sets):
    with pytest.raises(FeatureError, match="holds NaN or infinity; lower the learning rate"):
        run(blob_sets, head="dense", options={"learning_rate": 1e38, "epochs": 3})


@pytest.mark.heavy
def test_float16_features_are_probed(lab, blobs):
    features, labels = blobs(120, 4, 8, seed=1)
    sets = {"train": lab.publish("train", features, labels), "test": lab.publish("test", *blobs(60, 4, 8, seed=2))}
    reference = run(sets).metrics["accuracy"]
    halves = {"train": lab.publish("train", features.astype(np.float16), labels), "test": sets["test"]}
    assert halves["train"].features.dtype == np.float16
    assert run(halves).metrics["accuracy"] == pytest.approx(reference, abs=0.05)


@pytest.mark.framework
@pytest.mark.parametrize("head", HEADS)
def test_probabilities_of_every_class_are_kept_of_test_and_held_out_images(head, blob_sets, lab):
    options = {"epochs": 2} if head == "dense" else {}
    found = run_probe(ProbeRequest("made", "arrays", head, options), blob_sets, created=CREATED)
    lab.store.publish_run(found)
    tested = lab.store.probabilities(found.run_id)
    predicted = lab.store.predictions(found.run_id)
    assert tested.index.tolist() == predicted["example_id"].tolist()
    assert list(tested) == list(found.class_names)
    np.testing.assert_allclose(tested.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(tested.max(axis=1), predicted["confidence"], atol=1e-6)
    assert (tested.idxmax(axis=1).to_numpy() == predicted["predicted_name"]).all()
    # They are what the head says of the features.
    features = np.asarray(blob_sets["test"].features)
    np.testing.assert_allclose(
        tested, predict_proba(restore_head(found.head, [*blob_sets.values()], []), features), atol=1e-6
    )
    held_out = lab.store.probabilities(found.run_id, "held_out")
    labels = pd.Series(np.asarray(blob_sets["train"].labels), np.asarray(blob_sets["train"].example_ids))
    # Every training image once where selection cross-validates; dense follows a tenth.
    if head != "dense":
        assert sorted(held_out.index) == sorted(labels.index)
        names = np.array(found.class_names)[labels[held_out.index]]
        assert (held_out.idxmax(axis=1).to_numpy() == names).mean() > 0.7
    # Those of one image come from a fit without it.
    own = held_out.to_numpy(np.float64)[np.arange(len(held_out)), labels[held_out.index]]
    assert own.min() < 1


def test_of_very_many_numbers_the_likeliest_are_kept(monkeypatch):
    monkeypatch.setattr("store.probability_tables.MOST_NUMBERS", 100)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(50), 6)
    rows = pd.DataFrame({"part": "test", "example_id": list("abcdef"), "content_sha256": "", "label": range(6)})
    names = [f"p{at}" for at in range(50)]
    found = read_probabilities(probability_table(rows, shares), names)
    assert found.shape == (6, 50)
    assert (found.notna().sum(axis=1) == 20).all()
    np.testing.assert_allclose(np.sort(found.fillna(0), axis=1)[:, -20:], np.sort(shares, axis=1)[:, -20:], atol=1e-7)
    assert (found.idxmax(axis=1) == np.array(names)[shares.argmax(axis=1)]).all()
