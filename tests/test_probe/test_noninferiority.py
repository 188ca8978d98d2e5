import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from probe.noninferiority import (
    PairedCounts,
    drop_bounds,
    images_needed,
    least_visible_drop,
    p_of_larger_drop,
    p_of_smaller_drop,
)
from probe.paired_tests import exact_mcnemar, holm


@pytest.mark.parametrize(("before", "now"), [(0, 0), (3, 1), (9, 1), (20, 7), (5, 30)])
def test_against_no_drop_it_is_mcnemars_test_of_one_side(before, now):
    counts = PairedCounts(200, before, now)
    larger, smaller = (p(counts, 0.0, 0.05) for p in (p_of_larger_drop, p_of_smaller_drop))
    if before + now:
        assert larger == pytest.approx(binomtest(before, before + now, alternative="greater").pvalue)
        assert smaller == pytest.approx(binomtest(before, before + now, alternative="less").pvalue)
    assert min(1.0, 2 * min(larger, smaller)) == pytest.approx(exact_mcnemar(before, now))


def false_alarms(images, share, drop, *, allowed, level, p_value):
    """Return the chance of a p-value within the level, by the exact distribution of what differs."""
    rate = 0.5 * (1 + drop / share)
    found = 0.0
    for differing in range(images + 1):
        weight = binom.pmf(differing, images, share)
        if weight < 1e-12:
            continue
        before = np.arange(differing + 1)
        p = np.array([p_value(PairedCounts(images, b, differing - b), allowed, level) for b in before.tolist()])
        found += weight * binom.pmf(before, differing, rate)[p <= level].sum()
    return found


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("allowed", [0.0, 0.02])
@pytest.mark.parametrize("level", [0.05, 0.01, 0.01 / 80])
def test_both_tests_keep_their_level_at_the_border_exactly(share, allowed, level):
    for p_value in (p_of_larger_drop, p_of_smaller_drop):
        assert false_alarms(60, share, allowed, allowed=allowed, level=level, p_value=p_value) <= level


@pytest.mark.parametrize("counts", [PairedCounts(360, 12, 2), PairedCounts(5000, 90, 140), PairedCounts(100, 0, 0)])
def test_bounds_are_where_the_tests_turn_and_hold_what_was_seen(counts):
    low, high = drop_bounds(counts, lower_level=0.01, upper_level=0.05)
    assert low < counts.drop < high
    assert p_of_larger_drop(counts, low - 1e-6, 0.01) <= 0.01 < p_of_larger_drop(counts, low + 1e-6, 0.01)
    assert p_of_smaller_drop(counts, high + 1e-6, 0.05) <= 0.05 < p_of_smaller_drop(counts, high - 1e-6, 0.05)


def test_bounds_are_near_those_of_the_normal_approximation_where_that_holds():
    counts = PairedCounts(20_000, 900, 700)
    error = math.sqrt(1600 / 20_000 - counts.drop**2) / math.sqrt(20_000)
    low, high = drop_bounds(counts, lower_level=0.025, upper_level=0.025)
    # What the interval of the share takes makes it a little wider.
    assert low == pytest.approx(counts.drop - 1.96 * error, abs=0.35 * error)
    assert high == pytest.approx(counts.drop + 1.96 * error, abs=0.8 * error)
    assert low <= counts.drop - 1.9 * error
    assert high >= counts.drop + 1.9 * error


@pytest.mark.parametrize(("allowed", "level"), [(0.01, 0.01), (0.05, 0.01), (0.001, 0.05)])
def test_so_many_images_are_needed_to_pass_and_one_fewer_are_too_few(allowed, level):
    needed = images_needed(allowed, level)
    assert p_of_smaller_drop(PairedCounts(needed, 0, 0), allowed, level) <= level
    assert p_of_smaller_drop(PairedCounts(needed - 1, 0, 0), allowed, level) > level


@pytest.mark.parametrize(("images", "share", "allowed"), [(360, 0.05, 0.0), (1000, 0.1, 0.01), (10_000, 0.04, 0.01)])
def test_a_drop_of_the_printed_size_is_found_four_times_in_five(images, share, allowed):
    level = 0.01 / 10
    half = round(images * share / 2)
    drop = least_visible_drop(PairedCounts(images, half, half), allowed, level)
    share = max(2 * half / images, drop)
    rng = np.random.default_rng(0)
    differing = rng.binomial(images, share, 2000)
    before = rng.binomial(differing, 0.5 * (1 + drop / share))
    found = [
        p_of_larger_drop(PairedCounts(images, b, m - b), allowed, level) <= level
        for b, m in zip(before.tolist(), differing.tolist(), strict=True)
    ]
    # The standard deviation of a share of 0.8 of 2,000 is 0.009.
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_of_too_few_images_no_drop_can_be_seen():
    assert least_visible_drop(PairedCounts(3, 0, 0), 0.01, 0.01 / 80) is None


def nights(count, comparisons, *, drops, images, share, allowed, level):
    """Return for simulated nights which comparisons alarm, (count, comparisons) bool."""
    rng = np.random.default_rng(0)
    rates = 0.5 * (1 + np.asarray(drops) / np.maximum(share, drops))
    differing = rng.binomial(images, np.maximum(share, drops), (count, comparisons))
    before = rng.binomial(differing, rates)
    alarms = []
    for of_night, m in zip(before.tolist(), differing.tolist(), strict=True):
        p_values = [
            p_of_larger_drop(PairedCounts(n, b, d - b), allowed, level / comparisons)
            for n, b, d in zip(images.tolist(), of_night, m, strict=True)
        ]
        alarms.append(np.array(holm(p_values)) <= level)
    return np.array(alarms)


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [0.0, 0.01])
def test_a_thousand_nights_of_eighty_comparisons_alarm_rarely_and_find_what_is_real(allowed):
    rng = np.random.default_rng(1)
    images = rng.choice([360, 1000, 2000, 10_000], 80)
    share = rng.uniform(0.02, 0.15, 80)
    # Nothing is worse than is allowed, and half of it just so.
    drops = np.where(np.arange(80) % 2, 0.0, np.minimum(allowed, share))
    alarms = nights(1000, 80, drops=drops, images=images, share=share, allowed=allowed, level=0.01)
    assert alarms.any(axis=1).mean() <= 0.01
    # The first eight are worse by what would be found in four of five cases.
    for at in range(8):
        half = round(images[at] * share[at] / 2)
        drops[at] = least_visible_drop(PairedCounts(int(images[at]), half, half), allowed, 0.01 / 80)
    found = nights(200, 80, drops=drops, images=images, share=share, allowed=allowed, level=0.01)
    assert found[:, :8].mean() == pytest.approx(0.8, abs=0.05)
    assert found[:, 8:].any(axis=1).mean() <= 0.02
