import warnings

import numpy as np
import pytest

from probe.heads.early_stopping import EarlyStopping
from probe.heads.wide_steps import Architecture, Column
from probe.prediction import head_arrays, predict_proba
from probe.scaling import fit_scaler, softmax

pytestmark = pytest.mark.framework

RATES, DECAYS = (1e-4, 1e-3, 1e-2), (0.0, 0.5)
COLUMNS = [Column(rate, decay) for decay in DECAYS for rate in RATES]


@pytest.fixture(scope="module")
def wide_dense():
    with warnings.catch_warnings():
        # TensorFlow's own imports may warn; that is not ours to mend.
        warnings.simplefilter("ignore")
        import keras  # noqa: F401
    from probe.heads.wide import WideDense

    return WideDense


def adam_alone(features, labels, kernel, bias, column, epochs, batch):
    """Train one head in NumPy, float64, as Keras' AdamW does with the bias excluded from decay."""
    weights = [kernel.astype(np.float64), bias.astype(np.float64)]
    first, second = [0.0, 0.0], [0.0, 0.0]
    step = 0
    for _ in range(epochs):
        for start in range(0, len(labels), batch):
            X, y = features[start : start + batch].astype(np.float64), labels[start : start + batch]
            residual = (softmax(X @ weights[0] + weights[1]) - np.eye(len(bias))[y]) / len(y)
            step += 1
            weights[0] = weights[0] * (1 - column.learning_rate * column.weight_decay)
            for at, gradient in enumerate((X.T @ residual, residual.sum(axis=0))):
                first[at] = 0.9 * first[at] + 0.1 * gradient
                second[at] = 0.999 * second[at] + 0.001 * gradient**2
                rate = column.learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                weights[at] = weights[at] - rate * first[at] / (np.sqrt(second[at]) + 1e-7)
    return weights


def test_each_column_is_what_it_would_be_alone(wide_dense, blobs):
    # 50 rows in batches of 16: the last batch has two.
    features, labels = blobs(50, 3, 7, seed=1, spread=2.0)
    architecture = Architecture(7, 3, batch_size=16)
    wide = wide_dense(architecture, COLUMNS, seed=0, rows=50, is_shuffled=False)
    wide.fit(features, labels, np.arange(50), scaler=fit_scaler("none", features), epochs=5)
    initial = architecture.draw_weights(0)
    for at, column in enumerate(COLUMNS):
        kernel, bias = adam_alone(features, labels, initial["kernel"], initial["bias"], column, 5, 16)
        found = wide.weights(at)
        assert np.abs(found["kernel"] - kernel).max() < 1e-5, column
        assert np.abs(found["bias"] - bias).max() < 1e-5, column


