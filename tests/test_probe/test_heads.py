"""What every head owes, whatever it is."""

import io
import json
from typing import ClassVar

import numpy as np
import pytest

from probe import HEADS, FeatureError, predict_proba
from probe.draws import units_of
from probe.heads.registry import find_head, resolve_options
from probe.training import CURVE_COLUMNS, TrainingData


def training_data(features, labels, groups=None):
    contents = [f"{at:064x}" for at in range(len(labels))]
    units, tokens = units_of(contents, groups or [""] * len(labels))
    classes = int(max(labels)) + 1
    return TrainingData(np.asarray(features, np.float32), np.asarray(labels), units, tokens, 0, classes, 0, contents)


class HeadContract:
    """Subclass it with the name of a head, and options if its ways differ much by them."""

    head: str
    given: ClassVar[dict] = {}

    @classmethod
    def train(cls, features, labels, groups=None):
        said: list[str] = []
        options = resolve_options(cls.head, cls.given)
        trained = find_head(cls.head).train(training_data(features, labels, groups), options, said.append)
        assert said, "whoever waits is told what goes on"
        return trained

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, blobs):
        features, labels = blobs(150, 3, 5, seed=1, spread=0.4)
        return cls.train(features[:90], labels[:90])

    def test_its_options_are_a_model_and_it_says_what_it_is(self):
        kind = find_head(self.head)
        assert kind.options.parse(self.head, {}).document() == kind.options().document()
        assert kind.meaning

    def test_it_learns_what_can_be_seen(self, trained, blobs):
        features, labels = blobs(150, 3, 5, seed=1, spread=0.4)
        found = predict_proba(trained.head, features[90:])
        assert found.shape == (60, 3)
        assert (found.argmax(axis=1) == labels[90:]).mean() > 0.9

    def test_it_is_arrays_that_predict_the_same_after_they_were_kept(self, trained, blobs):
        features, _ = blobs(40, 3, 5, seed=3)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(trained.head))
        with np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False) as kept:
            assert np.array_equal(predict_proba(dict(kept), features), predict_proba(trained.head, features))

    def test_it_says_how_it_was_selected_and_fitted(self, trained):
        json.dumps([trained.selection, trained.fit], allow_nan=False)
        assert {"converged", "iterations", "trainable_parameters"} <= set(trained.fit)
        assert {"method", "selected", "table", "notes"} <= set(trained.selection)
        assert tuple(trained.curves.columns) == CURVE_COLUMNS
        assert trained.packages

    def test_what_it_says_of_rows_held_out_are_probabilities(self, trained):
        assert trained.held_out is not None
        labels, found = trained.held_out.labels, trained.held_out.probabilities
        assert found.shape == (len(labels), 3)
        assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)

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
    def test_few_and_degenerate_rows_give_probabilities_and_a_document(self, features, labels):
        trained = self.train(features, labels)
        probabilities = predict_proba(trained.head, np.asarray(features, np.float32))
        assert probabilities.shape == (len(labels), max(labels) + 1)
        assert np.isfinite(probabilities).all()
        assert np.allclose(probabilities.sum(axis=1), 1.0)
        json.dumps([trained.selection, trained.fit], allow_nan=False)
        assert set(trained.selection["selected"]) <= {"C", "alpha", "k", "learning_rate", "weight_decay"}

    def test_rows_of_one_unit_are_held_out_together(self, blobs):
        features, labels = blobs(60, 2, 4, seed=5)
        groups = [f"patient {at // 3}" for at in range(60)]
        trained = self.train(features, labels, groups)
        assert trained.held_out is not None
        assert len(trained.held_out.labels) % 3 == 0

    def test_features_of_another_dim_are_refused_by_what_was_trained(self, trained):
        with pytest.raises(FeatureError, match=r"features \(N, 5\) expected, \(3, 6\) found"):
            predict_proba(trained.head, np.zeros((3, 6)))


@pytest.mark.framework
class TestDense(HeadContract):
    head = "dense"
    given: ClassVar[dict] = {
        "learning_rate": 0.05,
        "scaling": "zscore",
    }  # the lesson's rate needs more steps than 90 rows give


@pytest.mark.framework
class TestDenseGrid(HeadContract):
    head = "dense"
    given: ClassVar[dict] = {"learning_rate": [1e-3, 1e-1], "weight_decay": 0.1, "epochs": 3}


@pytest.mark.heavy
class TestLogistic(HeadContract):
    head = "logistic"


@pytest.mark.heavy
class TestRidge(HeadContract):
    head = "ridge"


class TestKnn(HeadContract):
    head = "knn"


def test_every_head_is_held_to_the_contract():
    assert {kind.head for kind in HeadContract.__subclasses__()} == set(HEADS)
