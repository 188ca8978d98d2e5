import pytest

from store import FeatureStore

pytestmark = pytest.mark.framework

RUN_FIELDS = {
    "run_id", "dataset", "extractor", "head", "seed", "shots", "train", "test", "n_train", "n_test", "accuracy",
    "accuracy_low", "accuracy_high", "balanced_accuracy", "nll", "ece", "seconds", "converged", "status", "selected",
}  # fmt: skip


def test_a_run_has_the_fields_of_the_design_and_is_kept(run, extracted):
    code, document, _ = run(
        "probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:100]", "--json"
    )
    assert code == 0
    (row,) = document["runs"]
    assert set(row) >= RUN_FIELDS
    assert (row["n_train"], row["n_test"], row["status"], row["converged"]) == (100, 360, "trained", True)
    assert set(row["selected"]) == {"C"}
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    store = FeatureStore("linprobe-store")
    predictions = store.predictions(row["run_id"])
    assert len(predictions) == 360
    assert (predictions["label"] == predictions["predicted"]).mean() == pytest.approx(row["accuracy"])
    assert store.results()["run_id"].tolist() == [row["run_id"]]


def test_without_options_every_cached_set_is_probed(run, extracted, images):
    assert run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels@published")[0] == 0
    code, document, err = run("probe", "--head", "knn", "--json")
    assert (code, document["errors"]) == (0, []), err
    assert [(row["dataset"], row["extractor"], row["head"]) for row in document["runs"]] == [
        ("bundled:digits", "pixels", "knn"),
        (f"folder:{images}", "pixels@published", "knn"),
    ]
    code, document, _ = run("probe", "--extractor", "pixels", "--head", "knn", "--json")
    assert [(row["dataset"], row["head"]) for row in document["runs"]] == [("bundled:digits", "knn")]
    code, _, err = run("probe", "--extractor", "pixel")
    assert code == 2
    assert "did you mean 'pixels'?" in err


def test_without_options_an_empty_store_is_told_of(run, tmp_path):
    FeatureStore.create(tmp_path / "s")
    code, _, err = run("probe", "--store", "s")
    assert code == 69
    assert "run 'linprobe extract' first" in err


def test_an_equal_run_is_returned_not_trained_again(run, extracted):
    arguments = ("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:60]", "--json")
    first = run(*arguments)[1]["runs"][0]
    second = run(*arguments)[1]["runs"][0]
    assert second["status"] == "cached"
    assert {**second, "status": "trained"} == first


def test_several_heads_and_seeds_are_runs_of_their_own(run, extracted):
    job = ("--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:200]")
    rows = run("probe", *job, "--head", "ridge", "--head", "knn", "--seeds", "2", "--json")[1]["runs"]
    assert [(row["head"], row["seed"]) for row in rows] == [
        ("ridge", 0),
        ("ridge", 1),
        ("knn", 0),
        ("knn", 1),
    ]
    assert len({row["run_id"] for row in rows}) == 4


def test_a_head_without_test_split_gets_one_drawn_from_the_only_base_split(run, images):
    run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels")
    code, document, _ = run("probe", "--dataset", f"folder:{images}", "--extractor", "pixels", "--json")
    assert code == 0
    (row,) = document["runs"]
    assert row["n_train"] + row["n_test"] == 24
    assert row["train"].startswith("all/draw0")


def test_folds_test_every_image_once(run, images):
    source = ("--dataset", f"folder:{images}", "--extractor", "pixels")
    run("extract", *source)
    code, document, err = run("probe", *source, "--head", "ridge", "--folds", "4", "--json")
    assert code == 0
    (row,) = document["runs"]
    assert (row["n_train"], row["n_test"], row["folds"]) == (24, 24, 4)
    assert "ridge in 4 folds: accuracy" in err
    code, document, _ = run("probe", *source, "--head", "ridge", "--folds", "4", "--json")
    assert document["runs"][0]["status"] == "cached"
    code, _, err = run("probe", *source, "--head", "ridge", "--folds", "4", "--shots", "2")
    assert code == 65
    assert "folds = 4: not with shots, shares of train or views" in err