@pytest.mark.campaign
@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(1280, 10),
        Architecture(1280, 10, dropout=0.5),
        Architecture(1280, 10, hidden=64),
        Architecture(1280, 10, hidden=64, dropout=0.5),
    ],
    ids=str,
)
def test_each_of_52_columns_is_what_it_would_be_alone(architecture, wide_dense, blobs):
    from probe.heads.dense_grid import LEARNING_RATES, WEIGHT_DECAYS

    features, labels = blobs(1437, 10, 1280, seed=1, spread=4.0)
    columns = [Column(rate, decay) for decay in WEIGHT_DECAYS for rate in LEARNING_RATES]
    rows, scaler = np.arange(1437), fit_scaler("zscore", features)
    wide = wide_dense(architecture, columns, seed=0, rows=1437)
    wide.fit(features, labels, rows, scaler=scaler, epochs=6)
    # Above a rate of 1e-2 rounding alone parts two runs of one head. Up to there its trace grows with the rate, as Adam
    # divides even the smallest gradient by its own size.
    compared = [
        at for at, column in enumerate(columns) if column.learning_rate <= 1e-2 and column.weight_decay in (0, 1)
    ]
    assert len(compared) == 20
    for at in compared:
        alone = wide_dense(architecture, [columns[at]], seed=0, rows=1437)
        alone.fit(features, labels, rows, scaler=scaler, epochs=6)
        for name, array in alone.weights(0).items():
            # A unit near its kink may fall on either side of it, by rounding.
            allowed = 1e-3 if architecture.hidden else max(1e-5, 5e-3 * columns[at].learning_rate)
            assert np.abs(wide.weights(at)[name] - array).max() < allowed, (columns[at], name)


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_column_is_what_keras_trains(hidden, wide_dense, blobs):
    import keras

    features, labels = blobs(50, 3, 7, seed=1, spread=2.0)
    architecture = Architecture(7, 3, hidden=hidden, batch_size=16)
    initial = architecture.draw_weights(3)
    wide = wide_dense(architecture, [Column(1e-3, 0.0), Column(5e-3, 0.2)], seed=3, rows=50, is_shuffled=False)
    wide.fit(features, labels, np.arange(50), scaler=fit_scaler("none", features), epochs=4)
    layers = [keras.layers.Dense(hidden, activation="relu")] if hidden else []
    model = keras.Sequential([keras.Input((7,)), *layers, keras.layers.Dense(3, activation="softmax")])
    model.set_weights(list(initial.values()))
    optimizer = keras.optimizers.AdamW(5e-3, weight_decay=0.2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(features, labels, batch_size=16, epochs=4, shuffle=False, verbose=0)
    for (name, found), expected in zip(wide.weights(1).items(), model.get_weights(), strict=True):
        assert np.abs(found - expected).max() < 1e-5, name
    rows = np.arange(10)
    logits = wide.logits(features, rows, fit_scaler("none", features))
    assert np.abs(softmax(logits[:, 1]) - model.predict(features[rows], verbose=0)).max() < 1e-5


def test_dropout_is_the_same_for_every_column_and_leaves_out_its_share(wide_dense, blobs):
    features, labels = blobs(40, 2, 6, seed=1)
    columns, rows, scaler = [Column(1e-2, 0.0)] * 2, np.arange(40), fit_scaler("none", features)
    kernels = {}
    for rate in (0.0, 0.5):
        wide = wide_dense(Architecture(6, 2, dropout=rate), columns, seed=0, rows=40)
        wide.fit(features, labels, rows, scaler=scaler, epochs=3)
        assert np.array_equal(wide.weights(0)["kernel"], wide.weights(1)["kernel"])
        kernels[rate] = wide.weights(0)["kernel"]
        wide.fit(features, labels, rows, scaler=scaler, epochs=3)
        assert np.array_equal(wide.weights(0)["kernel"], kernels[rate])
    assert not np.allclose(kernels[0.0], kernels[0.5], atol=1e-3)


def test_what_dropout_keeps_is_scaled_up():
    import tensorflow as tf

    from probe.heads.wide_steps import WideSteps

    steps = WideSteps(Architecture(1000, 2, dropout=0.2), [Column(1e-3, 0.0)])
    kept = np.asarray(steps._kept((100, 1000), tf.constant([0, 1])))
    assert set(np.unique(kept).tolist()) == {0.0, 1.25}
    # 100,000 draws: a share of 0.2, with a standard deviation of 0.0013.
    assert abs((kept == 0).mean() - 0.2) < 0.006
    assert not np.array_equal(kept, np.asarray(steps._kept((100, 1000), tf.constant([0, 2]))))


@pytest.fixture(scope="module")
def pair(wide_dense):
    """Two heads, one of which overfits at once, and noise on which that shows."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(160, 40)).astype(np.float32)
    labels = (features[:, 0] + rng.normal(size=160) > 0).astype(np.int64)
    wide = wide_dense(Architecture(40, 2), [Column(3e-1, 0.0), Column(3e-3, 0.0)], seed=1, rows=100)
    return wide, features, labels, fit_scaler("none", features)


def test_early_stopping_ends_each_column_with_its_best_weights(pair):
    wide, features, labels, scaler = pair
    rows, held_out = np.arange(100), np.arange(100, 160)
    stopping = EarlyStopping(held_out, 4, 2)
    seen = []
    wide.fit(
        features,
        labels,
        rows,
        scaler=scaler,
        epochs=60,
        stopping=stopping,
        on_epoch=lambda epoch: seen.append(epoch.number),
    )
    stopped = [wide.weights(at) for at in range(2)]
    fast, slow = stopping.epochs.tolist()
    assert fast < slow < 60
    assert seen == list(range(1, slow + 5))
    for at, epochs in enumerate((fast, slow)):
        wide.fit(features, labels, rows, scaler=scaler, epochs=epochs)
        for name, array in wide.weights(at).items():
            assert np.array_equal(array, stopped[at][name])


def test_an_epoch_tells_what_was_seen_before_each_step(pair):
    wide, features, labels, scaler = pair
    epochs = []
    # One batch is the whole of 32 rows, so what it saw is what the initial weights say.
    wide.fit(features, labels, np.arange(32), scaler=scaler, epochs=1, on_epoch=epochs.append)
    initial = Architecture(40, 2).draw_weights(1)
    probabilities = softmax(features[:32] @ initial["kernel"])
    assert epochs[0].loss == pytest.approx(-np.log(probabilities[np.arange(32), labels[:32]]).mean(), rel=1e-5)
    assert epochs[0].accuracy == pytest.approx((probabilities.argmax(axis=1) == labels[:32]).mean())


def test_losses_and_logits_are_those_of_the_heads_arrays(pair, monkeypatch):
    wide, features, labels, scaler = pair
    wide.fit(features, labels, np.arange(100), scaler=scaler, epochs=2)
    monkeypatch.setattr("probe.heads.wide._SCORE_BYTES", 1000)
    monkeypatch.setattr("probe.heads.wide._LOSS_ROWS", 7)
    rows = np.arange(100, 160)
    for at in range(2):
        weights = wide.weights(at)
        expected = predict_proba(head_arrays(scaler, weights["kernel"], weights["bias"]), features[rows])
        assert np.abs(softmax(wide.logits(features, rows, scaler)[:, at]) - expected).max() < 1e-6
        loss = -np.log(expected[np.arange(60), labels[rows]]).mean()
        assert wide.losses(features, labels, rows, scaler=scaler)[at] == pytest.approx(loss, rel=1e-5)


def test_rows_that_come_in_many_chunks_train_the_same_heads(pair, wide_dense, monkeypatch):
    wide, features, labels, scaler = pair
    wide.fit(features, labels, np.arange(100), scaler=scaler, epochs=2)
    # Batches of 32 rows of 40 numbers in float32 have 5,120 bytes: two of the four in a chunk.
    monkeypatch.setattr("probe.heads.wide._CHUNK_BYTES", 10_240)
    pieces = wide_dense(Architecture(40, 2), [Column(3e-1, 0.0), Column(3e-3, 0.0)], seed=1, rows=100)
    pieces.fit(features, labels, np.arange(100), scaler=scaler, epochs=2)
    for at in range(2):
        assert np.allclose(wide.weights(at)["kernel"], pieces.weights(at)["kernel"], atol=1e-5)
