import warnings

import numpy as np
import pytest

from probe import predict_proba
from probe.draws import units_of
from probe.heads.registry import resolve_options
from probe.scaling import softmax
from probe.training import CURVE_COLUMNS, TrainingData

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def dense_head():
    with warnings.catch_warnings():
        # TensorFlow's own imports may warn; that is not ours to mend.
        warnings.simplefilter("ignore")
        import keras  # noqa: F401
    from probe.heads.dense import DenseHead

    return DenseHead


def loss_and_accuracy(features, labels, kernel, bias) -> tuple[float, float]:
    probabilities = softmax(features @ kernel + bias)
    return (
        float(-np.log(probabilities[np.arange(len(labels)), labels]).mean()),
        float((probabilities.argmax(axis=1) == labels).mean()),
    )


def adam_epoch(features, labels, kernel, bias, batch, rate=1e-3):
    """One epoch of Adam on softmax regression, as Kingma and Ba 2015 write it (ε outside the root).

    Returns the running means of loss and accuracy, and the weights.
    """
    parameters = np.vstack([kernel, bias]).astype(np.float64)
    design = np.hstack([features, np.ones((len(features), 1))])
    first, second, losses, hits = 0.0, 0.0, [], []
    for step, start in enumerate(range(0, len(labels), batch), 1):
        X, y = design[start : start + batch], labels[start : start + batch]
        probabilities = softmax(X @ parameters)
        losses += (-np.log(probabilities[np.arange(len(y)), y])).tolist()
        hits += (probabilities.argmax(axis=1) == y).tolist()
        gradient = X.T @ (probabilities - np.eye(parameters.shape[1])[y]) / len(y)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        parameters -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
    return np.mean(losses), np.mean(hits), parameters[:-1], parameters[-1]


def test_the_running_figure_is_before_the_step_and_the_other_after_it(dense_head):
    # One batch, weights zero: the running loss is log 2, whatever the features. Adam's first step moves
    # each weight by the learning rate against the sign of its gradient, so kernel = ±0.1 and bias = 0.
    features, labels = np.array([[1.0], [-1.0]], np.float32), np.array([1, 0])
    zeros = np.zeros((1, 2), np.float32), np.zeros(2, np.float32)
    head = dense_head(2, epochs=1, learning_rate=0.1, initial_kernel=zeros[0], initial_bias=zeros[1])
    head.fit(features, labels)
    (row,) = head.curves.to_dict("records")
    assert row["epoch"] == 1
    assert row["train_loss_running"] == pytest.approx(np.log(2), rel=1e-6)
    assert head.arrays()["kernel"] == pytest.approx(np.array([[-0.1, 0.1]]), rel=1e-4)
    assert row["train_loss"] == pytest.approx(np.log(1 + np.exp(-0.2)), rel=1e-5)
    assert row["train_accuracy"] == 1.0
    assert np.isnan(row["validation_loss"])


def test_curves_are_those_of_adam_worked_out_in_numpy(dense_head, blobs):
    features, labels = blobs(50, 3, 4, seed=1, spread=2.0)
    held_out = blobs(20, 3, 4, seed=2, spread=2.0)
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    bias = np.array([0.1, 0.2, -0.3], np.float32)
    head = dense_head(3, epochs=1, batch_size=16, initial_kernel=kernel, initial_bias=bias, is_shuffled=False)
    head.fit(features, labels, held_out)
    running_loss, running_accuracy, kernel, bias = adam_epoch(features, labels, kernel, bias, 16)
    expected = (1, running_loss, running_accuracy, *loss_and_accuracy(features, labels, kernel, bias))
    expected += loss_and_accuracy(*held_out, kernel, bias)
    assert tuple(head.curves.columns) == CURVE_COLUMNS
    assert head.curves.iloc[0].tolist() == pytest.approx(expected, rel=1e-4)
    assert np.allclose(head.arrays()["kernel"], kernel, atol=1e-5)


@pytest.mark.parametrize("scaling", ["zscore", "l2", "none"])
def test_the_arrays_predict_what_the_keras_model_predicts(scaling, dense_head, blobs):
    features, labels = blobs(60, 3, 5, seed=1)
    head = dense_head(3, epochs=2, scaling=scaling)
    head.fit(features, labels)
    assert np.abs(predict_proba(head.arrays(), features) - head.predict_proba(features)).max() < 1e-5


def test_the_same_seed_trains_the_same_head_and_another_seed_another(dense_head, blobs):
    features, labels = blobs(60, 3, 5, seed=1)

    def kernel(seed):
        head = dense_head(3, epochs=2, seed=seed)
        head.fit(features, labels)
        return head.arrays()["kernel"]

    assert np.array_equal(kernel(0), kernel(0))
    assert not np.array_equal(kernel(0), kernel(1))


def test_the_head_is_refitted_on_all_rows_after_the_curves(dense_head, blobs):
    from probe.heads.dense import train_dense

    features, labels = blobs(100, 3, 5, seed=1)
    units, tokens = units_of([str(at) for at in range(100)], [""] * 100)
    data = TrainingData(features, labels, units, tokens, 20, 3, 4)
    options = resolve_options("dense", {"epochs": 2})
    trained = train_dense(data, options, lambda _: None)
    followed, final = dense_head(3, epochs=2, seed=4), dense_head(3, epochs=2, seed=4)
    followed.fit(features[:80], labels[:80], (features[80:], labels[80:]))
    final.fit(features, labels)
    assert trained.curves.equals(followed.curves)
    assert np.array_equal(trained.head["kernel"], final.arrays()["kernel"])
    assert trained.n_validation == 20
    assert trained.fit["trainable_parameters"] == 5 * 3 + 3
    assert trained.fit["converged"] is True
    # 100 rows in batches of 32 are 4 steps an epoch.
    assert trained.fit["iterations"] == 8
    assert np.array_equal(trained.held_out.labels, labels[80:])
    assert np.allclose(trained.held_out.probabilities, followed.predict_proba(features[80:]), atol=1e-5)
