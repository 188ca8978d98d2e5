import warnings

import numpy as np
import pytest

from probe import predict_proba
from probe.draws import units_of
from probe.heads.dense_options import LEARNING_RATES, WEIGHT_DECAYS
from probe.heads.registry import find_head, resolve_options
from probe.heads.wide_steps import Architecture, Column
from probe.scaling import fit_scaler
from probe.training import CURVE_COLUMNS, TrainingData

pytestmark = pytest.mark.framework


def training_data(features, labels, official=0, seed=4) -> TrainingData:
    units, tokens = units_of([str(at) for at in range(len(labels))], [""] * len(labels))
    return TrainingData(features, labels, units, tokens, official, int(labels.max()) + 1, seed)


@pytest.fixture(scope="module", autouse=True)
def tensorflow():
    with warnings.catch_warnings():
        # TensorFlow's own imports may warn; that is not ours to mend.
        warnings.simplefilter("ignore")
        import keras  # noqa: F401


def train(data, **options):
    said: list[str] = []
    return find_head("dense").train(data, resolve_options("dense", options), said.append), said


def within_one_error(table):
    best = max(row["accuracy"] for row in table)
    error = next(row["standard_error"] for row in table if row["accuracy"] == best)
    return [row for row in table if row["accuracy"] >= best - error - 1e-12]


def test_the_grid_is_13_rates_by_4_decays():
    options = resolve_options("dense", {"learning_rate": "grid", "weight_decay": "grid"})
    assert options.learning_rate == LEARNING_RATES
    assert options.weight_decay == WEIGHT_DECAYS
    assert len(LEARNING_RATES) * len(WEIGHT_DECAYS) == 52
    assert options == resolve_options(
        "dense", {"learning_rate": list(LEARNING_RATES), "weight_decay": list(WEIGHT_DECAYS)}
    )


@pytest.fixture(scope="module")
def official(blobs):
    """A grid of six and one that diverges, selected on an official validation of 50 rows."""
    features, labels = blobs(200, 3, 12, seed=1, spread=2.0)
    data = training_data(features, labels, official=50)
    return data, *train(
        data, learning_rate=[1e-4, 3e-2, 1e-1, 1e38], weight_decay=[0.0, 0.5], epochs=3, scaling="zscore"
    )


def test_the_table_runs_from_strong_to_weak_regularisation(official):
    _, trained, _ = official
    table = trained.selection["table"]
    assert [(row["weight_decay"], row["learning_rate"]) for row in table] == [
        (decay, rate) for decay in (0.5, 0.0) for rate in (1e-4, 3e-2, 1e-1, 1e38)
    ]
    first = within_one_error(table)[0]
    assert trained.selection["selected"] == {name: first[name] for name in ("learning_rate", "weight_decay")}
    assert trained.selection["method"] == "accuracy on the official validation part"
    assert trained.n_validation == 50


def test_scores_are_those_of_each_head_alone(official):
    from probe.heads.wide import WideDense

    data, trained, _ = official
    rows, scaler = np.arange(150), fit_scaler("zscore", data.features[:150])
    row = trained.selection["table"][2]
    alone = WideDense(Architecture(12, 3), [Column(1e-1, 0.5)], seed=4, rows=150)
    alone.fit(data.features, data.labels, rows, scaler=scaler, epochs=3)
    logits = alone.logits(data.features, np.arange(150, 200), scaler)[:, 0]
    assert row["accuracy"] == pytest.approx((logits.argmax(axis=1) == data.labels[150:]).mean())
    assert row["nll"] == pytest.approx(
        alone.losses(data.features, data.labels, np.arange(150, 200), scaler=scaler)[0], rel=1e-4
    )


def test_the_head_is_the_selected_one_refitted_on_all_rows(official):
    from probe.heads.wide import WideDense

    data, trained, said = official
    chosen = trained.selection["selected"]
    alone = WideDense(Architecture(12, 3), [Column(**chosen)], seed=4, rows=200)
    scaler = fit_scaler("zscore", data.features)
    alone.fit(data.features, data.labels, np.arange(200), scaler=scaler, epochs=3)
    assert np.allclose(trained.head["kernel"], alone.weights(0)["kernel"], atol=1e-6)
    assert np.array_equal(trained.head["mean"], scaler.mean)
    assert trained.fit["trainable_parameters"] == 12 * 3 + 3
    # 200 rows in batches of 32 are 7 steps an epoch.
    assert trained.fit["iterations"] == 21
    assert trained.fit["converged"] is True
    assert any("final fit" in line for line in said)
    assert any("8 heads side by side" in line for line in said)


