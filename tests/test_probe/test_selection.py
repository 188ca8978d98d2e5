import dataclasses
import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from probe.draws import units_of
from probe.heads.registry import find_head, resolve_options
from probe.selection import (
    RULES,
    Criterion,
    Score,
    choose,
    extend_grid,
    make_folds,
    score_fold,
    stratified_folds,
    tabulate,
    why_unselected,
)
from probe.training import TrainingData


def training_data(labels, contents=None, groups=None, official=0) -> TrainingData:
    count = len(labels)
    contents = contents or [str(at) for at in range(count)]
    units, tokens = units_of(contents, groups or [""] * count)
    labels = np.asarray(labels)
    return TrainingData(np.zeros((count, 1), np.float32), labels, units, tokens, official, int(labels.max()) + 1, 0)


def rows(*accuracies, errors=0.0):
    return [{"C": 10.0**at, "accuracy": a, "standard_error": errors, "nll": -at} for at, a in enumerate(accuracies)]


def test_the_strongest_penalty_within_one_standard_error_is_selected():
    choice = choose(rows(0.5, 0.89, 0.90, 0.92, 0.91, errors=0.03), Criterion(rule="one_se"))
    assert (choice.best, choice.selected, choice.by_nll) == (3, 1, 4)


def test_of_equal_candidates_the_strongest_penalty_is_best():
    assert choose(rows(0.5, 0.9, 0.9)).best == 1


def test_standard_error_is_that_of_the_mean_over_folds():
    table = tabulate([{"C": 1.0}], [[Score(0.8, 1.0, 10), Score(0.9, 2.0, 10), Score(1.0, 3.0, 10)]])
    # Deviation (ddof 1) of 0.8, 0.9, 1.0 is 0.1.
    assert table == [
        {
            "C": 1.0,
            "accuracy": pytest.approx(0.9),
            "standard_error": pytest.approx(0.1 / 3**0.5),
            "nll": 2.0,
            "paired_error": 0.0,
        }
    ]


def test_standard_error_of_one_holdout_is_binomial():
    table = tabulate([{"C": 1.0}], [[Score(0.8, 1.0, 100)]])
    assert table[0]["standard_error"] == pytest.approx(0.04)


def test_repeating_does_not_shrink_the_standard_error():
    once = [Score(accuracy, 1.0, 10) for accuracy in (0.8, 0.9, 1.0)]
    criterion = Criterion(repeat_of=(0,) * 3 + (1,) * 3 + (2,) * 3)
    (single,), (repeated,) = tabulate([{"C": 1.0}], [once]), tabulate([{"C": 1.0}], [once * 3], criterion)
    assert repeated == pytest.approx(single)


def test_scores_of_a_fold_by_hand():
    # Class 0: 3 of 4 right; class 1: 1 of 1; class 2 does not occur.
    probabilities = np.eye(3)[[0, 0, 0, 1, 1]]
    score = score_fold(np.array([0, 0, 0, 0, 1]), probabilities)
    assert (score.accuracy, score.balanced_accuracy, score.rows) == (0.8, 0.875, 5)
    assert score.of("balanced_accuracy") == 0.875
    # sqrt(0.75 * 0.25 / 4 + 0) / 2.
    assert score.error_of("balanced_accuracy") == pytest.approx(np.sqrt(0.1875 / 4) / 2)
    assert score.error_of("accuracy") == pytest.approx(np.sqrt(0.8 * 0.2 / 5))


def test_selection_goes_by_the_metric_that_is_asked():
    scores = [[Score(0.9, 1.0, 10**9, 0.5, 0.0)], [Score(0.8, 1.0, 10**9, 0.7, 0.0)]]
    for metric, best in (("accuracy", 0), ("balanced_accuracy", 1)):
        criterion = Criterion(metric)
        table = tabulate([{"C": 1.0}, {"C": 2.0}], scores, criterion)
        assert metric in table[0]
        assert choose(table, criterion).selected == best


def peak_at(best: int):
    """Scores that peak at C = 10**best, without a plateau."""
    return lambda C: [Score(1 - 0.05 * abs(np.log10(C) - best), 1.0, 10**9)]


@pytest.mark.parametrize(("best", "end"), [(1, 2.0), (-4, -5.0)])
def test_the_grid_grows_until_the_best_lies_inside(best, end):
    grid, scores, notes, unresolved = extend_grid([0.01, 0.1, 1.0], peak_at(best))
    assert len(grid) == len(scores)
    assert grid == sorted(grid)
    assert (np.log10(grid[-1]) if best > 0 else np.log10(grid[0])) == pytest.approx(end)
    assert len(notes) == 1
    assert unresolved == []


