import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier

from probe import predict_proba
from probe.draws import units_of
from probe.heads.ridge import GRID, RidgeOptions, train_ridge
from probe.heads.ridge_path import RidgePath
from probe.scaling import softmax
from probe.selection import make_folds
from probe.temperature import fit_temperature
from probe.training import TrainingData


def training_data(features, labels, official=0, seed=0) -> TrainingData:
    units, tokens = units_of([str(at) for at in range(len(labels))], [""] * len(labels))
    return TrainingData(features, labels, units, tokens, official, int(labels.max()) + 1, seed)


def train(data, scaling="zscore", **options):
    said: list[str] = []
    return train_ridge(data, RidgeOptions(scaling=scaling, **options), said.append), said


def scaled_by_hand(features, scaling):
    features = features.astype(np.float64)
    if scaling == "zscore":
        deviation = features.std(axis=0)
        return (features - features.mean(axis=0)) / np.where(deviation < 1e-9, 1.0, deviation)
    return features / np.linalg.norm(features, axis=1, keepdims=True) if scaling == "l2" else features


@pytest.mark.parametrize("scaling", ["zscore", "l2", "none"])
@pytest.mark.parametrize(("rows", "dim"), [(90, 6), (30, 60)], ids=["primal", "dual"])
def test_the_path_is_scikit_learns_ridge(rows, dim, scaling, blobs):
    features, labels = blobs(rows, 3, dim, seed=1, spread=3.0)
    features[:, 2] = 5.0  # constant
    features[:, 4] = features[:, 3]  # collinear
    path = RidgePath(features, labels, 3, rows=np.arange(rows), scaling=scaling)
    scaled, targets = scaled_by_hand(features, scaling), 2.0 * np.eye(3)[labels] - 1.0
    kernels, biases = path.kernels(GRID)
    for alpha, kernel, bias in zip(GRID, kernels, biases, strict=True):
        reference = Ridge(alpha=alpha, solver="svd").fit(scaled, targets)
        assert np.allclose(kernel, reference.coef_.T, rtol=1e-6, atol=1e-9), alpha
        assert np.allclose(bias, reference.intercept_, rtol=1e-6, atol=1e-9), alpha
        assert path.residual(alpha) < 1e-9


@pytest.mark.heavy
@pytest.mark.parametrize("classes", [2, 4])
def test_the_head_predicts_what_scikit_learns_ridge_classifier_predicts(classes, blobs):
    features, labels = blobs(100, classes, 6, seed=1, spread=4.0)
    trained, _ = train(training_data(features, labels))
    scaled = scaled_by_hand(features, "zscore")
    reference = RidgeClassifier(alpha=trained.fit["alpha"]).fit(scaled, labels)
    probabilities = predict_proba(trained.head, features)
    assert np.array_equal(probabilities.argmax(axis=1), reference.predict(scaled))
    # Divided by the temperature, the scores are logits: what a decision function is to a probability.
    scores = reference.decision_function(scaled)
    scores = np.stack([-scores, scores], axis=1) if classes == 2 else scores
    logits = np.log(probabilities)
    expected = scores / trained.fit["temperature"]
    centred = [values - values.mean(axis=1, keepdims=True) for values in (logits, expected)]
    assert np.allclose(*centred, atol=1e-6)


def test_scores_are_the_same_whether_a_path_computes_them_together_or_one_by_one(blobs, monkeypatch):
    features, labels = blobs(120, 3, 5, seed=1)
    path = RidgePath(features, labels, 3, rows=np.arange(80), scaling="zscore")
    together = np.concatenate(list(path.scores_together(features, np.arange(80, 120), GRID)))
    monkeypatch.setattr("probe.heads.ridge_path._SCORE_BYTES", 1)
    alone = np.concatenate(list(path.scores_together(features, np.arange(80, 120), GRID)))
    assert together.shape == alone.shape == (len(GRID), 40, 3)
    assert np.allclose(together, alone, atol=1e-12)


@pytest.mark.heavy
@pytest.mark.parametrize(("official", "share"), [(0, 0.8), (25, 0.75)])
def test_the_refit_holds_lambda(official, share, blobs):
    # λ = alpha / N: 5 folds train on 80 of 100 rows, an official validation of 25 leaves 75.
    trained, _ = train(training_data(*blobs(100, 4, 8, seed=1, spread=3.0), official=official))
    alpha = trained.selection["selected"]["alpha"]
    assert trained.fit["alpha"] == pytest.approx(alpha / share)
    assert trained.fit["penalty"] == pytest.approx(alpha / (100 * share))
    assert trained.n_validation == official


