import pytest

from store import FeatureStore

RUN_FIELDS = {
    "run_id", "dataset", "extractor", "head", "seed", "shots", "train", "test", "n_train", "n_test", "accuracy",
    "accuracy_low", "accuracy_high", "balanced_accuracy", "nll", "ece", "seconds", "converged", "status", "selected",
}  # fmt: skip


def test_a_run_has_the_fields_of_the_design_and_is_kept(run, extracted):
    code, document, _ = run("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--json")
    assert code == 0
    (row,) = document["runs"]
    assert set(row) >= RUN_FIELDS
    assert (row["n_train"], row["n_test"], row["status"], row["converged"]) == (1437, 360, "trained", True)
    assert set(row["selected"]) == {"C"}
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    store = FeatureStore("linprobe-store")
    predictions = store.predictions(row["run_id"])
    assert len(predictions) == 360
    assert (predictions["label"] == predictions["predicted"]).mean() == pytest.approx(row["accuracy"])
    assert store.results()["run_id"].tolist() == [row["run_id"]]


def test_an_equal_run_is_returned_not_trained_again(run, extracted):
    arguments = ("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--json")
    first = run(*arguments)[1]["runs"][0]
    second = run(*arguments)[1]["runs"][0]
    assert second["status"] == "cached"
    assert {**second, "status": "trained"} == first


def test_both_heads_and_several_seeds_are_runs_of_their_own(run, extracted):
    heads = ("--head", "dense", "--head", "logistic")
    rows = run("probe", "--dataset", "bundled:digits", "--extractor", "pixels", *heads, "--seeds", "2", "--json")[1][
        "runs"
    ]
    assert [(row["head"], row["seed"]) for row in rows] == [
        ("dense", 0),
        ("dense", 1),
        ("logistic", 0),
        ("logistic", 1),
    ]
    assert len({row["run_id"] for row in rows}) == 4


def test_a_head_without_test_split_gets_one_drawn_from_the_only_base_split(run, pictures):
    run("extract", "--dataset", f"folder:{pictures}", "--extractor", "pixels")
    code, document, _ = run("probe", "--dataset", f"folder:{pictures}", "--extractor", "pixels", "--json")
    assert code == 0
    (row,) = document["runs"]
    assert row["n_train"] + row["n_test"] == 24
    assert row["train"].startswith("all/seed0")
