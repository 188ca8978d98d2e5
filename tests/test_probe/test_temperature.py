import numpy as np
import pytest

from probe.scaling import softmax
from probe.temperature import fit_temperature


@pytest.mark.heavy
def test_scores_that_were_multiplied_are_divided_again():
    # Labels are drawn from softmax(logits), so of 50,000 rows the best temperature of 3 · logits is 3, within sampling.
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50_000, 4))
    labels = np.array((softmax(logits).cumsum(axis=1) < rng.random((50_000, 1))).sum(axis=1))
    assert fit_temperature(logits, labels) == pytest.approx(1.0, rel=0.04)
    assert fit_temperature(3.0 * logits + 5.0, labels) == pytest.approx(3.0, rel=0.04)
    # However small or large: ridge scores under a huge penalty are.
    assert fit_temperature(1e-9 * logits, labels) == pytest.approx(1e-9, rel=0.04)
    assert fit_temperature(1e9 * logits, labels) == pytest.approx(1e9, rel=0.04)


def test_it_is_the_least_of_the_smoothed_likelihood():
    # Two rows, two classes, scores ±1, both right: a right class's target is (2 + 1) / (2 + 2) = 0.75, and
    # softmax((1, -1) / T) = 0.75 at 2 / T = log 3.
    scores, labels = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0, 1])
    assert fit_temperature(scores, labels) == pytest.approx(2 / np.log(3), rel=5e-3)


@pytest.mark.parametrize("scores", [np.zeros((4, 2)), np.array([[-1.0, 1.0], [1.0, -1.0]] * 2)])
def test_scores_that_say_nothing_or_the_wrong_thing_give_even_probabilities(scores):
    labels = np.array([0, 1, 0, 1])
    probabilities = softmax(scores / fit_temperature(scores, labels))
    assert np.abs(probabilities - 0.5).max() < 1e-3
