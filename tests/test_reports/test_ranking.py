"""The leaderboard: which runs are its rows, in which order, compared with which floor."""

import math

import pandas as pd
import pytest

from reports import leaderboard
from reports.ranking import COLUMNS
from store.extractor_names import is_floor


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
        {"train_share": 0.5},
        {"views": 2},
        {"metric": "balanced_accuracy"},
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
    assert rows["pixels", "logistic"]["floor"] is None
    assert [row["is_floor"] for row in leaderboard(runs).to_dict("records")] == [False, False, True, True, True]


@pytest.mark.parametrize(
    "other",
    [{"dataset": "birds"}, {"train": "train[:9]"}, {"shots": 1}, {"train_share": 0.5}, {"metric": "balanced_accuracy"}],
)
def test_a_floor_of_another_question_is_no_floor(make_run, other):
    frame = leaderboard([make_run("net"), make_run("floor", extractor="pixels", **other)])
    assert frame["above_floor"].isna().all()


def test_a_floor_is_one_of_equal_images_whatever_the_part_is_called(make_run, make_predictions):
    other_images = make_predictions([0, 1, 2], [0, 1, 2], prefix="other/")
    elsewhere = make_run("floor", extractor="pixels", frame=other_images)
    assert leaderboard([make_run("net"), elsewhere])["above_floor"].isna().all()
    same = make_run("floor", extractor="pixels", test="test[:100%]", metrics={"accuracy": 0.5})
    assert leaderboard([make_run("net"), same])["above_floor"].tolist()[0] == pytest.approx(0.2)


def test_seeds_that_draw_their_own_parts_answer_one_question(make_run):
    runs = [
        make_run(
            f"s{seed}",
            seed=seed,
            train=f"all/seed{seed}[:80%]",
            test=f"all/seed{seed}[80%:]",
            metrics={"accuracy": 0.7 + 0.1 * seed},
        )
        for seed in (0, 1)
    ]
    (row,) = leaderboard(runs).to_dict("records")
    assert (row["seeds"], row["train"]) == (2, "all/seed0[:80%]")
    assert row["seed_mean"] == pytest.approx(0.75)
    # A part that another seed drew is another question.
    assert len(leaderboard([runs[0], make_run("s2", seed=2, train="all/seed0[:80%]", test="all/seed0[80%:]")])) == 2


def test_seeds_that_all_give_the_same_have_varied_nothing(make_run):
    (row,) = leaderboard([make_run(f"s{seed}", seed=seed) for seed in range(3)]).to_dict("records")
    assert row["seeds"] == 3
    assert math.isnan(row["seed_mean"])
    assert math.isnan(row["seed_sd"])


def test_rows_stand_by_the_metric_that_was_asked_for(make_run):
    runs = [
        make_run("a", extractor="x", metric="balanced_accuracy", metrics={"accuracy": 0.9, "balanced_accuracy": 0.5}),
        make_run("b", extractor="y", metric="balanced_accuracy", metrics={"accuracy": 0.8, "balanced_accuracy": 0.6}),
    ]
    assert leaderboard(runs)["extractor"].tolist() == ["y", "x"]


def test_verdicts_stand_in_the_rows_of_their_runs(make_run, make_verdict):
    best, other, alone = (
        make_run("a", metrics={"accuracy": 0.9}),
        make_run("b", head="ridge"),
        make_run("c", head="knn"),
    )
    verdicts = {
        best.run_id: make_verdict(is_best=True),
        other.run_id: make_verdict(is_indistinguishable=True, p_best=0.2, disagreement="odd"),
    }
    rows = {row["head"]: row for row in leaderboard([best, other, alone], verdicts).to_dict("records")}
    assert rows["logistic"]["is_best"]
    assert math.isnan(rows["logistic"]["p_best"])
    assert (rows["ridge"]["is_indistinguishable"], rows["ridge"]["p_best"], rows["ridge"]["disagreement"]) == (
        True,
        0.2,
        "odd",
    )
    assert (rows["knn"]["is_best"], rows["knn"]["disagreement"]) == (False, "")


def test_a_metric_that_a_run_lacks_is_missing(make_run):
    frame = leaderboard([make_run("a")])
    assert frame["top5"].isna().all()
    assert frame["n_test"].tolist() == [10]
    assert frame["dim"].tolist() == [1280]
    assert frame["converged"].tolist() == [True]
    assert isinstance(frame, pd.DataFrame)
