"""A store that the first version wrote is read by every later one, number for number.

The store is kept in data/, with the numbers that were handed in when it was made; data/make_format_1.py says how.
If a test here fails, the reader is wrong, never the file: other people have stores like it.
"""

import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from store import FeatureSetNotFound, FeatureStore, GarbageRule, collect_garbage, verify_store

DATA = Path(__file__).parent / "data"
# name of the numbers → set key, and what names it
SETS = {
    "first": (
        "419cd1f39650a9dc3775a6a56d5e43f1461509a85a6116f86a0312179d29cf85",
        ("flowers", "train", "toy"),
        "2026-01-31",
    ),
    "second": ("a4c555a9e7e5102b031382fabcbec641e18a3baa1e212583d4fac46bcf932574", ("flowers", "train", "toy"), None),
    "test": ("a444a63070471127cf4a17ad1c81a9f9582cb39438532045597fc54fad04fc02", ("flowers", "test", "toy"), None),
    "half": (
        "0fdf63f39e62a0e1d1148770002f751d717570c2ea11b55e748375246d83a069",
        ("flowers", "train", "toy half"),
        None,
    ),
    "import": ("47517bd75bb3e4715550136658e6a450fd19d50b8e2d425ebea611a88169aa47", ("elsewhere", "all", "clip"), None),
}
RUN = "ab12" * 16


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    path = tmp_path_factory.mktemp("format-1") / "store"
    with tarfile.open(DATA / "format-1.tar.gz") as archive:
        archive.extractall(path, filter="data")
    return path


@pytest.fixture
def fs(unpacked):
    return FeatureStore(unpacked)


@pytest.fixture(scope="module")
def expected():
    with np.load(DATA / "format-1.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", SETS)
def test_sets_have_their_numbers_ids_labels_and_contents(fs, expected, name):
    key, named, as_of = SETS[name]
    found = fs.get(*named, as_of=as_of)
    assert found.key == key
    assert fs.get(key=key).path == found.path
    features = expected[f"{name}.features"]
    assert found.features.dtype == features.dtype
    np.testing.assert_array_equal(np.asarray(found.features), features)
    assert found.labels.tolist() == expected[f"{name}.labels"].tolist()
    assert found.example_ids.tolist() == expected[f"{name}.ids"].tolist()
    if name != "import":
        np.testing.assert_array_equal(found.content_sha256, expected[f"{name}.content"])
        assert found.class_names == ["Gänseblümchen", "tulip"]
    found.verify()


@pytest.mark.parametrize("name", SETS)
def test_plain_h5py_reads_the_same(fs, expected, name):
    with h5py.File(fs.get(key=SETS[name][0]).path, "r", locking=False) as file:
        np.testing.assert_array_equal(file["features"][()], expected[f"{name}.features"])
        assert file["example_ids"].asstr()[()].tolist() == expected[f"{name}.ids"].tolist()


def test_a_quarantined_image_stands_in_the_ledger_with_its_reason(fs):
    found = fs.get(key=SETS["first"][0])
    ledger = found.ledger()
    assert ledger["status"].tolist() == ["ok"] * 4 + ["quarantined"]
    assert ledger["reason"].tolist() == [""] * 4 + ["truncated file"]
    assert ledger["group"].tolist() == ["", "patient 1", "", "patient 1", ""]
    assert ledger["width"].tolist() == [64, 65, 66, 67, 68]
    assert (found.candidates, len(found.labels)) == (5, 4)
    provenance = found.provenance
    assert (provenance.source, provenance.seconds, provenance.versions) == ("folder:/data/flowers", 1.5, {"numpy": "2"})


def test_an_import_keeps_its_class_names(fs):
    assert fs.get("elsewhere", "all", "clip").class_names == ["x", "y", "z"]


def test_names_have_their_history(fs):
    assert fs.get("flowers", "train", "toy", as_of="2026-02-03").key == SETS["first"][0]
    assert fs.get("flowers", "train", "toy", as_of="2026-02-04").key == SETS["second"][0]
    with pytest.raises(FeatureSetNotFound, match="no such set as of 2026-01-01"):
        fs.get("flowers", "train", "toy", as_of="2026-01-01")
    assert fs.get("an old name", "train", "toy", as_of="2026-01-31").key == SETS["first"][0]
    with pytest.raises(FeatureSetNotFound, match="an old name / train / toy"):
        fs.get("an old name", "train", "toy")
    assert fs.splits("flowers", "toy") == ["test", "train"]
    assert len(fs.catalog()) == len(SETS)


def test_the_run_is_whole(fs, expected):
    run = fs.run(RUN)
    assert run.metrics == {"accuracy": 0.5, "accuracy_low": 0.0945, "accuracy_high": 0.9055, "nll": 0.5431}
    assert run.config["sets"] == {"train": SETS["second"][0], "test": SETS["test"][0]}
    assert run.selection["table"] == [{"C": 0.1, "accuracy": 0.5}]
    assert run.class_names == ("Gänseblümchen", "tulip")
    assert run.curves["loss"].tolist() == [0.7, 0.5]
    assert run.warnings == ("two test pictures only",)
    predictions = fs.predictions("flowers/toy/logistic")
    assert predictions["example_id"].tolist() == ["0.jpg", "3.jpg"]
    assert predictions["label_probability"].tolist() == [0.9, 0.375]
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(run.head[name], expected[f"run.{name}"])
    assert fs.results()["run_id"].tolist() == [RUN]


def test_it_verifies_at_depth_and_gc_finds_nothing_to_remove(unpacked):
    found = verify_store(unpacked, is_deep=True)
    assert found.problems == []
    assert found.notes == []
    assert {name: found.counts[name] for name in ("pools", "shards", "sets", "names", "runs")} == {
        "pools": 3, "shards": 4, "sets": 5, "names": 5, "runs": 1,
    }  # fmt: skip
    # The first set has lost its name in 2026-02; as long as that is in the period, it stays.
    moment = 1772000000.0  # 2026-02-25
    assert collect_garbage(unpacked, moment, GarbageRule(), is_dry_run=True).removed == []


def test_it_can_be_written_on(unpacked, expected):
    """What a later version adds stands beside what the first has written: the same rows give the same names."""
    fs = FeatureStore(unpacked)
    pool = fs.pool(fs.pool_key(fs.get("flowers", "test", "toy").manifest["pool"]))
    contents = [content.tobytes() for content in expected["first.content"]]
    before = sorted(unpacked.glob("pools/*/shards/*"))
    assert set(contents) <= set(pool.index())
    pool.add(expected["first.features"], contents)
    assert sorted(unpacked.glob("pools/*/shards/*")) == before
