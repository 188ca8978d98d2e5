import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.framework


def test_ls_lists_every_set(run, extracted):
    code, out, _ = run("store", "ls")
    assert code == 0
    assert [line.split()[1:3] for line in out.splitlines()[1:]] == [
        ["bundled:digits", "test"],
        ["bundled:digits", "train"],
    ]
    rows = run("store", "ls", "--json")[1]["sets"]
    assert [(row["split"], row["rows"], row["dim"], row["is_current"]) for row in rows] == [
        ("test", 360, 768, True),
        ("train", 1437, 768, True),
    ]


def test_ls_lists_every_run(run, extracted):
    assert run("store", "ls", "--runs")[1].endswith("no runs yet.\n")
    job = ("--dataset", "bundled:digits", "--extractor", "pixels", "--train", "train[:200]", "--head", "knn,ridge")
    made = {row["head"]: row for row in run("probe", *job, "--json")[1]["runs"]}
    lines = run("store", "ls", "--runs")[1].splitlines()
    assert {line.split()[0] for line in lines[1:]} == {row["run_id"][:12] for row in made.values()}
    rows = run("store", "ls", "--runs", "--json")[1]["runs"]
    for row, line in zip(rows, lines[1:], strict=True):
        assert abs(row["accuracy"] - made[row["head"]]["accuracy"]) < 1e-14
        assert f"{row['accuracy']:.4f}" in line


def test_show_gives_a_set_or_a_run_by_a_prefix(run, extracted):
    key = run("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--json")[1]["feature_sets"][0]["key"]
    shown = json.loads(run("store", "show", key[:8])[1])
    assert (shown["key"], shown["rows"], shown["class_names"]) == (key, 1437, list("0123456789"))
    assert shown["provenance"]["source"] == "bundled:digits"
    job = ("--dataset", "bundled:digits", "--extractor", "pixels", "--head", "knn")
    run_id = run("probe", *job, "--json")[1]["runs"][0]["run_id"]
    shown = run("store", "show", run_id[:8], "--json")[1]
    assert (shown["run_id"], shown["config"]["head"]) == (run_id, "knn")
    assert run("store", "show", "bundled:digits/pixels/knn", "--json")[1]["run_id"] == run_id


def test_reader_who_leaves_early_is_no_fault(extracted):
    key = next(Path("linprobe-store", "sets").iterdir()).name
    code = f"import sys; from linprobe.cli import main; sys.exit(main(['store', 'show', {key!r}]))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    reader, writer = os.pipe()
    os.close(reader)  # as `| true` does
    found = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, "")