def test_runs_beside_few_shots_are_tested_on_one_part_whatever_their_seed(run, images):
    source = ("--dataset", f"folder:{images}", "--extractor", "pixels", "--head", "ridge")
    run("extract", *source[:4])
    code, document, _ = run("probe", *source, "--shots", "1,2,all", "--seeds", "3", "--json")
    assert code == 0
    assert len(document["runs"]) == 9
    assert {row["test"] for row in document["runs"]} == {"all/draw0[80%:]"}
    # Alone, each seed draws its own.
    _, document, _ = run("probe", *source, "--seeds", "3", "--json")
    assert {row["test"] for row in document["runs"]} == {f"all/draw{seed}[80%:]" for seed in range(3)}
    # Asked again, both are answered from what is there.
    _, document, _ = run("probe", *source, "--shots", "1,2,all", "--seeds", "3", "--json")
    assert {row["status"] for row in document["runs"]} == {"cached"}


def test_shots_and_shares_are_runs_of_their_own_and_fail_alone(run, extracted):
    arguments = ("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--head", "knn", "--json")
    code, document, _ = run(*arguments, "--shots", "1,5,1000", "--seeds", "2")
    assert code == 65
    assert [(row["shots"], row["seed"], row["n_train"]) for row in document["runs"]] == [
        (1, 0, 10), (1, 1, 10), (5, 0, 50), (5, 1, 50)
    ]  # fmt: skip
    (failure,) = document["errors"]
    assert failure["part"].endswith("knn 1000-shot")
    assert "train has fewer different images of 0 (" in failure["error"]
    code, document, _ = run(*arguments, "--train-share", "10%,1", "--seeds", "1")
    assert code == 0
    assert [row["train_share"] for row in document["runs"]] == [0.1, 1.0]
    assert 90 < document["runs"][0]["n_train"] < 200


def test_few_shots_take_twenty_draws_and_one_line(run, extracted):
    code, document, err = run(
        "probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--head", "ridge", "--shots", "1", "--json"
    )
    assert code == 0
    assert [row["seed"] for row in document["runs"]] == list(range(20))
    assert "ridge 1-shot: accuracy" in err
    assert "of 20 seeds" in err
    assert len(err.splitlines()) < 5


def test_seeds_that_vary_nothing_are_not_told_as_a_spread(run, extracted, tmp_path):
    (tmp_path / "seeds.toml").write_text(
        """
        [[datasets]]
        source = "bundled:digits"
        [[extractors]]
        name = "pixels"
        [[probes]]
        head = "knn"
        k = [5]
        seeds = 6
        """
    )
    code, document, err = run("probe", "seeds.toml", "--json")
    assert code == 0
    assert len({row["run_id"] for row in document["runs"]}) == 6
    assert "(not varied by 6 seeds)" in err
    assert "±" not in err


def test_selection_goes_by_the_metric_that_is_asked(run, extracted):
    arguments = ("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--head", "knn", "--json")
    code, document, err = run(*arguments, "--metric", "balanced_accuracy")
    assert code == 0
    assert document["runs"][0]["metric"] == "balanced_accuracy"
    assert "knn: balanced accuracy" in err
    code, _, err = run(*arguments, "--metric", "f1")
    assert code == 2
    assert "--metric f1: no such choice" in err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--shots", "1,five", "'five' found, a number from 1 on or 'all' expected"),
        ("--shots", "0", "'0' found"),
        ("--train-share", "0", "'0' found, a share above 0 and up to 1 expected"),
        ("--train-share", "10%,150%", "'150%' found"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(option, value, message, run, extracted):
    code, _, err = run("probe", "--dataset", "bundled:digits", "--extractor", "pixels", option, value)
    assert code == 2
    assert message in err


def test_a_recipe_that_is_not_trained_to_its_end_is_flagged(run, tmp_path, extracted):
    (tmp_path / "job.toml").write_text(
        """
        [[datasets]]
        source = "bundled:digits"
        train = "train[:120]"
        [[extractors]]
        name = "pixels"
        [[probes]]
        head = "logistic"
        [[probes]]
        head = "dense"
        epochs = 1
        learning_rate = 1e-6
        """
    )
    code, document, err = run("probe", "job.toml", "--json")
    assert code == 0
    for row in document["runs"]:
        assert "lie further apart than their intervals" in row["warnings"][-1]
    assert err.count("lie further apart than their intervals") == 1
    _, document, _ = run("report", "--format", "json", "--json")
    assert all("on the same features" in row["disagreement"] for row in document["leaderboard"])
