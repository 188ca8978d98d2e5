import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from probe.neighbours import UnitRows, find_neighbours, vote
from probe.scaling import fit_scaler

PLAIN = fit_scaler("none", np.ones((1, 7)))


@pytest.mark.parametrize("blocks", [(1024, 8192), (3, 5)], ids=["one block", "many blocks"])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_neighbours_are_scikit_learns(count, blocks, monkeypatch):
    monkeypatch.setattr("probe.neighbours._QUERY_BLOCK", blocks[0])
    monkeypatch.setattr("probe.neighbours._BANK_BLOCK", blocks[1])
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(40, 7)).astype(np.float32), rng.normal(size=(11, 7)).astype(np.float32)
    numbers, similarities = find_neighbours(UnitRows(queries, PLAIN), UnitRows(bank, PLAIN), count)
    distances, expected = NearestNeighbors(metric="cosine").fit(bank).kneighbors(queries, count)
    assert np.array_equal(numbers, expected)
    assert np.allclose(similarities, 1 - distances, atol=1e-6)


@pytest.mark.parametrize("blocks", [(1024, 8192), (7, 11)], ids=["one block", "many blocks"])
def test_of_rows_as_similar_the_first_are_taken_and_fewer_begin_more(blocks, monkeypatch):
    monkeypatch.setattr("probe.neighbours._QUERY_BLOCK", blocks[0])
    monkeypatch.setattr("probe.neighbours._BANK_BLOCK", blocks[1])
    rng = np.random.default_rng(0)
    # Of length 2 each, so that a cosine is a whole number of quarters, the same in every product.
    corners = np.array([row for row in np.ndindex(*[2] * 7) if sum(row) == 4], np.float32)
    bank, queries = corners[rng.integers(0, len(corners), 200)], corners[rng.integers(0, len(corners), 20)]
    cosines = queries @ bank.T / 4
    expected = np.argsort(-cosines, axis=1, kind="stable")
    most, _ = find_neighbours(UnitRows(queries, PLAIN), UnitRows(bank, PLAIN), 100)
    for count in (1, 5, 20, 100):
        found, similarities = find_neighbours(UnitRows(queries, PLAIN), UnitRows(bank, PLAIN), count)
        assert np.array_equal(found, expected[:, :count])
        assert np.array_equal(found, most[:, :count])
        assert np.array_equal(similarities, np.take_along_axis(cosines, found, axis=1))


@pytest.mark.parametrize("size", [1e-35, 1e-20, 1.0, 1e20, 1e37])
@pytest.mark.parametrize("scaling", ["none", "l2"])
def test_lengths_neither_overflow_nor_vanish(size, scaling):
    rows = (np.random.default_rng(0).normal(size=(9, 7)) * size).astype(np.float32)
    unit = UnitRows(rows, fit_scaler(scaling, rows)).read(slice(0, 9))
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(unit, exact / np.linalg.norm(exact, axis=1, keepdims=True), rtol=2e-6, atol=1e-7)


def test_selected_rows_are_numbered_among_themselves():
    rows = np.eye(7, dtype=np.float32)
    bank = UnitRows(rows, PLAIN, np.array([2, 4, 6]))
    numbers, similarities = find_neighbours(UnitRows(rows, PLAIN, np.array([4])), bank, 1)
    assert (numbers.tolist(), similarities.tolist()) == ([[1]], [[1.0]])


def test_a_row_of_zeros_is_similar_to_nothing():
    bank = UnitRows(np.eye(7, dtype=np.float32)[:3], PLAIN)
    _, similarities = find_neighbours(UnitRows(np.zeros((1, 7), np.float32), PLAIN), bank, 3)
    assert similarities.tolist() == [[0.0, 0.0, 0.0]]


def test_features_are_scaled_before_their_length_is_taken():
    # Less its mean (3, 3), the first row of the bank points where the query does, and the second the other way.
    scaler = fit_scaler("zscore", np.array([[4.0, 2.0], [2.0, 4.0]]))
    bank = np.array([[4.0, 2.0], [2.0, 4.0]], np.float32)
    query = np.array([[13.0, -7.0]], np.float32)
    numbers, similarities = find_neighbours(UnitRows(query, scaler), UnitRows(bank, scaler), 2)
    assert numbers.tolist() == [[0, 1]]
    assert np.allclose(similarities, [[1.0, -1.0]])


def test_votes_are_weighted_by_similarity_over_temperature():
    # Weights exp(0.14 / 0.07) : exp(0 / 0.07) = e² : 1; two votes' shares and one spread vote over three classes.
    labels, similarities = np.array([[2, 0]]), np.array([[0.14, 0.0]], np.float32)
    share = np.e**2 / (np.e**2 + 1)
    expected = (2 * np.array([1 - share, 0.0, share]) + 1 / 3) / 3
    assert np.allclose(vote(labels, similarities, 3, weights="softmax", temperature=0.07), expected[None])


def test_uniform_votes_are_counted():
    labels, similarities = np.array([[2, 0, 2, 2]]), np.array([[0.9, 0.8, 0.1, -0.5]], np.float32)
    expected = (np.array([1.0, 0.0, 3.0]) + 1 / 3) / 5
    assert np.allclose(vote(labels, similarities, 3, weights="uniform", temperature=0.07), expected[None])
