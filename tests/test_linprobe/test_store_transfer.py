"""`store export` and `store import` from the command line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def made(tmp_path):
    """Features made elsewhere: 60 rows of 3 classes that a line can part."""
    labels = np.arange(60) % 3
    features = (
        np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32) + 9 * np.eye(3, 4, dtype=np.float32)[labels]
    )
    np.savez(tmp_path / "made.npz", features=features, labels=labels, class_names=np.array(["x", "y", "z"]))
    return tmp_path / "made.npz"


@pytest.mark.heavy
def test_imported_features_can_be_probed_by_their_names(run, made):
    code, document, _ = run("store", "import", made, "--name", "mine", "--extractor", "clip", "--json")
    assert code == 0
    assert document == {
        "key": document["key"], "dataset": "mine", "split": "all", "extractor": "clip", "rows": 60, "dim": 4,
        "classes": 3, "status": "imported",
    }  # fmt: skip
    assert run("store", "import", made, "--name", "mine", "--extractor", "clip", "--json")[1]["status"] == "cached"
    code, document, _ = run("probe", "--dataset", "mine", "--extractor", "clip", "--json")
    assert code == 0
    (row,) = document["runs"]
    assert (row["dataset"], row["extractor"], row["accuracy"]) == ("mine", "clip", 1.0)
    code, out, err = run("store", "verify", "--deep")
    assert (code, out[-10:]) == (0, "all sound\n")
    assert "no row was recomputed: its features were made elsewhere, and imported by 'store import'." in err
    (listed,) = run("store", "ls", "--json")[1]["sets"]
    assert (listed["dataset"], listed["split"], listed["extractor"]) == ("mine", "all", "clip")


@pytest.mark.framework
@pytest.mark.parametrize("export_format", ["parquet", "csv", "npz"])
def test_set_is_exported_by_a_prefix_of_its_key(run, extracted, export_format):
    key = run("store", "ls", "--json")[1]["sets"][0]["key"]
    out = Path("out", f"digits.{export_format}")
    code, document, _ = run("store", "export", key[:8], "--format", export_format, "--out", out, "--json")
    assert code == 0
    size = out.stat().st_size
    assert document == {
        "key": key, "path": str(out), "format": export_format, "rows": 360, "dim": 768, "bytes": size
    }  # fmt: skip
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "npz": lambda path: np.load(path)["features"]}
    assert len(read[export_format](out)) == 360


@pytest.mark.framework
def test_what_is_exported_as_npz_can_be_imported_elsewhere(run, extracted):
    key = run("store", "ls", "--json")[1]["sets"][0]["key"]
    assert run("store", "export", key, "--format", "npz", "--out", "digits.npz")[0] == 0
    code, out, _ = run("store", "import", "digits.npz", "--name", "d", "--extractor", "pixels", "--store", "other")
    assert code == 0
    assert out == (
        "d/all pixels: 360 rows of 768 features, imported; 'linprobe probe --dataset d --extractor pixels' works on them\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["import", "bad.npz", "--name", "a", "--extractor", "b"],
            65,
            "features: (N, D) floats expected, (3,) float64",
        ),
        (["import", "junk.npz", "--name", "a", "--extractor", "b"], 65, "an npz file of plain arrays expected"),
        (
            ["import", "none.npz", "--name", "a", "--extractor", "b"],
            69,
            "none.npz: an npz file expected, no file found",
        ),
        (["import", "bad.npz", "--name", " ", "--extractor", "b"], 2, "--name: a name expected, none found"),
        (["import", "bad.npz", "--name", "a"], 2, "--extractor"),
    ],
)
def test_bad_import_is_refused_and_makes_no_store(run, arguments, code, message):
    np.savez("bad.npz", features=np.ones(3), labels=np.arange(3))
    Path("junk.npz").write_bytes(b"junk")
    found, _, err = run("store", *arguments)
    assert found == code
    assert message in err
    assert not Path("linprobe-store").exists()


@pytest.mark.framework
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--out", "x", "--format", "xls"], 2, "--format xls: no such choice"),
        (["--out", "."], 2, "--out .: a file's path expected, a folder found"),
        (["--out", "linprobe-store/sets/x"], 2, "a path outside the store"),
        ([], 2, "--out"),
    ],
)
def test_bad_export_is_refused(run, extracted, options, code, message):
    key = run("store", "ls", "--json")[1]["sets"][0]["key"]
    found, _, err = run("store", "export", key, *options)
    assert found == code
    assert message in err


@pytest.mark.framework
def test_export_of_what_is_not_there_ends_with_69(run, extracted):
    code, _, err = run("store", "export", "ffff", "--out", "x.npz")
    assert code == 69
    assert "ffff: 0 sets in" in err
