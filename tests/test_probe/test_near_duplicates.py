"""Near duplicates: every pair within the distance is found, and no other; what a test is without them."""

from dataclasses import replace

import numpy as np
import pytest

from probe.near_duplicates import MOST_BITS, all_known, near_pairs, stand_near, stand_near_others
from probe.parts import Part


@pytest.fixture
def make_part():
    def make(contents):
        blank = ("",) * len(contents)
        return Part("part", (), np.zeros(len(contents), int), blank, tuple(contents), blank, 0)

    return make


def hashes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def changed(hashed, bits, seed):
    """The hash with so many bits turned."""
    found = np.unpackbits(hashed)
    found[np.random.default_rng(seed).choice(256, bits, replace=False)] ^= 1
    return np.packbits(found)


def by_comparing_all(some, others):
    bits = np.bitwise_count(some[:, None] ^ others[None]).sum(axis=2, dtype=int)
    return set(zip(*(found.tolist() for found in np.nonzero(bits <= MOST_BITS)), strict=True))


def test_every_pair_within_the_distance_is_found_and_no_other():
    some = hashes(200)
    near = [changed(some[at], at % (2 * MOST_BITS), seed=at) for at in range(100)]
    others = np.concatenate([np.stack(near), hashes(300, seed=1), some[100:110], some[100:110]])
    first, second = near_pairs(some, others)
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    assert found == by_comparing_all(some, others)
    assert len(found) > 60


def test_bits_that_differ_in_every_band_but_one_are_found():
    # The pigeonhole's worst case: one bit of each of 16 bands.
    one = np.zeros((1, 32), np.uint8)
    bits = np.zeros(256, np.uint8)
    bits[np.arange(MOST_BITS) * 16 + 3] = 1
    first, second = near_pairs(one, np.packbits(bits)[None])
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == {(0, 0)}


def test_many_images_that_share_a_band_cost_no_more_memory_than_few():
    # All have the same first half, so that half of the bands tell nothing.
    some = hashes(3000)
    some[:, :16] = 7
    assert {first for first, second in zip(*map(np.ndarray.tolist, near_pairs(some, some)), strict=True)} == set(
        range(3000)
    )


def test_none_are_found_among_none():
    assert [len(found) for found in near_pairs(hashes(0), hashes(3))] == [0, 0]
    assert [len(found) for found in near_pairs(hashes(3), hashes(0))] == [0, 0]


@pytest.fixture
def part(make_part):
    return make_part


def test_a_test_image_near_one_that_was_trained_on_is_told(make_part):
    train, test = make_part(["a", "b", "c"]), make_part(["x", "y", "b", "z"])
    some = hashes(4)
    known = {
        "a": some[0].tobytes(), "b": some[1].tobytes(), "c": None,
        "x": changed(some[0], MOST_BITS, seed=3).tobytes(),
        "y": changed(some[0], MOST_BITS + 1, seed=4).tobytes(),
        "z": None,
    }  # fmt: skip
    assert stand_near([train, test], known).tolist() == [True, False, True, False]
    # Nobody has looked at any.
    assert stand_near([train, test], {}).tolist() == [False, False, True, False]


def test_a_count_needs_every_image_looked_at(make_part):
    parts = [make_part(["a", "b"]), make_part(["c"])]
    known = {"a": None, "b": hashes(1)[0].tobytes(), "c": None}
    assert all_known(parts, known) is known
    assert all_known(parts, {name: known[name] for name in "ab"}) is None
    assert all_known(parts, None) is None


def test_in_folds_a_near_duplicate_counts_where_folds_may_part_them(make_part):
    some = hashes(3)
    known = {"a": some[0].tobytes(), "b": changed(some[0], 4, seed=1).tobytes(), "c": some[1].tobytes()}
    part = make_part(["a", "b", "c", "a"])
    assert stand_near_others(part, known, np.array([0, 1, 2, 0])).tolist() == [True, True, False, True]
    together = replace(part, groups=("g", "g", "", "g"))
    assert stand_near_others(together, known, np.array([0, 0, 1, 0])).tolist() == [False] * 4
