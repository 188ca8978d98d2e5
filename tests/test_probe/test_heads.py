"""What every head owes, whatever it is: something finite for few and degenerate rows, or an error that names the remedy."""

import json

import numpy as np
import pytest

from probe import HEADS, FeatureError, predict_proba
from probe.draws import units_of
from probe.heads.registry import find_recipe, resolve_options
from probe.heads.training import TrainingData

# `dense` twice: as the lesson has it, and as a grid.
WAYS = [(head, {}) for head in HEADS] + [("dense", {"learning_rate": [1e-3, 1e-2], "weight_decay": 0.1, "epochs": 1})]


def train(head, options, features, labels):
    contents = [f"{at:064x}" for at in range(len(labels))]
    units, tokens = units_of(contents, [""] * len(labels))
    data = TrainingData(
        np.asarray(features, np.float32), np.asarray(labels), units, tokens, 0, max(labels) + 1, 0, contents
    )
    return find_recipe(head)(data, resolve_options(head, options), lambda _: None)


@pytest.mark.parametrize(("head", "options"), WAYS)
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], [0, 1]),
        ([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1]),
        # Constant, zero: nothing to learn from but the classes' shares.
        (np.zeros((12, 3)), [0, 1, 1] * 4),
        # Five classes, one of which is seen once.
        (np.random.default_rng(0).normal(size=(41, 3)), [0, 1, 2, 3] * 10 + [4]),
    ],
    ids=["two rows", "three rows", "no features", "a class seen once"],
)
def test_few_and_degenerate_rows_give_probabilities_and_a_document(head, options, features, labels):
    trained = train(head, options, features, labels)
    probabilities = predict_proba(trained.head, np.asarray(features, np.float32))
    assert probabilities.shape == (len(labels), max(labels) + 1)
    assert np.isfinite(probabilities).all()
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    json.dumps([trained.selection, trained.fit], allow_nan=False)
    assert {"converged", "iterations", "trainable_parameters"} <= set(trained.fit)
    assert set(trained.selection["selected"]) <= {"C", "alpha", "k", "learning_rate", "weight_decay"}


@pytest.mark.parametrize(("head", "options"), WAYS)
def test_features_of_another_dim_are_refused_by_what_was_trained(head, options, blobs):
    features, labels = blobs(40, 2, 4, seed=1)
    trained = train(head, options, features, labels.tolist())
    with pytest.raises(FeatureError, match=r"features \(N, 4\) expected, \(3, 5\) found"):
        predict_proba(trained.head, np.zeros((3, 5)))
