import hashlib

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from probe import FeatureError, LabelError, ProbeRequest, predict_proba, restore_head, run_probe
from probe.draws import units_of
from probe.heads.knn import train_knn
from probe.heads.registry import resolve_options
from probe.prediction import kept_arrays
from probe.training import TrainingData


def training_data(features, labels, official=0, seed=0) -> TrainingData:
    contents = [hashlib.sha256(str(at).encode()).hexdigest() for at in range(len(labels))]
    units, tokens = units_of(contents, [""] * len(labels))
    return TrainingData(features, labels, units, tokens, official, int(labels.max()) + 1, seed, contents)


def train(data, **options):
    said: list[str] = []
    return train_knn(data, resolve_options("knn", options), said.append)


@pytest.mark.parametrize("k", [1, 7])
def test_the_head_predicts_what_scikit_learns_classifier_predicts(k, blobs):
    features, labels = blobs(120, 4, 8, seed=1, spread=2.0)
    queries, _ = blobs(50, 4, 8, seed=2, spread=2.0)
    trained = train(training_data(features, labels), k=k, weights="uniform")
    reference = KNeighborsClassifier(k, metric="cosine").fit(features, labels)
    probabilities = predict_proba(trained.head, queries)
    assert np.array_equal(probabilities.argmax(axis=1), reference.predict(queries))
    assert np.allclose(probabilities, (k * reference.predict_proba(queries) + 0.25) / (k + 1))


def test_of_the_values_of_k_the_most_neighbours_within_one_standard_error_are_taken(blobs):
    trained = train(training_data(*blobs(200, 4, 8, seed=1, spread=2.0)), rule="one_se")
    table = trained.selection["table"]
    assert [set(row) for row in table] == [{"k", "accuracy", "standard_error", "paired_error", "nll"}] * 5
    assert [row["k"] for row in table] == [100, 20, 10, 5, 1]
    best = max(row["accuracy"] for row in table)
    error = next(row["standard_error"] for row in table if row["accuracy"] == best)
    within = [row["k"] for row in table if row["accuracy"] >= best - error - 1e-12]
    assert trained.selection["selected"] == {"k": max(within)}
    assert int(trained.head["neighbour_count"]) == max(within)
    assert trained.fit["bank_rows"] == 200


def test_scores_of_the_table_are_those_of_the_rows_held_out(blobs):
    # Scaling is fitted on the training rows alone, and no held-out row is its own neighbour.
    features, labels = blobs(100, 3, 6, seed=1, spread=3.0)
    trained = train(training_data(features, labels, official=40), k=[1, 5], scaling="zscore", weights="uniform")
    mean, scale = features[:60].mean(axis=0), features[:60].std(axis=0)
    scaled = (features - mean) / scale
    for row in trained.selection["table"]:
        reference = KNeighborsClassifier(row["k"], metric="cosine").fit(scaled[:60], labels[:60])
        assert row["accuracy"] == pytest.approx(reference.score(scaled[60:], labels[60:]))
    assert trained.n_validation == 40


def test_a_k_that_is_larger_than_a_folds_rows_is_left_out_and_said_to_be(blobs):
    trained = train(training_data(*blobs(20, 2, 4, seed=1)))
    assert [row["k"] for row in trained.selection["table"]] == [10, 5, 1]
    assert "left out: k = 20, 100, of 16 training rows" in trained.selection["notes"]


def test_a_k_that_no_bank_can_give_is_an_error(blobs):
    with pytest.raises(LabelError, match="k = 50, and 16 rows to choose neighbours from; give a smaller k"):
        train(training_data(*blobs(20, 2, 4, seed=1)), k=[50, 60])


def test_two_rows_give_the_nearest():
    trained = train(training_data(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), np.array([0, 1])))
    assert trained.selection["selected"] == {"k": 1}
    assert predict_proba(trained.head, np.array([[0.1, 0.9]], np.float32)).argmax() == 0


def test_the_best_k_on_the_edge_is_flagged():
    # Every fifth row is mislabelled, and all rows of a class are alike: the more vote, the better.
    labels = np.arange(600) % 2
    features = np.eye(2, dtype=np.float32)[labels] + 0.05 * np.random.default_rng(0).normal(size=(600, 2))
    noisy = np.where(np.random.default_rng(1).random(600) < 0.3, 1 - labels, labels)
    trained = train(training_data(features.astype(np.float32), noisy), k=[1, 3])
    assert trained.warnings == ("the best k lies on the edge of those tried, k = 3",)


def test_a_run_keeps_which_rows_vote_and_finds_them_again(lab, blob_sets):
    request = ProbeRequest("made", "arrays", "knn")
    found = run_probe(request, blob_sets, created="2026-11-24T00:00:00Z")
    assert "neighbour_rows" not in found.head
    contents = [row.tobytes() for row in found.head["neighbour_contents"]]
    assert contents == [row.tobytes() for row in np.asarray(blob_sets["train"].content_sha256)]
    lab.store.publish_run(found)
    again = lab.store.run(found.run_id)
    features = np.asarray(blob_sets["test"].features)
    with pytest.raises(FeatureError, match="needs its training rows, which stay in the store"):
        predict_proba(again.head, features)
    probabilities = predict_proba(restore_head(again.head, blob_sets.values()), features)
    assert np.array_equal(probabilities.argmax(axis=1), found.predictions["predicted"])
    assert np.array_equal(probabilities.max(axis=1), found.predictions["confidence"])


def test_rows_that_are_gone_are_named(blob_sets):
    found = run_probe(ProbeRequest("made", "arrays", "knn"), blob_sets, created="2026-11-24T00:00:00Z")
    first = found.head["neighbour_contents"][0].tobytes().hex()
    with pytest.raises(FeatureError, match=f"120 of the head's 120 training rows are in none .* image {first}"):
        restore_head(found.head, [blob_sets["test"]])


@pytest.mark.heavy
def test_a_head_of_weights_is_restored_as_it_is(blob_sets):
    found = run_probe(ProbeRequest("made", "arrays", "ridge"), blob_sets, created="2026-11-24T00:00:00Z")
    assert restore_head(found.head, []).keys() == kept_arrays(found.head).keys() == found.head.keys()