def test_a_grid_of_penalties_runs_downwards_and_grows_alike():
    grid, _, notes, _ = extend_grid([1.0, 0.1, 0.01], peak_at(-4), "alpha")
    assert grid == [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5]
    assert notes == ["the choice lay on the weak edge: 3 decades added, to alpha = 1e-05"]
    assert extend_grid([1.0, 0.1, 0.01], peak_at(1), "alpha")[0] == [100.0, 10.0, 1.0, 0.1, 0.01]


def test_the_grid_stops_growing_and_says_so():
    grid, _, notes, unresolved = extend_grid([0.01, 0.1, 1.0], peak_at(9))
    assert grid[-1] == 1000.0
    assert "3 decades added" in notes[0]
    assert unresolved == ["the choice still lies on the weak edge of the grid, C = 1000"]


def test_a_plateau_at_the_weak_end_is_no_edge():
    grid, _, notes, _ = extend_grid([0.01, 0.1, 1.0], lambda C: [Score(0.9 if C > 0.05 else 0.1, 1.0, 10**9)])
    assert grid == [0.01, 0.1, 1.0]
    assert notes == []


@pytest.mark.parametrize(("rows_of_a_class", "repeats"), [(20, 5), (200, 4), (800, 2)])
def test_small_data_is_cross_validated_and_every_repeat_holds_out_each_row_once(rows_of_a_class, repeats):
    folds = make_folds(training_data([0, 1, 2] * rows_of_a_class))
    assert folds is not None
    assert len(folds.pairs) == 5 * repeats
    assert f"{repeats} times" in folds.method
    for repeat in range(repeats):
        held_out = np.concatenate([held for _, held in folds.pairs[5 * repeat : 5 * repeat + 5]])
        assert sorted(held_out.tolist()) == list(range(3 * rows_of_a_class))
    assert sorted(folds.held_out_rows().tolist()) == list(range(3 * rows_of_a_class))
    assert folds.pairs[0][1].tolist() != folds.pairs[5][1].tolist()


def test_folds_are_stratified():
    folds = make_folds(training_data([0, 1, 2] * 20))
    assert folds is not None
    for train, held in folds.pairs:
        assert not set(train) & set(held)
        assert np.bincount(np.array([0, 1, 2] * 20)[held]).tolist() == [4, 4, 4]
    assert folds.training_rows == 48.0
    assert folds.n_validation == 0


@pytest.mark.parametrize("seed", range(20))
def test_folds_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    # Few rows of many classes, in any order, some labels without a row.
    labels = 2 * rng.integers(0, rng.integers(2, 12), rng.integers(12, 90))
    folds = min(5, int(np.bincount(labels).max()))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [held_out.tolist() for _, held_out in splitter.split(labels, labels)]
    fold_of = stratified_folds(labels, folds, seed)
    assert [np.flatnonzero(fold_of == fold).tolist() for fold in range(folds)] == wanted


def test_folds_never_part_groups_or_equal_images():
    groups = [f"g{at // 4}" if at < 60 else "" for at in range(120)]
    contents = [str(at // 2) for at in range(120)]
    data = training_data([at % 2 for at in range(120)], contents, groups)
    folds = make_folds(data)
    assert folds is not None
    assert "kept together" in folds.method
    for train, held in folds.pairs:
        assert not set(data.units[train]) & set(data.units[held])


def test_large_data_is_selected_on_a_drawn_tenth():
    folds = make_folds(training_data([0, 1] * 2500))
    assert folds is not None
    assert len(folds.pairs) == 1
    # 10% of 5,000, with a standard deviation of 21.
    assert 400 < folds.n_validation < 600


def test_an_official_validation_part_is_used_as_it_is():
    folds = make_folds(training_data([0, 1] * 10, official=6))
    assert folds is not None
    train, held = folds.pairs[0]
    assert (train.tolist(), held.tolist()) == (list(range(14)), list(range(14, 20)))


def test_up_to_five_shots_nothing_is_selected():
    data = training_data([0, 1, 2] * 5)
    assert make_folds(dataclasses.replace(data, shots=5)) is None
    assert why_unselected(dataclasses.replace(data, shots=5)) == "5 per class, up to 5: nothing to select on"
    assert make_folds(dataclasses.replace(data, shots=6)) is not None


def test_seeds_do_not_share_repeats():
    data = training_data([0, 1, 2] * 20)
    first, second = (make_folds(dataclasses.replace(data, seed=seed)) for seed in (0, 1))
    assert first is not None
    assert second is not None
    drawn = {tuple(held.tolist()) for _, held in first.pairs}
    assert not drawn & {tuple(held.tolist()) for _, held in second.pairs}


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2]])
def test_too_few_rows_give_no_folds(labels):
    assert make_folds(training_data(labels)) is None


