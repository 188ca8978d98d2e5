"""Stores that earlier versions made open, report and go on: with no forward pass, and under the same run ids.

Each archive was made once, by the commit that it is called after, and is never made anew.
"""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import linprobe as lp
from store import FeatureStore

DATA = Path(__file__).parent / "data"
RUNS = {
    ("logistic", "all", 0): "57a98c209f1e", ("ridge", 5, 0): "26f5a00d131a", ("ridge", 5, 1): "cb6a99006105",
    ("ridge", "all", 0): "9888df46d4c1", ("ridge", "all", 1): "11881d9beeab", ("knn", "all", 0): "31d9877586f1",
    ("dense", "all", 0): "115a9f33af7f",
}  # fmt: skip


@pytest.fixture
def older(run, tmp_path):
    """The current folder is what the commit left: a job, its images, its store."""
    with zipfile.ZipFile(DATA / "store_4794c37.zip") as archive:
        archive.extractall(tmp_path)


def test_it_is_sound_and_lists_what_it_holds(run, older):
    assert run("store", "verify")[0] == 0
    sets = run("store", "ls", "--json")[1]["sets"]
    assert [(row["dataset"], row["split"], row["rows"]) for row in sets if row["dataset"] == "three"] == [
        ("three", "test", 30), ("three", "train", 60)
    ]  # fmt: skip
    assert {row["run_id"][:12] for row in run("store", "ls", "--runs", "--json")[1]["runs"]} == set(RUNS.values())


@pytest.mark.framework
def test_the_same_job_computes_nothing_and_every_run_comes_out_again(run, older):
    # Its pool was made by decoding rules 1: the rows of images that rules 2 leave alone are taken over.
    code, document, err = run("extract", "job.toml", "--json")
    assert code == 0, err
    found = [(row["status"], row["forward_passes"], row["adopted"]) for row in document["feature_sets"]]
    assert found == [("extracted", 0, 60), ("extracted", 0, 30)]
    code, document, err = run("extract", "job.toml", "--json")
    assert [(row["status"], row["adopted"]) for row in document["feature_sets"]] == [("cached", 0)] * 2
    before = {
        run_id: FeatureStore("linprobe-store").run(FeatureStore("linprobe-store").find_run(run_id))
        for run_id in RUNS.values()
    }
    # By the rule of then, which another has taken the place of.
    job = Path("job.toml")
    job.write_text(job.read_text().replace('head = "logistic"', 'head = "logistic"\nrule = "one_se"'))
    code, document, err = run("probe", "job.toml", "--json")
    assert code == 0, err
    found = {(row["head"], row["shots"], row["seed"]): row["accuracy"] for row in document["runs"]}
    assert found == {asked: before[run_id].metrics["accuracy"] for asked, run_id in RUNS.items()}


@pytest.mark.framework
def test_an_extension_costs_the_new_images_alone(run, older):
    with np.load("digits.npz") as arrays:
        parts = dict(arrays)
    more = np.flip(parts["train_images"][:7], axis=2)
    parts["train_images"] = np.concatenate([parts["train_images"], more])
    parts["train_labels"] = np.concatenate([parts["train_labels"], parts["train_labels"][:7]])
    np.savez_compressed("digits.npz", **parts)
    code, document, err = run("extract", "job.toml", "--json")
    assert code == 0, err
    rows = {row["split"]: (row["status"], row["forward_passes"], row["reused"]) for row in document["feature_sets"]}
    assert rows == {"train": ("extracted", 7, 60), "test": ("extracted", 0, 30)}


@pytest.mark.heavy
def test_it_reports_and_compares(run, older):
    code, document, err = run("report", "--format", "json", "--json")
    assert code == 0, err
    assert {row["run_id"][:12] for row in document["leaderboard"]} < set(RUNS.values())
    assert run("report")[0] == 0
    code, text, err = run("compare", RUNS["knn", "all", 0], "three/pixels/ridge")
    assert code == 0, err
    assert "on 30 equal test images" in text


