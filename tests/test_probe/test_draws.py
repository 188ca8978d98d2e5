import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.draws import draw_positions, draw_share, draw_shots, draw_two, draw_validation, units_of

few = st.sampled_from("abcdef")
rows = st.lists(st.tuples(few, st.sampled_from(["", "g", "h", "i"])), min_size=1, max_size=30)


@pytest.mark.heavy
@given(rows)
def test_equal_images_and_members_of_a_group_are_one_unit(drawn):
    contents, groups = zip(*drawn, strict=True)
    units, tokens = units_of(contents, groups)
    for i in range(len(drawn)):
        for j in range(i):
            if contents[i] == contents[j] or (groups[i] and groups[i] == groups[j]):
                assert units[i] == units[j]
    assert sorted(set(units.tolist())) == list(range(len(tokens)))


def test_a_chain_of_groups_and_equal_images_is_one_unit():
    # a-g, b-g by group; b-h by image; c-h by group. d stands alone.
    units, tokens = units_of(["a", "b", "b", "c", "d"], ["g", "g", "h", "h", ""])
    assert units.tolist() == [0, 0, 0, 0, 1]
    assert tokens == ["group:g", "picture:d"]


def test_rows_without_a_group_are_not_one_group():
    assert len(units_of(["a", "b"], ["", ""])[1]) == 2


def test_positions_are_uniform_and_differ_by_seed_and_purpose():
    tokens = [f"picture:{at}" for at in range(4000)]
    positions = draw_positions(tokens, "test", 0)
    assert positions.min() >= 0
    assert positions.max() < 1
    # The standard deviation of a share of 80% over 4,000 is 0.0063.
    assert abs((positions < 0.8).mean() - 0.8) < 0.025
    for other in (draw_positions(tokens, "test", 1), draw_positions(tokens, "validation", 0)):
        assert abs(np.corrcoef(positions, other)[0, 1]) < 0.06


def test_an_image_keeps_its_position_when_the_dataset_grows():
    assert draw_positions(["b"], "test", 0)[0] == draw_positions(["a", "b", "c"], "test", 0)[1]


def test_validation_leaves_every_class_a_training_row():
    labels = np.array([0] * 50 + [1])
    units, tokens = units_of([str(at) for at in range(51)], [""] * 51)
    for seed in range(40):
        is_drawn = draw_validation(labels, units, tokens, seed=seed)
        assert not is_drawn[50]
        assert is_drawn.any()


