import json
import os
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from store import FeatureStore
from store.results import RunFolder

RUNS = 40


@pytest.fixture
def many(store, probe_result, monkeypatch):
    """A store with 40 runs, of which each has an accuracy of its own."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)  # 240 files, whose durability is not the point
        publish_all(store, probe_result)
    return store


def publish_all(store, probe_result):
    for number in range(RUNS):
        metrics = {**probe_result.metrics, "accuracy": number / 100}
        if number % 2:
            metrics["ece"] = 0.1  # a column that not all have
        options = {"C": 10.0**number} if number % 3 else {}
        selection = {**probe_result.selection, "selected": options}
        store.publish_run(replace(probe_result, run_id=f"{number:04x}", metrics=metrics, selection=selection))


@pytest.fixture
def reads(monkeypatch):
    """The ids of the runs that were read from their folders."""
    found, real = [], RunFolder.document

    def document(run):
        found.append(run.folder.name)
        return real(run)

    monkeypatch.setattr(RunFolder, "document", document)
    return found


def cache_of(store):
    return store.path / "cache" / "results.jsonl"


def test_second_look_reads_no_run_and_gives_the_same_table(many, reads):
    first = many.results()
    assert len(reads) == RUNS
    assert first["accuracy"].tolist() == [number / 100 for number in range(RUNS)]
    second = FeatureStore(many.path).results()
    assert len(reads) == RUNS
    pd.testing.assert_frame_equal(first, second)
    assert second["selected"].tolist()[:3] == [{}, {"C": 10.0}, {"C": 100.0}]


def test_few_runs_leave_no_file(store, probe_result):
    store.publish_run(probe_result)
    assert len(store.results()) == 1
    assert not (store.path / "cache").exists()


def test_new_run_is_read_and_the_others_are_not(many, probe_result, reads):
    many.results()
    reads.clear()
    many.publish_run(replace(probe_result, run_id="ff"))
    assert len(many.results()) == RUNS + 1
    assert reads == ["ff"]


def test_run_that_is_gone_is_gone_from_the_table(many):
    many.results()
    shutil.rmtree(many.path / "runs" / "0007")
    assert "0007" not in many.results()["run_id"].tolist()
    assert len(many.results()) == RUNS - 1


def test_run_that_was_published_anew_is_read_anew(many, probe_result):
    many.results()
    (many.path / "runs" / "0007" / "head.npz").write_bytes(b"junk")
    assert many.publish_run(replace(probe_result, run_id="0007", metrics={"accuracy": 0.77}))
    assert many.results().set_index("run_id").loc["0007", "accuracy"] == 0.77


def test_file_that_is_lost_is_made_again(many, reads):
    first = many.results()
    cache_of(many).unlink()
    reads.clear()
    pd.testing.assert_frame_equal(many.results(), first)
    assert len(reads) == RUNS
    assert cache_of(many).exists()


@pytest.mark.heavy
def test_no_flipped_bit_in_the_file_changes_a_number(many):
    expected = many.results()
    good = cache_of(many).read_bytes()
    for at in range(0, 8 * len(good), 8 * len(good) // 41):
        data = bytearray(good)
        data[at // 8] ^= 1 << at % 8
        cache_of(many).write_bytes(data)
        pd.testing.assert_frame_equal(many.results(), expected)
        assert cache_of(many).read_bytes() == good  # and it is fixed


@pytest.mark.parametrize("data", [b"", b"\n", b"junk", b"0" * 64 + b"\n[]"])
def test_file_that_is_none_is_not_believed(many, data):
    expected = many.results()
    cache_of(many).write_bytes(data)
    pd.testing.assert_frame_equal(many.results(), expected)


def test_file_of_another_store_is_not_believed(many, probe_result, tmp_path):
    many.results()
    other = FeatureStore.create(tmp_path / "other")
    for number in range(RUNS):
        other.publish_run(replace(probe_result, run_id=f"{number:04x}", metrics={"accuracy": 0.99}))
    (other.path / "cache").mkdir()
    shutil.copy(cache_of(many), cache_of(other))
    assert set(other.results()["accuracy"]) == {0.99}


def test_store_that_may_only_be_read_is_read(many, monkeypatch):
    def publish_file(path, data):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("store.disposable.replace_disposable", publish_file)
    assert len(many.results()) == RUNS
    assert not cache_of(many).exists()


def test_documents_are_those_of_the_folders_without_the_table_of_the_sweep(many):
    many.results()
    lines = cache_of(many).read_bytes().splitlines()[1:]
    assert len(lines) == RUNS
    for run_id, stamp, document in map(json.loads, lines):
        expected = RunFolder(many.path / "runs" / run_id).document()
        expected["selection"]["table"] = None
        assert document == expected
        assert stamp[0] == os.stat(many.path / "runs" / run_id / "manifest.json").st_ino