@pytest.mark.heavy
def test_selection_tells_what_it_saw(blobs):
    trained, said = train(training_data(*blobs(200, 4, 8, seed=1, spread=3.0)), rule="one_se")
    table = trained.selection["table"]
    assert [set(row) for row in table] == [{"alpha", "accuracy", "standard_error", "paired_error", "nll"}] * len(table)
    alphas = [row["alpha"] for row in table]
    assert alphas == sorted(alphas, reverse=True)
    assert set(GRID) <= set(alphas)
    best = max(row["accuracy"] for row in table)
    error = next(row["standard_error"] for row in table if row["accuracy"] == best)
    within = [row["alpha"] for row in table if row["accuracy"] >= best - error - 1e-12]
    assert trained.selection["selected"] == {"alpha": max(within)}
    assert trained.fit["converged"] is True
    assert "ridge: 51 penalties on 25 folds" in said


@pytest.mark.heavy
def test_a_signal_in_a_direction_of_little_variance_wants_little_shrinkage():
    # The classes differ in x0 - x1 alone, some ten-thousandth of the variance: only an alpha below that share of the
    # 400 rows leaves it standing.
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    common = rng.normal(size=400)
    features = np.stack([common + 0.03 * labels, common], axis=1) + 0.003 * rng.normal(size=(400, 2))
    trained, _ = train(training_data(features.astype(np.float32), labels))
    assert trained.selection["selected"]["alpha"] < 1.0
    assert max(row["accuracy"] for row in trained.selection["table"]) > 0.99
    assert trained.selection["table"][0]["accuracy"] < 0.7


def test_the_temperature_comes_from_rows_that_were_held_out(blobs):
    # 40 rows in 60 dimensions are fitted exactly: on training rows every temperature would be near its floor.
    features, labels = blobs(40, 2, 60, seed=1, spread=12.0)
    data = training_data(features, labels, official=20)
    trained, _ = train(data)
    path = RidgePath(features, labels, 2, rows=np.arange(20), scaling="zscore")
    scores = path.scores(features, np.arange(20, 40), trained.selection["selected"]["alpha"])
    assert trained.fit["temperature"] == pytest.approx(fit_temperature(scores, labels[20:]))


@pytest.mark.heavy
@pytest.mark.parametrize("official", [0, 25])
def test_what_is_held_out_was_predicted_by_paths_of_other_rows(official, blobs):
    data = training_data(*blobs(100, 3, 6, seed=1, spread=3.0), official=official)
    trained, _ = train(data)
    folds, alpha = make_folds(data), trained.selection["selected"]["alpha"]
    expected = []
    for train_rows, held_out in folds.pairs[: folds.first_repeat]:
        known = data.features.astype(np.float64)
        scaled = (known - known[train_rows].mean(axis=0)) / known[train_rows].std(axis=0)
        model = Ridge(alpha=alpha).fit(scaled[train_rows], 2.0 * np.eye(3)[data.labels[train_rows]] - 1.0)
        expected.append(softmax(model.predict(scaled[held_out]) / trained.fit["temperature"]))
    assert np.array_equal(trained.held_out.labels, data.labels[folds.held_out_rows()])
    assert np.allclose(trained.held_out.probabilities, np.concatenate(expected), atol=1e-5)


def test_too_few_rows_to_select_on_take_their_mean_squared_length():
    features, labels = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), np.array([0, 1])
    trained, _ = train(training_data(features, labels))
    # Two z-scored features: each row is (±1, ±1).
    assert trained.selection["selected"] == {"alpha": 2.0}
    assert "too few rows" in trained.selection["notes"][0]
    assert predict_proba(trained.head, features).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.heavy
def test_mapped_features_give_the_same_head(blobs, tmp_path):
    features, labels = blobs(150, 3, 6, seed=1, spread=3.0)
    mapped = np.memmap(tmp_path / "features", np.float32, "w+", shape=features.shape)
    mapped[:] = features
    whole, streamed = train(training_data(features, labels))[0], train(training_data(mapped, labels))[0]
    assert np.array_equal(whole.head["kernel"], streamed.head["kernel"])


@pytest.mark.parametrize("size", [1e-20, 7.0, 1e3, 1e12])
def test_unscaled_features_of_any_size_give_the_same_head(size, blobs):
    features, labels = blobs(120, 3, 10, seed=4, spread=3.0)
    features = features.astype(np.float64) + 2
    known, _ = train(training_data(features, labels), scaling="none")
    found, _ = train(training_data(features * size, labels), scaling="none")
    assert found.fit["alpha"] == pytest.approx(known.fit["alpha"] * size**2, rel=1e-9)
    predicted, expected = predict_proba(found.head, features * size), predict_proba(known.head, features)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