def test_validation_takes_units_whole():
    contents = [str(at // 3) for at in range(300)]
    units, tokens = units_of(contents, [""] * 300)
    is_drawn = draw_validation(np.arange(300) % 2, units, tokens, seed=0)
    assert 0 < is_drawn.sum() < 100
    assert np.array_equal(is_drawn.reshape(100, 3).all(axis=1), is_drawn.reshape(100, 3).any(axis=1))


@given(rows, st.integers(1, 4))
def test_shots_are_nested_and_every_class_gives_as_many_images_as_it_has(drawn, shots):
    contents = [content for content, _ in drawn]
    labels = np.array([ord(group or "f") % 3 for _, group in drawn])
    fewer, more = (set(draw_shots(labels, contents, count, seed=0).tolist()) for count in (shots, shots + 1))
    assert fewer <= more
    for label in set(labels.tolist()):
        of_class = {contents[row] for row in np.flatnonzero(labels == label)}
        taken = [contents[row] for row in fewer if labels[row] == label]
        assert len(taken) == len(set(taken)) == min(shots, len(of_class))


def test_shots_differ_by_seed_and_stay_when_the_dataset_grows():
    labels, contents = np.zeros(100, np.int64), [str(at) for at in range(100)]
    first, other = (draw_shots(labels, contents, 10, seed=seed).tolist() for seed in (0, 1))
    assert first != other
    grown = draw_shots(np.zeros(101, np.int64), [*contents, "new"], 10, seed=0).tolist()
    assert len(set(first) & set(grown)) >= 9


def test_shares_of_train_are_nested_and_take_units_whole():
    units, tokens = units_of([str(at // 2) for at in range(2000)], [""] * 2000)
    labels = np.arange(2000) % 2
    shares = (0.1, 0.3, 1.0)
    tenth, third, whole = (draw_share(labels, units, tokens=tokens, share=share, seed=0) for share in shares)
    assert set(tenth) < set(third) < set(whole)
    assert len(whole) == 2000
    # 1,000 units: the standard deviation of a share of 30% is 1.4%.
    assert abs(len(third) / 2000 - 0.3) < 0.06
    assert not set(units[third]) & set(units[np.setdiff1d(whole, third)])


def test_a_share_holds_every_class_however_small_it_is():
    labels = np.repeat(np.arange(50), 4)
    units, tokens = units_of([str(at) for at in range(200)], [""] * 200)
    least, more, most = (
        set(draw_share(labels, units, tokens=tokens, share=share, seed=3).tolist()) for share in (1e-9, 0.1, 0.5)
    )
    assert len(least) == 50
    assert least < more < most
    assert set(labels[sorted(least)].tolist()) == set(range(50))


def split_two(labels, units, tokens, *, seed=0, share=0.8):
    positions = draw_positions(tokens, "test", seed)
    return draw_two(np.asarray(labels), units, positions=positions, share=share), positions[units] < share


@given(rows, st.integers(0, 3), st.sampled_from([0.2, 0.5, 0.8]))
def test_two_parts_keep_every_class_that_can_be_kept_and_units_whole(drawn, seed, share):
    contents, groups = zip(*drawn, strict=True)
    labels = np.array([ord(content) % 3 if at % 4 else at % 2 for at, content in enumerate(contents)])
    units, tokens = units_of(contents, groups)
    is_first, by_hash = split_two(labels, units, tokens, seed=seed, share=share)
    assert all(len(set(is_first[units == unit].tolist())) == 1 for unit in range(len(tokens)))
    assert set(labels[is_first].tolist()) == set(labels.tolist())
    for label in set(labels.tolist()) - set(labels[~is_first].tolist()):
        # Each of its units is all that the first part has of some class.
        for unit in set(units[labels == label].tolist()):
            others = is_first & (units != unit)
            assert set(labels[others].tolist()) != set(labels.tolist())
    lacks = any(set(labels[part].tolist()) != set(labels.tolist()) for part in (by_hash, ~by_hash))
    assert lacks or np.array_equal(is_first, by_hash)


def test_what_a_class_lacks_is_the_unit_nearest_to_the_border_and_nothing_else_moves():
    # 0 has two images in the first part, 1 two in the second; 2 has one, in the second; 3 has both.
    labels = np.array([0, 0, 1, 1, 2, 3, 3])
    positions = np.array([0.1, 0.7, 0.95, 0.85, 0.9, 0.5, 0.99])
    is_first = draw_two(labels, np.arange(7), positions=positions, share=0.8)
    assert is_first.tolist() == [True, False, False, True, True, True, False]


def test_a_unit_that_would_empty_another_class_is_not_moved():
    # Nearest of class 1 in the first part is a group that holds all that the second part has of class 0.
    labels, units = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 2, 3, 4])
    positions = np.array([0.2, 0.3, 0.81, 0.95, 0.99])
    is_first = draw_two(labels, units, positions=positions, share=0.8)
    assert is_first.tolist() == [True, True, False, False, True, False]


def test_growth_moves_only_what_keeps_a_class_in_a_part():
    rng = np.random.default_rng(0)
    contents, labels = [str(at) for at in range(400)], rng.integers(0, 40, 400)
    units, tokens = units_of(contents, [""] * 400)
    before, by_hash = split_two(labels[:300], units[:300], tokens[: units[:300].max() + 1])
    after, _ = split_two(labels, units, tokens)
    moved = np.flatnonzero(before != after[:300])
    # Whatever moved was where no hash had put it, and is back.
    assert (after[moved] == by_hash[moved]).all()


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_two_images_of_a_class_are_one_in_each_part(classes):
    labels = np.arange(2 * classes) % classes
    units, tokens = units_of([str(at) for at in range(2 * classes)], [""] * (2 * classes))
    is_first, _ = split_two(labels, units, tokens)
    assert np.bincount(labels[is_first]).tolist() == [1] * classes