def test_a_name_that_was_not_normalised_still_resolves(run, older, tmp_path):
    # The set was named from /tmp/old as npz:../old/digits.npz, and that path was kept as it was typed.
    store = FeatureStore("linprobe-store")
    key = store.get("three", "train", "pixels").key
    for asked in ("npz:/tmp/old/../old/digits.npz", "npz:/tmp/old/digits.npz", "old/digits.npz", "digits.npz"):
        assert store.get(asked, "train", "pixels").key == key, asked


def test_the_api_opens_it(older, tmp_path):
    ws = lp.open(tmp_path / "linprobe-store")
    assert ws.features("three", "pixels").class_names == ["0", "1", "2"]
    found = ws.run("three/pixels/knn")
    assert found.id[:12] == RUNS["knn", "all", 0]
    assert len(found.probabilities()) == 30
    shutil.rmtree(tmp_path / "linprobe-store")


# Each change of a field or a column has the commit before it here, and the first commit of the command line.
KINDS = {
    "1118882": "predictions without groups; runs without metric, share of train and views, and with null shots",
    "aa0ac64": "predictions with groups",
    "6ad492c": "runs with shots, share of train and metric",
    "33a0671": "runs with views; the last before run lines named runs",
}


@pytest.mark.framework
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in ("aa0ac64", "33a0671") else []) for kind in KINDS]
)
def test_a_store_of_every_kind_reports_compares_gates_and_goes_on(run, tmp_path, kind):
    with zipfile.ZipFile(DATA / f"store_{kind}.zip") as archive:
        archive.extractall(tmp_path)
    (old,) = FeatureStore("linprobe-store").records()
    assert (old.config["shots"], old.config["metric"], old.config["train_share"], old.config["views"]) == (
        "all", "accuracy", 1.0, 0,
    )  # fmt: skip
    code, out, _ = run("store", "verify", "--deep")
    assert code == 0, out
    code, rows, _ = run("report", "--format", "json", "--json")
    assert (code, [row["run_id"] for row in rows["leaderboard"]]) == (0, [old.run_id])
    assert run("report")[0] == 0
    code, document, err = run("extract", "job.toml", "--json")
    assert code == 0, err
    # Rows of rules 1 are taken over where a canary vouches for them; the first stores had none.
    expected = [("extracted", 0)] * 2 if kind == "33a0671" else [("extracted", 42), ("extracted", 24)]
    assert [(row["status"], row["forward_passes"]) for row in document["feature_sets"]] == expected
    assert [(row["images"], row["images_before"]) for row in document["feature_sets"]] == [(42, 42), (24, 24)]
    # Another version of the protocol may give another run; the question is the same.
    gate = f"[gate]\nmax_drop = 0.5\nbaselines = ['{old.run_id}']\n"
    (tmp_path / "job.toml").write_text((tmp_path / "job.toml").read_text() + gate)
    code, document, err = run("nightly", "job.toml", "--json")
    assert code == 0, err
    (now,) = document["runs"]
    assert (now["status"] == "cached") == (now["run_id"] == old.run_id)
    assert FeatureStore("linprobe-store").find_run("shades/pixels/logistic") == now["run_id"]
    code, _, err = run("compare", old.run_id, now["run_id"], "--json")
    assert code == 0, err
    code, rows, _ = run("report", "--format", "json", "--json")
    assert [row["run_id"] for row in rows["leaderboard"]] == [now["run_id"]]
    code, _, err = run("predict", "--run", old.run_id, "images/test/dark/00.png")
    assert code == 0, err
    assert run("store", "verify", "--deep")[0] == 0


@pytest.mark.framework
def test_a_store_of_a_kind_is_guarded_against_shrink_too(run, tmp_path):
    with zipfile.ZipFile(DATA / "store_1118882.zip") as archive:
        archive.extractall(tmp_path)
    shutil.rmtree(tmp_path / "images" / "test" / "dark")
    code, _, err = run("nightly", "job.toml")
    assert code == 65
    assert "shades / test: 24 images before, 16 now; 3 classes before, 2 now: 'dark' is gone" in err
