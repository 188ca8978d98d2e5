import numpy as np
import pytest

from store import Pool, verify_store
from store.writer_drift import compare_writers, relative_differences

ROW = np.array([[3, 4, 0]], np.float32)  # of norm 5


def off_by(share):
    """The row, moved by a share of its norm."""
    return (ROW + np.array([[0, 0, 5 * share]], np.float32)).astype(np.float32)


@pytest.fixture
def writers(corpus):
    """Two writers that each add a row for image `a`; gives the names of the two shards."""

    def write(one, other):
        content = corpus.content("a")
        return [Pool(corpus.pool.folder, corpus.pool_key).add(row, [content]) for row in (one, other)]

    return write


def test_difference_is_a_share_of_the_stored_rows_norm():
    found = relative_differences(np.array([[3, 4], [0, 0]], np.float32), np.array([[3, 9], [0, 1e-6]], np.float32))
    assert found.tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(("share", "is_drift"), [(0.0, False), (0.9e-5, False), (1.1e-5, True), (0.5, True)])
def test_drift_between_writers_begins_at_the_stated_tolerance(corpus, writers, caplog, share, is_drift):
    first = min(writers(ROW, off_by(share)))
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    pool.index()
    assert [drift.first for drift in pool.drifts] == ([first] if is_drift else [])
    assert ("a relative L2 difference of at most 1e-05 expected" in caplog.text) == is_drift


def test_drift_names_both_shards_the_image_and_the_magnitude(corpus, writers, caplog):
    first, second = sorted(writers(ROW, off_by(0.25)))
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    pool.index()
    (drift,) = pool.drifts
    assert (drift.first, drift.second) == (first, second)
    assert drift.difference == pytest.approx(0.25, rel=0.05)
    assert (drift.images, drift.common, drift.content) == (1, 1, corpus.content("a").hex())
    for word in (first, second, corpus.content("a").hex(), "found for image"):
        assert word in caplog.text


def test_writer_that_meets_the_rows_of_another_is_told_at_once(corpus):
    corpus.pool.add(ROW, [corpus.content("a")])
    corpus.pool.add(off_by(0.5), [corpus.content("a")])
    assert len(corpus.pool.drifts) == 1


def test_drift_is_told_again_when_no_shard_is_read(corpus, writers, caplog):
    writers(ROW, off_by(0.25))
    Pool(corpus.pool.folder, corpus.pool_key).index()
    caplog.clear()
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    pool.index()
    assert len(pool.drifts) == 1
    assert caplog.text.count("drift: shards") == 1


def test_of_many_common_pictures_the_worst_is_named_and_those_beyond_are_counted():
    ours = np.ones((6, 4), np.float32)
    theirs = ours * np.array([1, 1.5, 1, 3, 1 + 1e-6, 1], np.float32)[::-1, None]
    rows = [(bytes([at]) * 32, at, 5 - at) for at in range(6)]
    # The other shard's rows stand in the other order: image 3 has three times ours, image 1 one and a half.
    drift = compare_writers(("p", "q"), rows, {"p": ours, "q": theirs}.__getitem__)
    assert (drift.images, drift.common, drift.content, drift.difference) == (2, 6, "03" * 32, pytest.approx(2.0))


@pytest.mark.parametrize("other", [np.array([[np.nan, 1]], np.float32), np.ones((1, 3), np.float32)])
def test_what_cannot_be_equal_has_drifted(other):
    features = {"p": np.ones((1, 2), np.float32), "q": other}
    for names, rows in ((("p", "q"), [(b"x" * 32, 0, 0)]), (("q", "p"), [(b"x" * 32, 0, 0)])):
        assert compare_writers(names, rows, features.__getitem__).images == 1


def test_half_precision_has_a_tolerance_of_its_own():
    features = {"p": np.ones((1, 2), np.float16), "q": np.full((1, 2), 1 + 1 / 1024, np.float16)}
    assert compare_writers(("p", "q"), [(b"x" * 32, 0, 0)], features.__getitem__) is None
    features["q"] = np.full((1, 2), 1 + 2 / 1024, np.float16)
    assert compare_writers(("p", "q"), [(b"x" * 32, 0, 0)], features.__getitem__).tolerance == 1e-3


def test_verify_finds_drift_between_writers_at_depth(corpus, writers):
    first, second = sorted(writers(ROW, off_by(0.25)))
    corpus.pool.index()
    assert verify_store(corpus.store.path).is_sound
    (problem,) = verify_store(corpus.store.path, is_deep=True).problems
    assert (problem.kind, problem.path) == ("drift", f"pools/{corpus.pool_key.digest}/shards/{second}.h5")
    assert first in problem.message
    assert "0.2" in problem.message


def test_equal_rows_of_two_writers_are_no_problem_at_depth(corpus):
    corpus.add("ab")
    corpus.add("bc")
    assert verify_store(corpus.store.path, is_deep=True).is_sound
