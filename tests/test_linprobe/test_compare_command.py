import shutil

import numpy as np
import pytest

from linprobe.cli import main
from store import FeatureStore

pytestmark = pytest.mark.framework

COMMAND = ("probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:200]", "--json")


@pytest.fixture(scope="module")
def probed_store(digits_store, tmp_path_factory):
    """A store with two runs on the digits' pixels, of heads that do not take long."""
    store = tmp_path_factory.mktemp("probed") / "store"
    shutil.copytree(digits_store("train", "test"), store)
    assert main([*COMMAND, "--head", "knn", "--head", "ridge", "--store", str(store)]) == 0
    return store


@pytest.fixture
def probed(run, probed_store, tmp_path):
    """The current folder's store holds the two runs; head → row of `results`."""
    shutil.copytree(probed_store, tmp_path / "linprobe-store")
    return {row["head"]: row for row in FeatureStore(probed_store).results().to_dict("records")}


def test_two_runs_are_compared_by_id_prefix_and_name(run, probed):
    code, document, _ = run("compare", "bundled:digits/pixels/knn", probed["ridge"]["run_id"][:9], "--json")
    assert code == 0
    assert (document["first"]["head"], document["second"]["head"]) == ("knn", "ridge")
    assert document["n_pictures"] == document["n_first"] == 360
    difference = probed["knn"]["accuracy"] - probed["ridge"]["accuracy"]
    assert document["accuracy"]["value"] == pytest.approx(difference)
    assert document["accuracy"]["low"] <= difference <= document["accuracy"]["high"]
    assert document["p_value"] == document["mcnemar"]
    assert 0 < document["detectable"] < 0.1
    assert [row["class_name"] for row in document["classes"]] == [str(digit) for digit in range(10)]
    code, text, _ = run("compare", probed["knn"]["run_id"], "bundled:digits/pixels/ridge")
    assert code == 0
    assert "on 360 equal test images" in text
    assert "McNemar's exact test" in text
    assert "8 times in 10" in text


def test_runs_that_cannot_be_compared_or_do_not_exist_say_so(run, probed):
    other = run(*COMMAND, "--head", "knn", "--train", "test[:50%]", "--test", "test[50%:]", "--seeds", "1")
    elsewhere = run(*COMMAND, "--head", "knn", "--train", "test[50%:]", "--test", "test[:50%]", "--seeds", "1")
    ids = [document["runs"][0]["run_id"] for _, document, _ in (other, elsewhere)]
    code, _, err = run("compare", *ids)
    assert code == 65
    assert "share no test image" in err
    code, _, err = run("compare", ids[0], "bundled:digits/pixels/svm")
    assert code == 2
    assert "bundled:digits/pixels/knn" in err


def test_the_leaderboard_names_the_best_and_its_equals(run, probed):
    _, document, _ = run("report", "--format", "json", "--json")
    board = {row["head"]: row for row in document["leaderboard"]}
    best = max(board.values(), key=lambda row: row["accuracy"])
    assert best["is_best"]
    (other,) = (row for row in board.values() if row is not best)
    _, compared, _ = run("compare", best["run_id"], other["run_id"], "--json")
    assert other["p_best"] == pytest.approx(compared["p_value"])
    assert other["is_indistinguishable"] == (compared["p_value"] >= 0.05)


def test_where_every_image_stands_under_several_labels_nothing_is_told_apart(run, tmp_path):
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(60, 6)).astype(np.float32), 3, axis=0)
    np.savez(tmp_path / "x.npz", features=features, labels=np.tile([0, 1, 2], 60))
    assert run("store", "import", tmp_path / "x.npz", "--name", "x", "--extractor", "e")[0] == 0
    code, document, _ = run("probe", "--dataset", "x", "--extractor", "e", "--head", "ridge,knn", "--json")
    assert code == 0
    assert all(any("under several labels" in text for text in row["warnings"]) for row in document["runs"])
    code, document, err = run("compare", "x/e/ridge", "x/e/knn", "--json")
    assert code == 65
    assert (document["n_pictures"], document["is_significant"]) == (0, False)
    assert document["n_conflicting"] > 5
    assert "stand under several labels, and are left out" in err
