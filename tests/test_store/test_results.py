import errno
import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from store import DamagedStore, RunNotFound, verify_store
from store.documents import read_sealed, seal

PARTS = ["run.json", "predictions.parquet", "curves.parquet", "head.npz", "manifest.json"]


def test_run_comes_back_whole(store, probe_result):
    assert store.publish_run(probe_result)
    found = store.run(probe_result.run_id)
    # What an earlier version left out is filled in where it is read.
    meant = {"shots": "all", "metric": "accuracy", "train_share": 1.0, "views": 0, "folds": 0}
    assert found.config == probe_result.config | meant
    for name in ("counts", "selection", "metrics", "class_names", "fit", "warnings", "seconds", "created"):
        assert getattr(found, name) == getattr(probe_result, name)
    pd.testing.assert_frame_equal(found.predictions, probe_result.predictions)
    pd.testing.assert_frame_equal(found.curves, probe_result.curves)
    assert sorted(found.head) == ["bias", "kernel"]
    np.testing.assert_array_equal(found.head["kernel"], [[0, 1], [2, 3], [4, 5]])
    assert found.head["kernel"].dtype == np.float32


def test_run_is_published_once(store, probe_result, tree):
    assert store.publish_run(probe_result)
    before = tree(store.path)
    assert not store.publish_run(replace(probe_result, seconds=99.0))
    assert tree(store.path) == before
    assert store.has_run(probe_result.run_id)
    assert not store.has_run(probe_result.run_id[:8])


def test_results_have_a_row_per_run_the_newest_last(store, probe_result):
    store.publish_run(replace(probe_result, run_id="aa", created="2026-03-01T00:00:00Z", metrics={"accuracy": 0.75}))
    store.publish_run(probe_result)
    results = store.results()
    assert results["run_id"].tolist() == [probe_result.run_id, "aa"]
    assert results["accuracy"].tolist() == [0.5, 0.75]
    assert results["head"].tolist() == ["logistic", "logistic"]
    assert results["n_test"].tolist() == [2, 2]
    assert results["converged"].tolist() == [True, True]
    assert results["warnings"].tolist() == [1, 1]


def test_results_of_no_runs_are_an_empty_frame(store):
    assert len(store.results()) == 0
    assert {"run_id", "dataset", "extractor", "head", "accuracy"} <= set(store.results().columns)


def test_predictions_have_a_row_per_test_example(store, probe_result):
    store.publish_run(probe_result)
    assert store.predictions(probe_result.run_id)["example_id"].tolist() == ["a.png", "b.png"]


def test_run_answers_to_prefix_and_to_the_newest_of_its_name(store, probe_result):
    store.publish_run(replace(probe_result, run_id="aa11", created="2026-01-01T00:00:00Z"))
    store.publish_run(replace(probe_result, run_id="aa22", created="2026-02-01T00:00:00Z"))
    store.publish_run(replace(probe_result, run_id="aa", created="2025-01-01T00:00:00Z"))
    assert store.find_run("aa1") == "aa11"
    assert store.find_run("aa") == "aa"  # an exact id, though others begin so
    assert store.find_run("flowers/toy/logistic") == "aa22"
    with pytest.raises(RunNotFound, match="a: 3 runs begin so; give more of the id"):
        store.find_run("a")
    with pytest.raises(RunNotFound, match="flowers/toy/dense: none of the 3 runs"):
        store.find_run("flowers/toy/dense")
    with pytest.raises(RunNotFound, match="none of the 3 runs"):
        store.find_run("")


@pytest.mark.parametrize("run_id", ["", "../x", "XYZ", ".tmp-1", "ab/cd"])
def test_run_id_that_is_no_digest_is_refused(store, probe_result, run_id):
    with pytest.raises(ValueError, match="lower-case hexadecimal digits expected as run id"):
        store.publish_run(replace(probe_result, run_id=run_id))


def test_metric_that_is_no_number_is_refused(store, probe_result):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.publish_run(replace(probe_result, metrics={"accuracy": float("nan")}))
    assert list(store.runs()) == []


