import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import DamagedStore
from store.features import Features, Segment, segments_of

DIM = 4


class ArrayRows:
    """The rows of a shard that is an array."""

    def __init__(self, features):
        self.features = features
        self.reads = []

    def read(self, first, out):
        self.reads.append((first, out.shape))
        out[:] = self.features[first : first + len(out)]


def build(segments):
    """Returns features over shards of 8 rows, and the plain array that they must equal."""
    shards = {name: np.arange(8 * DIM, dtype=np.float32).reshape(8, DIM) + 100 * n for n, name in enumerate("pqr")}
    opened = []

    def open_rows(name):
        opened.append(name)
        return ArrayRows(shards[name])

    plain = np.concatenate([shards[s.shard][s.first : s.first + s.rows] for s in segments])
    return Features(segments, DIM, np.dtype(np.float32), open_rows=open_rows), plain, opened


@pytest.fixture
def joined():
    return build([Segment("p", 2, 3), Segment("q", 0, 1), Segment("p", 0, 2), Segment("r", 4, 4)])


def test_addresses_are_joined_to_the_fewest_segments():
    addresses = [("p", 2), ("p", 3), ("q", 4), ("q", 4), ("q", 5), ("p", 6), ("p", 5)]
    expected = [("p", 2, 2), ("q", 4, 1), ("q", 4, 2), ("p", 6, 1), ("p", 5, 1)]
    assert segments_of(addresses) == [Segment(*segment) for segment in expected]
    assert segments_of([]) == []


def segments():
    one = st.tuples(st.sampled_from("pqr"), st.integers(0, 7)).flatmap(
        lambda at: st.builds(Segment, st.just(at[0]), st.just(at[1]), st.integers(1, 8 - at[1]))
    )
    return st.lists(one, min_size=1, max_size=12)


def indices(length):
    number = st.integers(-length - 1, length)
    bound = st.none() | st.integers(-length - 3, length + 3)
    slices = st.builds(slice, bound, bound, st.none() | st.sampled_from([-7, -2, -1, 1, 2, 5]))
    lists = st.lists(number, max_size=6)
    return st.one_of(
        number,
        number.map(np.int32),
        number.map(np.array),
        slices,
        lists,
        lists.map(lambda numbers: np.array(numbers, np.int16)),
        st.lists(st.integers(0, length - 1), min_size=4, max_size=4).map(lambda n: np.array(n, np.uint8).reshape(2, 2)),
        st.lists(st.booleans(), min_size=length, max_size=length),
        st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
    )


def test_many_rows_are_read_from_the_file_and_few_are_copied_from_the_mapping(monkeypatch):
    monkeypatch.setattr("store.features._READ_BYTES", 5 * DIM * 4)
    shards = {name: np.arange(80 * DIM, dtype=np.float32).reshape(80, DIM) + at for at, name in enumerate("pq")}
    rows = {name: ArrayRows(array) for name, array in shards.items()}
    segments = [Segment("p", 3, 40), Segment("q", 0, 4), Segment("q", 20, 36)]
    features = Features(segments, DIM, np.dtype(np.float32), open_rows=rows.__getitem__)
    expected = np.concatenate([shards[s.shard][s.first : s.first + s.rows] for s in segments])
    np.testing.assert_array_equal(np.array(features), expected)
    np.testing.assert_array_equal(features[10:70], expected[10:70])
    assert rows["p"].reads == [(3, (40, DIM)), (13, (30, DIM))]
    assert rows["q"].reads == [(20, (36, DIM)), (20, (26, DIM))]


def test_shards_of_one_read_are_opened_side_by_side_and_each_once():
    both = threading.Barrier(2, timeout=30)
    shards = {name: ArrayRows(np.full((20, DIM), at, np.float32)) for at, name in enumerate("pqr")}
    opened = []

    def open_rows(name):
        opened.append(name)
        if name == "p":
            time.sleep(0.01)  # as long as it takes to verify one
        else:
            both.wait()  # one that waits for the other never comes alone
        return shards[name]

    segments = [Segment(name, 0, 20) for name in "pqr"]
    features = Features(segments, DIM, np.dtype(np.float32), open_rows=open_rows)
    assert np.array(features)[:, 0].tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert features[[0, 59]][:, 0].tolist() == [0, 2]
    assert sorted(opened) == ["p", "q", "r"]


def test_shards_that_open_at_once_need_no_threads(monkeypatch):
    monkeypatch.setattr("store.features.ThreadPoolExecutor", None)
    monkeypatch.setattr("store.features._QUICK_SECONDS", 60)
    features, plain, _ = build([Segment(name, 0, 8) for name in "pqr"])
    np.testing.assert_array_equal(np.array(features), plain)


def test_damage_in_one_of_several_shards_is_raised():
    def open_rows(name):
        if name == "q":
            raise DamagedStore("q is torn")
        return ArrayRows(np.zeros((20, DIM), np.float32))

    segments = [Segment(name, 0, 20) for name in "pqr"]
    with pytest.raises(DamagedStore, match="q is torn"):
        np.array(Features(segments, DIM, np.dtype(np.float32), open_rows=open_rows))


@pytest.mark.heavy
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_indexing_means_what_it_means_to_numpy(data):
    features, plain, _ = build(data.draw(segments()))
    rows, columns = data.draw(indices(len(plain))), data.draw(indices(DIM))
    index = data.draw(
        st.sampled_from(
            [
                rows, (rows,), (rows, columns), (rows, ...), (..., columns),
                (rows, ..., columns), (..., rows, columns), ..., (),
            ]
        )
    )  # fmt: skip
    try:
        expected = plain[index]
    except IndexError:
        with pytest.raises(IndexError, match=r"expected|broadcast|shape mismatch"):
            features[index]
        return
    found = features[index]
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


