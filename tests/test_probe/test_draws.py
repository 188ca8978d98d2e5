import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.draws import draw_positions, draw_share, draw_shots, draw_validation, units_of

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
    tenth, third, whole = (draw_share(units, tokens, share, seed=0) for share in (0.1, 0.3, 1.0))
    assert set(tenth) < set(third) < set(whole)
    assert len(whole) == 2000
    # 1,000 units: the standard deviation of a share of 30% is 1.4%.
    assert abs(len(third) / 2000 - 0.3) < 0.06
    assert not set(units[third]) & set(units[np.setdiff1d(whole, third)])