def test_head_with_objects_is_refused(store, probe_result):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        store.publish_run(replace(probe_result, head={"kernel": np.array([object()])}))


@pytest.mark.parametrize("part", PARTS)
def test_damaged_run_is_found_and_publishing_it_again_moves_it_aside(store, probe_result, part, caplog):
    store.publish_run(probe_result)
    folder = store.path / "runs" / probe_result.run_id
    data = bytearray((folder / part).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / part).write_bytes(data)
    with pytest.raises(DamagedStore, match=rf"{part}: "):
        store.run(probe_result.run_id)
    assert not store.has_run(probe_result.run_id)
    assert part in caplog.text
    assert store.publish_run(probe_result)
    assert store.run(probe_result.run_id).metrics == probe_result.metrics
    assert len(store.results()) == 1
    assert [p.name[:9] for p in folder.parent.iterdir() if p.name != folder.name] == [".damaged-"]


def test_unreadable_folder_of_runs_is_not_taken_for_an_empty_one(store, probe_result, monkeypatch):
    store.publish_run(probe_result)

    def listdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", listdir)
    with pytest.raises(PermissionError, match="Permission denied"):
        store.results()


def test_damaged_run_hides_no_other_and_is_logged(store, probe_result, caplog):
    store.publish_run(probe_result)
    store.publish_run(replace(probe_result, run_id="aa"))
    (store.path / "runs" / "aa" / "run.json").write_bytes(b"junk")
    assert store.results()["run_id"].tolist() == [probe_result.run_id]
    assert [run.run_id for run in store.runs()] == [probe_result.run_id]
    assert caplog.text.count("aa/run.json: sha256") == 2
    with pytest.raises(DamagedStore, match=r"aa/run\.json: sha256"):
        store.run("aa")


def test_newest_run_of_a_name_is_not_told_while_a_damaged_one_may_be_it(store, probe_result):
    store.publish_run(probe_result)
    store.publish_run(replace(probe_result, run_id="aa"))
    (store.path / "runs" / "aa" / "run.json").write_bytes(b"junk")
    with pytest.raises(
        DamagedStore, match="flowers/toy/logistic: its newest run expected, but the damaged run aa may be it"
    ):
        store.run("flowers/toy/logistic")
    assert store.run("ab12").run_id == probe_result.run_id


def test_manifest_that_names_files_elsewhere_is_refused(store, probe_result):
    store.publish_run(probe_result)
    folder = store.path / "runs" / probe_result.run_id
    manifest = read_sealed(folder / "manifest.json")
    manifest["parts"]["../../../../etc/passwd"] = "0" * 64
    (folder / "manifest.json").write_bytes(seal(manifest))
    with pytest.raises(DamagedStore, match=r"parts run.json, .* expected.*, \.\./\.\./\.\./\.\./etc/passwd, "):
        store.run(probe_result.run_id)


def test_what_a_later_version_adds_is_kept_and_read_past(store, probe_result):
    predictions = probe_result.predictions.assign(probabilities=[[0.9, 0.1], [0.6, 0.4]], nonsense=1)
    store.publish_run(replace(probe_result, predictions=predictions))
    found = store.predictions(probe_result.run_id)
    assert list(found.columns)[-3:] == ["probabilities", "label_name", "predicted_name"]
    assert "nonsense" not in found.columns
    assert verify_store(store.path, is_deep=True).problems == []
    # A part that this version does not know by name is none of ours.
    folder = store.path / "runs" / probe_result.run_id
    manifest = read_sealed(folder / "manifest.json")
    (folder / "notes.json").write_bytes(b"{}")
    manifest["parts"]["notes.json"] = hashlib.sha256(b"{}").hexdigest()
    (folder / "manifest.json").write_bytes(seal(manifest))
    assert store.record(probe_result.run_id).metrics == probe_result.metrics
    assert verify_store(store.path).problems == []
    manifest["parts"]["strange.json"] = "0" * 64
    (folder / "manifest.json").write_bytes(seal(manifest))
    with pytest.raises(DamagedStore, match=r"expected, and perhaps .*, strange\.json found"):
        store.record(probe_result.run_id)