# What stands at the bounds, or selects nothing: every pair of these, for NumPy has a rule of its own for each.
AT_THE_BOUNDS = [
    0, 4, 9, -5, np.int64(9), np.array(9), np.array(1), [], [4], [9], [0, 9], np.array([], np.int64), np.array([9]),
    np.zeros((0, 1), np.int64), np.zeros((2, 0), np.int64), np.array([[9]]), np.array([[0], [1]]),
    [False] * 4, np.array([False] * 4), [True, False, False, True], slice(0, 0), slice(None), slice(None, None, -1),
]  # fmt: skip


@pytest.mark.parametrize("rows", AT_THE_BOUNDS, ids=repr)
def test_pairs_at_the_bounds_mean_what_they_mean_to_numpy(rows):
    features, plain, _ = build([Segment("p", 2, 3), Segment("q", 0, 1)])
    assert plain.shape == (4, DIM)
    for columns in AT_THE_BOUNDS:
        try:
            expected = plain[rows, columns]
        except IndexError:
            with pytest.raises(IndexError, match=r"expected|broadcast|shape mismatch"):
                features[rows, columns]
            continue
        found = features[rows, columns]
        assert found.shape == expected.shape, columns
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "np.newaxis is not taken"),
        ((0, None), "np.newaxis is not taken"),
        ((..., None), "np.newaxis is not taken"),
        ((0, 0, 0), "at most one index per dimension"),
        ((..., ...), "at most one index per dimension"),
        (10, "an index from -10 to 9 expected, 10 found"),
        (-11, "an index from -10 to 9 expected, -11 found"),
        ([0, 12], "an index from -10 to 9 expected, 12 found"),
        ((0, 4), "an index from -4 to 3 expected, 4 found"),
        ((slice(None), [0, -5]), "an index from -4 to 3 expected, -5 found"),
        (1.0, "integers, slices or booleans expected as index, float64 found"),
        ("labels", "integers, slices or booleans expected as index, <U6 found"),
        (np.array([]), "float64 found"),
        (True, r"a boolean selection of shape \(10,\) expected, \(\) found"),
        ([True] * 9, r"a boolean selection of shape \(10,\) expected, \(9,\) found"),
        (np.ones((10, 4), bool), r"a boolean selection of shape \(10,\) expected, \(10, 4\) found"),
        ((0, True), r"a boolean selection of shape \(4,\) expected, \(\) found"),
    ],
)
def test_index_that_is_not_taken_says_what_is(joined, index, message):
    with pytest.raises(IndexError, match=message):
        joined[0][index]


def test_two_selections_are_paired_not_crossed(joined):
    features, plain, _ = joined
    assert features[[0, 1], [2, 3]].tolist() == [plain[0, 2], plain[1, 3]]


def test_only_the_shards_that_are_asked_for_are_opened_and_each_once(joined):
    features, plain, opened = joined
    assert features.shape == (10, 4)
    assert len(features) == 10
    assert features.nbytes == 160
    assert opened == []
    features[:3]
    features[4:6]
    assert opened == ["p"]
    features[::-1]
    features[:]
    assert sorted(opened) == ["p", "q", "r"]
    np.testing.assert_array_equal(features[:], plain)


def test_slice_of_one_piece_is_no_copy():
    features, _, _ = build([Segment("p", 2, 3), Segment("q", 0, 1)])
    shard = features._shard("p").features
    assert np.shares_memory(features[0:3], shard)
    assert np.shares_memory(features[1], shard)
    assert not np.shares_memory(features[0:4], shard)


@pytest.mark.parametrize("index", [slice(0, 2), slice(None), slice(None, None, -1), 3, (slice(0, 9), slice(1, 2)), ...])
def test_slices_and_rows_are_read_only_however_the_rows_lie(joined, index):
    with pytest.raises(ValueError, match="read-only"):
        joined[0][index][...] = 0


@pytest.mark.parametrize("index", [[0, 1], [True, *[False] * 9], ([0, 1], slice(None)), (0, [1, 2])])
def test_selections_are_the_callers_own(joined, index):
    features, plain, _ = joined
    expected = plain[index].copy()
    features[index][...] = -1
    np.testing.assert_array_equal(features[index], expected)


def test_array_protocol_copies_only_where_it_must(joined):
    several, plain, _ = joined
    one, _, _ = build([Segment("p", 2, 3)])
    np.testing.assert_array_equal(np.asarray(several), plain)
    assert np.shares_memory(np.asarray(one), one._shard("p").features)
    assert np.shares_memory(np.array(one, copy=False), one._shard("p").features)
    assert not np.shares_memory(np.array(one), one._shard("p").features)
    assert np.asarray(one, dtype=np.float64).dtype == np.float64
    own = np.array(several)
    own[:] = 0
    np.testing.assert_array_equal(several[:], plain)
    with pytest.raises(ValueError, match="cannot be one float32 array without a copy"):
        np.array(several, copy=False)
    with pytest.raises(ValueError, match="cannot be one float64 array without a copy"):
        np.array(one, dtype=np.float64, copy=False)


def test_iteration_yields_the_rows(joined):
    features, plain, _ = joined
    np.testing.assert_array_equal(np.stack(list(features)), plain)


def test_reading_many_scattered_rows_opens_each_shard_once():
    rng = np.random.default_rng(0)
    addresses = [("pqr"[shard], int(row)) for shard, row in rng.integers(0, (3, 8), (500, 2))]
    features, plain, opened = build(segments_of(addresses))
    np.testing.assert_array_equal(features[:], plain)
    np.testing.assert_array_equal(features[rng.permutation(500)[:50]].shape, (50, DIM))
    assert sorted(opened) == ["p", "q", "r"]
