import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probe import predict_proba
from probe.draws import units_of
from probe.heads.logistic import CERTIFIED_GAP, LogisticHead, LogisticOptions, train_logistic
from probe.objective import Objective
from probe.selection import RULES
from probe.training import TrainingData


def training_data(features, labels, official=0, seed=0) -> TrainingData:
    units, tokens = units_of([str(at) for at in range(len(labels))], [""] * len(labels))
    return TrainingData(features, labels, units, tokens, official, int(labels.max()) + 1, seed)


def train(data, **options):
    said: list[str] = []
    return train_logistic(data, LogisticOptions(**options), said.append), said


@pytest.mark.heavy
@pytest.mark.parametrize("scaling", ["zscore", "l2", "none"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_the_head_is_scikit_learns_own_at_its_c(classes, scaling, C, blobs):
    features, labels = blobs(90, classes, 6, seed=1, spread=3.0)
    head = LogisticHead(C, classes, scaling)
    head.fit(features, labels)
    scaled = features.astype(np.float64)
    if scaling == "zscore":
        scaled = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0)
    elif scaling == "l2":
        scaled = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(scaled, labels)
    assert head.converged
    assert np.abs(head.predict_proba(features) - reference.predict_proba(scaled)).max() < 1e-3
    objective = Objective(scaled, labels, classes, penalty=1 / (C * 90))
    kernel, bias = reference.coef_.T, reference.intercept_
    if classes == 2:
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    assert head.certificate.objective == pytest.approx(objective.certify(kernel, bias).objective, rel=1e-6)


def test_two_classes_are_the_binary_model_in_two_columns(blobs):
    features, labels = blobs(60, 2, 5, seed=1, spread=3.0)
    head = LogisticHead(0.1, 2, "none")
    head.fit(features, labels)
    reference = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(features.astype(np.float64), labels)
    kernel = head.arrays()["kernel"]
    assert kernel.shape == (5, 2)
    assert np.allclose(kernel[:, 0], -kernel[:, 1])
    assert np.allclose(kernel[:, 1] - kernel[:, 0], reference.coef_[0], atol=1e-4)


@pytest.mark.heavy
def test_the_refit_holds_lambda_over_cross_validation(blobs):
    # 5 folds train on 80 of 100 rows: λ = 1 / (C 80) = 1 / (C_refit 100).
    trained, _ = train(training_data(*blobs(100, 4, 8, seed=1)))
    C = trained.selection["selected"]["C"]
    assert trained.fit["C"] == pytest.approx(0.8 * C)
    assert trained.fit["penalty"] == pytest.approx(1 / (C * 80))
    assert trained.n_validation == 0


def test_the_refit_holds_lambda_over_an_official_validation(blobs):
    trained, _ = train(training_data(*blobs(100, 4, 8, seed=1), official=25))
    C = trained.selection["selected"]["C"]
    assert trained.fit["C"] == pytest.approx(0.75 * C)
    assert trained.n_validation == 25


@pytest.mark.heavy
def test_keep_c_holds_c(blobs):
    trained, _ = train(training_data(*blobs(100, 4, 8, seed=1)), keep_c=True)
    assert trained.fit["C"] == trained.selection["selected"]["C"]


@pytest.mark.heavy
def test_selection_tells_what_it_saw(blobs):
    trained, said = train(training_data(*blobs(100, 4, 8, seed=1, spread=2.0)), rule="one_se")
    table = trained.selection["table"]
    assert [set(row) for row in table] == [{"C", "accuracy", "standard_error", "paired_error", "nll"}] * len(table)
    assert [row["C"] for row in table] == sorted(row["C"] for row in table)
    best = max(row["accuracy"] for row in table)
    error = next(row["standard_error"] for row in table if row["accuracy"] == best)
    enough = [row["C"] for row in table if row["accuracy"] >= best - error - 1e-9]
    assert trained.selection["selected"] == {"C": enough[0]}
    assert trained.selection["by_nll"] == {"C": min(table, key=lambda row: row["nll"])["C"]}
    assert any(note.startswith("by NLL") for note in trained.selection["notes"])
    assert said[-2].startswith("logistic: final fit on 100 rows")


def test_selection_never_scales_by_rows_held_out(blobs):
    # The row held out is far away. Scaled with it, the others would collapse; they must stay separable.
    features, labels = blobs(60, 2, 3, seed=1, spread=0.1)
    features = np.vstack([features, np.full((2, 3), 1e6, np.float32)])
    trained, _ = train(training_data(features, np.append(labels, [0, 1]), official=2))
    reference, _ = train(training_data(features[:62], np.append(labels, [0, 1]), official=2))
    assert trained.selection == reference.selection
    assert (
        trained.selection["table"][-1]["nll"] > 10
    )  # a millionfold outlier, by the scale of the others, costs without end


@pytest.mark.heavy
def test_the_certificate_says_when_a_fit_has_not_converged(blobs, monkeypatch):
    monkeypatch.setattr("probe.sweep.newton._NEWTON_STEPS", 1)
    features, labels = blobs(90, 3, 6, seed=1, spread=3.0)
    head = LogisticHead(100.0, 3)
    head.fit(features, labels)
    assert not head.converged
    assert head.certificate.bound > CERTIFIED_GAP * head.certificate.objective
    monkeypatch.setattr("probe.heads.logistic.CERTIFIED_GAP", 0.0)
    trained, _ = train(training_data(features, labels))
    assert trained.fit["converged"] is False
    assert any("has not converged" in warning for warning in trained.warnings)
    fits = len(trained.selection["fits"])
    assert f"{fits} fits of the selection are not certified to 0 of their objective" in trained.warnings


@pytest.mark.heavy
def test_a_strong_penalty_is_scored_at_its_optimum_and_not_on_the_way(blobs):
    # 20, 15 and 10 rows: at C = 1e-7 the optimum predicts the commonest class. L-BFGS, stopped early, has
    # no intercept yet and would score far better than the head that is meant.
    features, labels = blobs(60, 3, 8, seed=1)
    order = np.concatenate([np.flatnonzero(labels == k)[:n] for k, n in ((0, 20), (1, 15), (2, 10))])
    trained, _ = train(training_data(features[order], labels[order]))
    weakest = trained.selection["table"][0]
    assert weakest["C"] == 1e-7
    assert weakest["accuracy"] == pytest.approx(20 / 45, abs=0.02)


def test_too_few_rows_to_select_on_take_the_default_and_say_so():
    data = training_data(np.array([[0.0], [1.0]], np.float32), np.array([0, 1]))
    trained, _ = train(data)
    assert trained.selection["selected"] == {"C": 1.0}
    assert trained.selection["method"] == "none: a fixed penalty"
    assert "too few rows" in trained.selection["notes"][0]


@pytest.mark.heavy
def test_a_class_of_one_row_can_be_trained(blobs):
    features, labels = blobs(61, 2, 4, seed=1)
    labels[60] = 2
    trained, _ = train(training_data(features, labels))
    assert trained.head["kernel"].shape == (4, 3)
    assert trained.fit["converged"]


@pytest.mark.heavy
def test_constant_and_collinear_features_and_few_rows_converge(blobs):
    features, labels = blobs(30, 3, 40, seed=1)
    features[:, 5] = 7.0
    features[:, 6] = 2 * features[:, 7]
    trained, _ = train(training_data(features, labels))
    assert trained.fit["converged"]
    assert np.isfinite(predict_proba(trained.head, features)).all()
    assert trained.head["scale"][5] == 1.0


@pytest.mark.heavy
@pytest.mark.parametrize("rule", RULES)
def test_a_path_that_is_left_selects_what_the_whole_one_does(rule, blobs, monkeypatch):
    data = training_data(*blobs(200, 4, 12, seed=1, spread=2.5))
    left, _ = train(data, rule=rule)
    assert any(note.startswith("left at C = ") for note in left.selection["notes"])
    monkeypatch.setattr("probe.sweep.search.PATIENCE", 0)
    whole, _ = train(data, rule=rule)
    assert len(left.selection["table"]) < len(whole.selection["table"])
    assert left.selection["selected"] == whole.selection["selected"]
    assert left.selection["best"] == whole.selection["best"]
    assert left.selection["by_nll"] == whole.selection["by_nll"]


@pytest.mark.heavy
def test_the_grid_has_45_points_from_end_to_end(blobs, monkeypatch):
    monkeypatch.setattr("probe.sweep.search.PATIENCE", 0)
    trained, _ = train(training_data(*blobs(100, 4, 8, seed=1, spread=2.0)))
    # Where the choice lies on an edge, decades are added.
    points = [row["C"] for row in trained.selection["table"] if 1e-7 <= row["C"] <= 100]
    assert len(points) == 45
    assert (points[0], points[-1]) == (1e-7, 100.0)
    assert np.allclose(np.diff(np.log10(points)), 9 / 44)
    features, labels = blobs(100, 4, 8, seed=1, spread=2.0)
    unscaled, _ = train(training_data(features, labels), scaling="none")
    points = [row["C"] for row in unscaled.selection["table"]]
    # 1e-6 to 1e5 for features of variance 1.
    variance = features.astype(np.float64).var(axis=0).mean()
    for end in (1e-6, 1e5):
        assert np.isclose(points, end / variance, rtol=1e-9).sum() == 1


@pytest.mark.heavy
def test_every_fit_of_the_selection_is_kept_with_its_certificate(blobs):
    trained, _ = train(training_data(*blobs(100, 4, 8, seed=1, spread=2.0)))
    fits = trained.selection["fits"]
    assert len(fits) == 25 * len(trained.selection["table"])
    assert {fit["fold"] for fit in fits} == set(range(25))
    for fit in fits:
        assert fit["converged"]
        assert fit["certificate"] <= CERTIFIED_GAP * fit["objective"]
        assert {"C", "gradient_norm", "newton_steps", "iterations"} < set(fit)


@pytest.mark.heavy
@pytest.mark.parametrize("classes", [2, 4])
def test_scikit_learn_is_fitted_beside_and_agrees(classes, blobs, monkeypatch):
    data = training_data(*blobs(100, classes, 8, seed=1, spread=2.0))
    for start in ("cold", "warm"):
        monkeypatch.setattr("probe.heads.peer._COLD_BELOW", 1e9 if start == "cold" else 0)
        fit = train(data)[0].fit
        assert fit["scikit_learn_start"] == start
        assert fit["scikit_learn_converged"]
        assert abs(fit["scikit_learn_objective_difference"]) < 1e-6
        assert fit["scikit_learn_coefficient_difference"] < 1e-2
        # Where the penalty is strong, all logits are nearly equal.
        assert fit["scikit_learn_equal_predictions"] >= 0.9
        assert fit["scikit_learn_certificate"] < 1e-4 * fit["objective"]
    monkeypatch.setattr("probe.heads.peer._COPY_BYTES", 100)
    assert train(data)[0].fit["scikit_learn_start"] == "none: the features are too large to copy"


def test_a_better_start_changes_the_time_and_not_the_end(blobs):
    features, labels = blobs(90, 3, 6, seed=1, spread=3.0)
    cold, warm = LogisticHead(1.0, 3), LogisticHead(1.0, 3)
    cold.fit(features, labels)
    warm.fit(features, labels, (cold.arrays()["kernel"], cold.arrays()["bias"]))
    assert warm.solution.newton_steps < cold.solution.newton_steps
    assert warm.certificate.objective == pytest.approx(cold.certificate.objective, rel=1e-9)