def test_a_grid_is_left_where_nothing_was_gained_and_only_there():
    grid = [10.0**at for at in range(-6, 4)]
    falling = {C: [Score(0.9 if C < 1e-4 else 0.8, 1.0 + at, 100)] for at, C in enumerate(grid)}
    points, _, notes, _ = extend_grid(grid, falling.__getitem__, patience=4, most=0)
    # The best is the first point; four points after it are seen.
    assert points == grid[:5]
    assert notes == [
        "left at C = 0.01, 5 points before the end of the grid: for 4 points no score was above the best, and each NLL "
        "above the one before"
    ]
    # A better score, or a lower NLL, among the last four: the grid is gone on with.
    risen = {**falling, grid[4]: [Score(0.95, 5.0, 100)]}
    assert extend_grid(grid, risen.__getitem__, patience=4, most=0)[0] == grid[:9]
    lower = {C: [Score(0.9, 1.0, 100)] for C in grid}
    assert extend_grid(grid, lower.__getitem__, patience=4, most=0)[0] == grid


def test_each_rule_takes_what_it_says():
    of = [(0.7, 3.0, 0.01), (0.89, 2.0, 0.02), (0.9, 2.5, 0.0), (0.9, 1.5, 0.001), (0.87, 0.5, 0.01), (0.8, 1.0, 0.01)]
    table = [
        {"accuracy": accuracy, "standard_error": 0.02, "nll": nll, "paired_error": error} for accuracy, nll, error in of
    ]
    # 0.89 is within the standard error 0.02 of the best, and within that of the difference; 0.87 is not.
    expected = {"best": 2, "one_se": 1, "best_nll": 3, "nll": 4}
    assert {rule: choose(table, Criterion(rule=rule)).selected for rule in RULES} == expected
    assert choose(table, Criterion(rule="best")).best == 2
    assert Criterion(rule="best").told("the largest") == "the best itself"
    folds = make_folds(training_data([0, 1, 2] * 40), "best")
    assert folds.criterion.rule == "best"


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_the_error_of_a_difference_is_that_of_resampling_its_rows(metric):
    # Two heads that agree on most rows: each alone is far less certain than their difference.
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [300, 150, 50])
    first = np.where(rng.random(500) < 0.8, labels, (labels + 1) % 3)
    second = np.where(rng.random(500) < 0.05, (labels + 2) % 3, first)
    scores = [[score_fold(labels, np.eye(3)[predicted])] for predicted in (first, second)]
    table = tabulate([{"C": 1.0}, {"C": 2.0}], scores, Criterion(metric))
    right = np.stack([first == labels, second == labels]).astype(float)
    drawn = []
    for _ in range(4000):
        # By class for the balanced accuracy, whose classes count alike however many rows they have.
        at = [rng.choice(np.flatnonzero(labels == label), (labels == label).sum()) for label in range(3)]
        at = at if metric == "balanced_accuracy" else [rng.integers(0, 500, 500)]
        drawn.append(np.mean([np.subtract(*right[:, rows].mean(axis=1)) for rows in at]))
    assert table[1]["paired_error"] == pytest.approx(np.std(drawn), rel=0.06)
    assert table[0]["paired_error"] == 0
    assert table[1]["paired_error"] < 0.7 * table[1]["standard_error"]


def test_the_error_of_a_difference_over_folds_is_that_of_the_mean_over_folds():
    first, second = ([Score(a, 1.0, 10) for a in of_folds] for of_folds in ((0.8, 0.9, 1.0), (0.7, 0.7, 0.9)))
    table = tabulate([{"C": 1.0}, {"C": 2.0}], [first, second])
    # Differences 0.1, 0.2, 0.1: their deviation (ddof 1) over the root of 3.
    assert table[1]["paired_error"] == pytest.approx(np.std([0.1, 0.2, 0.1], ddof=1) / 3**0.5)


@pytest.mark.framework
@pytest.mark.parametrize("head", ["logistic", "ridge", "knn", "dense"])
def test_each_head_takes_the_rule(head, blobs):
    features, labels = blobs(90, 3, 6, seed=1, spread=4.0)
    data = dataclasses.replace(training_data(labels), features=features)
    options = {"learning_rate": [0.001, 0.01], "epochs": 3} if head == "dense" else {}
    found = {}
    for rule in RULES:
        selection = (
            find_head(head).train(data, resolve_options(head, {**options, "rule": rule}), lambda _: None).selection
        )
        found[rule] = selection
    assert found["best"]["selected"] == found["best"]["best"] == found["one_se"]["best"]
    assert "the best itself" in found["best"]["notes"][0]
    assert "within one standard error" in found["one_se"]["notes"][0]
    assert found["nll"]["selected"] == found["nll"]["by_nll"]
    assert "the lowest NLL" in found["best_nll"]["notes"][0]
