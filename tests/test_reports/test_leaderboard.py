"""The leaderboard: which runs are its rows, in which order, compared with which floor."""

import math

import pandas as pd
import pytest

from reports import leaderboard
from reports.leaderboard import COLUMNS, is_floor


def test_only_pixels_and_random_networks_are_floors():
    assert [is_floor(name) for name in ("pixels", "random:mobilenet_v2", "mobilenet_v2", "pixels2")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_no_runs_make_an_empty_frame_with_all_columns():
    frame = leaderboard([])
    assert frame.empty
    assert tuple(frame.columns) == COLUMNS


def test_the_newest_run_answers_an_equal_question_whatever_the_order(make_run):
    old = make_run("old", created="2026-11-23T10:00:00+00:00", metrics={"accuracy": 0.9}, sets={"test": "1" * 64})
    new = make_run("new", created="2026-11-24T10:00:00+00:00", metrics={"accuracy": 0.6}, sets={"test": "2" * 64})
    for runs in ([old, new], [new, old], [new, new, old]):
        frame = leaderboard(runs)
        assert list(frame["accuracy"]) == [0.6]
        assert list(frame["run_id"]) == [new.run_id]
        assert list(frame["seeds"]) == [1]


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "birds"},
        {"extractor": "pixels"},
        {"head": "dense"},
        {"options": {"epochs": 12}},
        {"train": "train[:50%]"},
        {"validation": "train[90%:]"},
        {"test": "test[:50%]"},
        {"shots": 5},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_question_has_its_own_row(make_run, other):
    assert len(leaderboard([make_run("a"), make_run("b", **other)])) == 2


def test_rows_stand_by_dataset_then_by_accuracy_the_best_first(make_run):
    runs = [
        make_run("1", dataset="b", extractor="x", metrics={"accuracy": 0.5}),
        make_run("2", dataset="a", extractor="x", metrics={"accuracy": 0.5}),
        make_run("3", dataset="b", extractor="y", metrics={"accuracy": 0.8}),
        make_run("4", dataset="a", extractor="w", metrics={"accuracy": 0.5}),
    ]
    frame = leaderboard(runs)
    assert list(zip(frame["dataset"], frame["extractor"], strict=True)) == [
        ("a", "w"), ("a", "x"), ("b", "y"), ("b", "x"),
    ]  # fmt: skip


def test_of_several_seeds_the_smallest_is_shown_and_the_spread_beside_it(make_run):
    accuracies = {0: 0.70, 1: 0.80, 2: 0.90}
    frame = leaderboard([make_run(f"s{s}", seed=s, metrics={"accuracy": a}) for s, a in accuracies.items()])
    (row,) = frame.to_dict("records")
    assert (row["seed"], row["accuracy"], row["seeds"]) == (0, 0.70, 3)
    # Mean of 0.7, 0.8, 0.9; deviations -0.1, 0, 0.1: variance 0.02 / 2.
    assert row["seed_mean"] == pytest.approx(0.8)
    assert row["seed_sd"] == pytest.approx(0.1)


def test_seeds_that_ran_on_older_sets_are_not_counted(make_run):
    old = make_run("old", seed=1, sets={"test": "1" * 64}, created="2026-11-23T10:00:00+00:00")
    (row,) = leaderboard([old, make_run("new", seed=0)]).to_dict("records")
    assert row["seeds"] == 1
    assert math.isnan(row["seed_mean"])
    assert math.isnan(row["seed_sd"])


def test_above_floor_is_the_difference_to_the_best_floor_with_the_same_head(make_run):
    runs = [
        make_run("net", metrics={"accuracy": 0.9}),
        make_run("net-dense", head="dense", metrics={"accuracy": 0.8}),
        make_run("pixels", extractor="pixels", metrics={"accuracy": 0.5}),
        make_run("random", extractor="random:mobilenet_v2", metrics={"accuracy": 0.65}),
        make_run("pixels-knn", extractor="pixels", head="knn", metrics={"accuracy": 0.7}),
    ]
    rows = {(row["extractor"], row["head"]): row for row in leaderboard(runs).to_dict("records")}
    # The best floor of all is pixels/knn (0.7), but random:mobilenet_v2 has the same head.
    assert rows["mobilenet_v2", "logistic"]["floor"] == "random:mobilenet_v2/logistic"
    assert rows["mobilenet_v2", "logistic"]["above_floor"] == pytest.approx(0.25)
    # No floor has a dense head: the best of any head stands in.
    assert rows["mobilenet_v2", "dense"]["floor"] == "pixels/knn"
    assert rows["mobilenet_v2", "dense"]["above_floor"] == pytest.approx(0.1)
    assert math.isnan(rows["pixels", "logistic"]["above_floor"])
    assert [row["is_floor"] for row in leaderboard(runs).to_dict("records")] == [False, False, True, True, True]


@pytest.mark.parametrize("other", [{"dataset": "birds"}, {"test": "test[:50%]"}, {"train": "train[:9]"}, {"shots": 1}])
def test_a_floor_of_another_question_is_no_floor(make_run, other):
    frame = leaderboard([make_run("net"), make_run("floor", extractor="pixels", **other)])
    assert frame["above_floor"].isna().all()


def test_a_metric_that_a_run_lacks_is_missing(make_run):
    frame = leaderboard([make_run("a")])
    assert frame["top5"].isna().all()
    assert frame["n_test"].tolist() == [10]
    assert frame["dim"].tolist() == [1280]
    assert frame["converged"].tolist() == [True]
    assert isinstance(frame, pd.DataFrame)
