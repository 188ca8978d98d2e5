import numpy as np
import pytest
from scipy.stats import binomtest, norm

from probe.paired_tests import design_effect, exact_mcnemar, flip_p_value, holm, minimum_detectable_difference


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 5), (0, 6), (30, 12), (1, 0)])
def test_mcnemar_is_a_binomial_test_of_the_discordant_images(only_first, only_second):
    total = only_first + only_second
    expected = binomtest(only_first, total).pvalue if total else 1.0
    assert exact_mcnemar(only_first, only_second) == pytest.approx(expected)


def test_flipping_single_images_is_mcnemar():
    differences = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 50)
    assert flip_p_value(differences) == pytest.approx(exact_mcnemar(9, 2))
    assert flip_p_value(differences / 61) == pytest.approx(exact_mcnemar(9, 2))
    assert flip_p_value(np.zeros(5)) == 1.0


def test_flipping_few_units_tries_every_way_by_hand():
    # Sums of ±3 ±2 ±1: 6 and -6 are as extreme as 3 + 2 + 1; of 8 ways, 2.
    assert flip_p_value(np.array([3.0, 2.0, 1.0])) == 0.25
    # Observed 3 + 2 - 1 = 4: sums of 6, 4, -4, -6.
    assert flip_p_value(np.array([3.0, 2.0, -1.0])) == 0.5


def test_flipping_many_units_agrees_with_the_normal_limit():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.1, 1.0, 400)
    z = differences.sum() / np.sqrt((differences**2).sum())
    assert flip_p_value(differences) == pytest.approx(2 * norm.sf(abs(z)), abs=0.02)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04 by 3, 2, 1: 0.03, 0.04, 0.04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_design_effect_of_groups_that_agree_is_their_size():
    differences = np.repeat(np.array([1.0, -1.0, 0.0, 1.0, -1.0, 0.0] * 50), 4)
    # 300 groups: 300 / 299 of 4.
    assert design_effect(differences, np.repeat(np.arange(300), 4)) == pytest.approx(4 * 300 / 299)
    assert design_effect(differences, np.arange(1200)) == pytest.approx(1200 / 1199)


def test_the_detectable_difference_solves_connors_formula():
    rows, discordant = 1000, 0.1
    delta = minimum_detectable_difference(rows, discordant)
    # (1.95996 sqrt(0.1) + 0.84162 sqrt(0.1 - δ²))² / δ² = 1000.
    assert (1.959964 * np.sqrt(0.1) + 0.841621 * np.sqrt(0.1 - delta**2)) ** 2 / delta**2 == pytest.approx(1000)
    assert 0.027 < delta < 0.029


def test_without_a_discordant_image_some_difference_could_still_be_found():
    assert 7 < 1000 * minimum_detectable_difference(1000, 0.0) < 8.5
    assert minimum_detectable_difference(3, 0.0) is None


@pytest.mark.heavy
def test_the_test_finds_the_detectable_difference_with_80_percent_power():
    rng = np.random.default_rng(0)
    rows, discordant = 1000, 0.1
    delta = minimum_detectable_difference(rows, discordant)
    shares = [(discordant + delta) / 2, (discordant - delta) / 2, 1 - discordant]
    only_first, only_second, _ = rng.multinomial(rows, shares, size=2000).T
    found = [binomtest(a, a + b).pvalue < 0.05 for a, b in zip(only_first.tolist(), only_second.tolist(), strict=True)]
    # The exact test is a little conservative.
    assert 0.74 < np.mean(found) < 0.83


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("group_size", "studies"),
    [(1, 1000), (5, 200), pytest.param(5, 4000, marks=pytest.mark.campaign)],
)
def test_paired_tests_keep_their_level(group_size, studies):
    """Two equally good heads: p < 0.05 in at most 5 of 100 studies, also where members of a group go together."""
    rng = np.random.default_rng(1)
    groups, rejected = 60, 0
    for _ in range(studies):
        # What a group has in common decides for its members which head they suit.
        lean = np.repeat(rng.normal(size=groups), group_size) if group_size > 1 else 0.0
        first, second = (rng.normal(size=groups * group_size) < 0.5 + sign * lean for sign in (1, -1))
        differences = np.bincount(np.repeat(np.arange(groups), group_size), first.astype(float) - second)
        rejected += flip_p_value(differences) < 0.05
    deviation = np.sqrt(0.05 * 0.95 / studies)
    print(f"rejected {rejected} of {studies} at the level of 0.05")
    # The exact test of single images is conservative; that of groups is not.
    assert 0.015 < rejected / studies < 0.05 + 3 * deviation