def test_a_candidate_that_diverges_is_said_to_and_never_selected(official):
    _, trained, _ = official
    assert "2 of 8 candidates diverged" in trained.selection["notes"]
    lost = [row for row in trained.selection["table"] if row["learning_rate"] == 1e38]
    assert all(row["nll"] == pytest.approx(np.log(3)) for row in lost)
    assert trained.selection["selected"]["learning_rate"] < 1e38


def test_curves_and_held_out_predictions_are_of_a_fit_without_validation(official):
    data, trained, _ = official
    assert tuple(trained.curves.columns) == CURVE_COLUMNS
    assert trained.curves["epoch"].tolist() == [1, 2, 3]
    assert np.array_equal(trained.held_out.labels, data.labels[150:])
    last = trained.curves.iloc[-1]
    right = trained.held_out.probabilities.argmax(axis=1) == trained.held_out.labels
    assert last["validation_accuracy"] == pytest.approx(right.mean())


def test_patience_takes_the_epochs_that_the_validation_rows_call_for():
    # Noise in 40 dimensions: validation is best after a few epochs, and training never.
    rng = np.random.default_rng(0)
    features = rng.normal(size=(160, 40)).astype(np.float32)
    labels = (features[:, 0] + rng.normal(size=160) > 0).astype(np.int64)
    trained, _ = train(training_data(features, labels, official=60), learning_rate=3e-2, epochs=50, patience=3)
    losses = trained.curves["validation_loss"].to_numpy()
    best = int(losses.argmin()) + 1
    assert len(losses) == best + 3 < 50
    assert trained.fit["epochs"] == best
    assert f"the refit takes {best} of at most 50 epochs" in trained.selection["notes"][-1]
    # What is held out was predicted by the weights of the best epoch.
    chosen = trained.held_out.probabilities[np.arange(60), trained.held_out.labels]
    assert -np.log(chosen).mean() == pytest.approx(losses.min(), rel=1e-4)


def test_a_grid_with_patience_is_cross_validated_with_a_hidden_layer(blobs):
    data = training_data(*blobs(60, 2, 5, seed=1, spread=2.0))
    trained, _ = train(data, learning_rate=[1e-3, 1e-2], patience=2, epochs=4, hidden=6, dropout=0.2)
    assert "cross-validation" in trained.selection["method"]
    assert trained.n_validation == 0
    assert 1 <= trained.fit["epochs"] <= 4
    assert trained.head["hidden_kernel"].shape == (5, 6)
    assert trained.head["kernel"].shape == (6, 2)
    assert trained.fit["trainable_parameters"] == 5 * 6 + 6 + 6 * 2 + 2
    x = data.features.astype(np.float64)
    inside = np.maximum(x @ trained.head["hidden_kernel"] + trained.head["hidden_bias"], 0)
    logits = inside @ trained.head["kernel"] + trained.head["bias"]
    odds = np.log(predict_proba(trained.head, data.features))
    assert np.allclose(odds[:, 1] - odds[:, 0], logits[:, 1] - logits[:, 0], atol=1e-9)


def test_the_best_on_an_edge_is_flagged(blobs):
    # 1e-5 leads nowhere in three steps, 0.1 to a head that tells the classes apart.
    data = training_data(*blobs(120, 4, 8, seed=1), official=40)
    trained, _ = train(data, learning_rate=[1e-5, 1e-1], epochs=1)
    assert trained.warnings == ("the best learning rate lies on the edge of those tried, 0.1",)


def test_too_few_rows_to_select_on_take_the_rate_next_to_adams_own():
    features, labels = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), np.array([0, 1])
    trained, _ = train(training_data(features, labels), learning_rate=[1e-4, 5e-4, 1e-1], weight_decay=[0.0, 1.0])
    assert trained.selection["selected"] == {"learning_rate": 5e-4, "weight_decay": 0.0}
    assert "too few rows to select on" in trained.selection["notes"][0]
