from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from probe.evaluation import evaluate
from probe.parts import Part
from probe.scaling import softmax
from probe.temperature import fit_temperature, fit_temperatures
from probe.training import HeldOut


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


@pytest.mark.parametrize(("classes", "rows"), [(10, 150), (10, 500), (100, 150), (100, 500), (1000, 400)])
def test_a_calibrated_head_stays_calibrated_however_many_classes(classes, rows):
    # Labels are drawn from the head's own softmax, so that no other temperature than 1 serves new rows better.
    rng = np.random.default_rng(0)

    def draw(count):
        meant = rng.integers(0, classes, count)
        logits = 2 * rng.normal(size=(count, classes))
        logits[np.arange(count), meant] += 6 + np.log(classes)
        return logits, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)

    def nll(logits, labels, temperature):
        return log_loss(labels, softmax(logits / temperature), labels=np.arange(classes))

    held_out, labels = draw(rows)
    new = draw(4000)
    likeliest = minimize_scalar(lambda log_t: nll(held_out, labels, np.exp(log_t)), bounds=(-2, 2), method="bounded")
    found = nll(*new, fit_temperature(held_out, labels))
    assert found <= 1.02 * nll(*new, np.exp(likeliest.x))
    assert found <= 1.02 * nll(*new, 1.0)


def test_twenty_rows_that_are_all_right_leave_room_for_an_error():
    # Their NLL has no least. Laplace's rule: of the next 22 one is wrong.
    scores = np.eye(3)[np.arange(20) % 3]
    labels = np.arange(20) % 3
    probabilities = softmax(scores / fit_temperature(scores, labels))
    assert probabilities[np.arange(20), labels] == pytest.approx(np.full(20, 21 / 22), abs=1e-3)


def test_a_temperature_that_serves_the_rows_held_out_worse_is_not_applied():
    # Sure and right: Laplace's rule would have it less sure.
    probabilities = softmax(9.0 * np.eye(3)[np.arange(12) % 3])
    sure = HeldOut(np.arange(12) % 3, probabilities.astype(np.float32), np.arange(12))
    assert fit_temperature(np.log(probabilities), sure.labels) > 2
    assert calibrated(sure) == 1.0
    # Sure, and wrong in every fourth case.
    wrong = HeldOut(
        np.where(np.arange(12) % 4, np.arange(12) % 3, (np.arange(12) + 1) % 3), sure.probabilities, np.arange(12)
    )
    assert calibrated(wrong) > 2


def calibrated(held_out):
    """Return the temperature that an evaluation keeps."""
    contents = tuple(str(at) for at in range(len(held_out.labels)))
    test = Part("test", (), held_out.labels, contents, contents, ("",) * len(contents), 0)
    return evaluate([replace(test, name="train", contents=()), test], held_out.probabilities, held_out)["temperature"]


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


def test_temperatures_of_several_heads_are_those_of_each(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 40)
    scores = rng.normal(size=(7, 40, 5)) * 10.0 ** np.arange(-3, 4)[:, None, None]
    scores[:, np.arange(40), labels] *= 3
    scores[2] = 0.0
    each = [fit_temperature(of_head, labels) for of_head in scores]
    np.testing.assert_allclose(fit_temperatures(scores, labels), each, rtol=1e-12)
    # As many at a time as fit.
    monkeypatch.setattr("probe.temperature._NUMBERS", 500)
    np.testing.assert_allclose(fit_temperatures(scores, labels), each, rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_it_is_the_least_of_the_likelihood_with_the_error_that_is_expected(classes):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(60, classes))
    labels = np.where(rng.random(60) < 0.7, scores.argmax(axis=1), rng.integers(0, classes, 60))
    others = scores.copy()
    others[np.arange(60), labels] = -np.inf
    targets = np.zeros_like(scores)
    targets[np.arange(60), labels] = 61 / 62
    targets[np.arange(60), others.argmax(axis=1)] = 1 / 62
    least = minimize_scalar(
        lambda log_t: -(targets * np.log(softmax(scores / np.exp(log_t)))).sum(),
        bounds=(-6, 6),
        method="bounded",
        options={"xatol": 1e-8},
    )
    assert fit_temperature(scores, labels) == pytest.approx(np.exp(least.x), rel=1e-3)
