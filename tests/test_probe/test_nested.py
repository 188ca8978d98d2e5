import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probe import LabelError, ProbeError, ProbeRequest, SplitError, predict_proba, run_id, run_probe
from probe.heads.registry import find_head, resolve_options
from probe.intervals import wilson_interval
from probe.nested import predict_by_folds
from probe.training import TrainingData

CREATED = "2026-11-24T00:00:00Z"


def request(head="ridge", folds=5, **fields):
    return ProbeRequest("made", "arrays", head, folds=folds, **fields)


@pytest.fixture
def whole(lab, blobs):
    features, labels = blobs(120, 3, 8, seed=1, spread=2.5)
    return {"all": lab.publish("all", features, labels)}


@pytest.mark.framework
@pytest.mark.parametrize("head", ["logistic", "ridge", "knn", "dense"])
def test_every_image_is_tested_once_by_a_head_that_has_not_seen_it(head, whole, monkeypatch):
    from probe.heads import registry

    seen = []
    opened = registry.find_head(head)

    class Watched:
        def train(self, data, options, on_progress):
            seen.append({data.tokens[unit] for unit in data.units.tolist()})
            return opened.train(data, options, on_progress)

    monkeypatch.setattr("probe.run.find_head", lambda name: Watched())
    options = {"epochs": 1} if head == "dense" else {}
    said = []
    found = run_probe(request(head, options=options), whole, created=CREATED, on_progress=said.append)
    assert sorted(found.predictions["example_id"]) == sorted(np.asarray(whole["all"].example_ids))
    assert found.counts["n_train"] == found.counts["n_test"] == 120
    *folds, everything = seen
    assert len(folds) == 5
    assert len(everything) == 120
    # Each image is missing from the training images of one fold alone.
    assert all(sum(token not in fold for fold in folds) == 1 for token in everything)
    assert any(text.startswith("fold 3 of 5: ") for text in said)
    assert found.config["folds"] == 5
    assert found.config["train"] == found.config["test"] == "all"


def test_what_it_finds_is_what_folds_by_hand_find(whole):
    # Of one fold left out, the head is the one that a part without it gives.
    found = run_probe(request("logistic", options={"rule": "best"}), whole, created=CREATED)
    features, labels = np.asarray(whole["all"].features), np.asarray(whole["all"].labels)
    predicted = (
        found.predictions.set_index("example_id").loc[np.asarray(whole["all"].example_ids), "predicted"].to_numpy()
    )
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    everywhere = LogisticRegression(C=0.1).fit(scaled, labels).predict(scaled)
    assert found.metrics["accuracy"] == pytest.approx((predicted == labels).mean())
    # Heads that have seen four fifths say nearly what one says that has seen all.
    assert (predicted == everywhere).mean() > 0.85


def test_labels_that_are_noise_are_not_learnt(lab):
    rng = np.random.default_rng(0)
    sets = {"all": lab.publish("all", rng.normal(size=(150, 60)), rng.integers(0, 2, 150))}
    for head in ("logistic", "ridge"):
        found = run_probe(request(head), sets, created=CREATED)
        # Four standard errors of 150 fair coins.
        assert abs(found.metrics["accuracy"] - 0.5) < 0.165


def test_groups_and_equal_images_stay_in_one_fold(lab, monkeypatch):
    rng = np.random.default_rng(0)
    groups = [f"g{at // 6}" for at in range(120)]
    labels = np.repeat(rng.integers(0, 2, 20), 6)
    labels[:12] = np.repeat([0, 1], 6)
    rows = np.eye(20)[np.arange(120) // 6] + 0.01 * rng.normal(size=(120, 20))
    sets = {"all": lab.publish("all", rows, labels, groups=groups)}
    found = run_probe(request("ridge"), sets, created=CREATED)
    # A row tells its group, and the group its label: parted, all would be right.
    assert found.metrics["accuracy"] < 0.75


def test_a_run_in_folds_is_another_run_and_the_others_keep_their_names(whole):
    names = {run_id(request(folds=folds), whole) for folds in (0, 2, 5)}
    assert len(names) == 3
    assert run_id(request(folds=0), whole) == run_id(ProbeRequest("made", "arrays", "ridge"), whole)


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({"folds": 1}, ProbeError, "2 or more expected, or 0"),
        ({"folds": -2}, ProbeError, "2 or more expected, or 0"),
        ({"shots": 5}, ProbeError, "not with shots, shares of train or views"),
        ({"train_share": 0.5}, ProbeError, "not with shots, shares of train or views"),
        ({"test": "all[:10]"}, SplitError, "there is no other part"),
        ({"folds": 121}, LabelError, "120 images .* to put into them; ask for fewer folds"),
    ],
)
def test_what_cannot_be_put_into_folds_is_refused(fields, error, told, whole):
    with pytest.raises(error, match=told):
        run_probe(request(**{"folds": 5, **fields}), whole, created=CREATED)


def test_a_class_of_one_image_is_tested_and_cannot_be_right(lab, blobs):
    features, labels = blobs(61, 2, 8, seed=1)
    labels[60] = 2
    sets = {"all": lab.publish("all", features, labels)}
    for head in ("logistic", "ridge", "knn"):
        found = run_probe(request(head), sets, created=CREATED)
        rows = found.predictions[found.predictions["label"] == 2]
        assert rows["is_correct"].tolist() == [False]
        assert rows["label_probability"].tolist() == [0.0]
        assert all(np.isfinite(value) for value in found.metrics.values())


@pytest.mark.campaign
@pytest.mark.parametrize(("images", "spread"), [(60, 0.45), (200, 0.45), (200, 0.8)])
def test_the_interval_of_folds_covers_what_its_heads_reach(images, spread):
    """Of simulated studies: does the interval hold the mean accuracy of the folds' heads on new images?"""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 16)) * spread

    def draw(count):
        labels = np.arange(count) % 4
        return (centres[labels] + rng.normal(size=(count, 16))).astype(np.float32), labels

    new, truth = draw(20_000)
    covered = []
    for study in range(100):
        features, labels = draw(images)
        data = TrainingData(features, labels, np.arange(images), [str(at) for at in range(images)], 0, 4, study)
        heads = []

        def train(data, where, heads=heads):
            heads.append(find_head("ridge").train(data, resolve_options("ridge", {}), lambda _: None))
            return heads[-1]

        predicted = predict_by_folds(data, 5, train).argmax(axis=1)
        low, high = wilson_interval(int((predicted == labels).sum()), images)
        reached = np.mean([(predict_proba(head.head, new).argmax(axis=1) == truth).mean() for head in heads])
        covered.append(low <= reached <= high)
    print(f"{images} images, spread {spread}: covered {np.mean(covered):.3f}")
    # The standard deviation of a share of 93% of 100 is 2.6 points.
    assert np.mean(covered) > 0.86
