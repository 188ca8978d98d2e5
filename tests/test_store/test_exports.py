import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from store import DamagedStore, export_set, exports, read_features

ROWS = [[2, 2.5, -2], [0, 0.5, 0], [1, 1.5, -1], [3, 3.5, -3]]
IDS = ["c.png", "a.png", "b.png", "d.png"]


@pytest.fixture(params=[1, 3, 4, 4096])
def piecemeal(request, monkeypatch):
    """Rows are written in pieces that end within, at and beyond the set's end."""
    monkeypatch.setattr(exports, "_ROWS", request.param)
    return request.param


def test_parquet_has_lists_of_one_fixed_size_in_row_groups(flowers, corpus, tmp_path, piecemeal):
    path = tmp_path / "new" / "flowers.parquet"
    assert export_set(flowers, path, "parquet") == path.stat().st_size
    file = pyarrow.parquet.ParquetFile(path)
    assert str(file.schema_arrow.field("features").type) == "fixed_size_list<element: float>[3]"
    assert file.num_row_groups == -(-4 // piecemeal)
    table = file.read()
    assert table.column_names == ["example_id", "label", "class_name", "content_sha256", "features"]
    assert table["features"].to_pylist() == ROWS
    assert table["example_id"].to_pylist() == IDS
    assert table["label"].to_pylist() == [0, 1, 0, 0]
    assert table["class_name"].to_pylist() == ["daisy", "tulip", "daisy", "daisy"]
    assert table["content_sha256"].to_pylist() == [corpus.content(c) for c in "cabd"]
    about = file.schema_arrow.metadata
    assert about[b"linprobe.set"].decode() == flowers.key
    assert json.loads(about[b"linprobe.class_names"]) == ["daisy", "tulip"]


def test_csv_reads_back_to_the_same_numbers(flowers, tmp_path, piecemeal):
    export_set(flowers, tmp_path / "flowers.csv", "csv")
    header, *rows = csv.reader((tmp_path / "flowers.csv").read_text().splitlines())
    assert header == ["example_id", "label", "class_name", "f0000", "f0001", "f0002"]
    assert [row[:3] for row in rows] == [
        ["c.png", "0", "daisy"], ["a.png", "1", "tulip"], ["b.png", "0", "daisy"], ["d.png", "0", "daisy"]
    ]  # fmt: skip
    assert [[float(number) for number in row[3:]] for row in rows] == ROWS


def test_csv_spells_every_float_so_that_it_comes_back(corpus, tmp_path):
    numbers = np.random.default_rng(0).normal(size=(1, 500)).astype(np.float32) ** 9
    pool = corpus.store.pool(replace(corpus.pool_key, output="wide"))
    pool.add(numbers, [corpus.content("a")])
    ledger = corpus.ledger("a", ids=['quo"te, comma\nand line'])
    key = replace(corpus.key(ledger), pool=pool.folder.name)
    export_set(corpus.store.publish_set(key, ledger, pool, provenance=corpus.provenance), tmp_path / "a.csv", "csv")
    frame = pd.read_csv(tmp_path / "a.csv", dtype=dict.fromkeys([f"f{n:04d}" for n in range(500)], np.float32))
    np.testing.assert_array_equal(frame.iloc[:, 3:].to_numpy(), numbers)
    assert frame["example_id"].tolist() == ['quo"te, comma\nand line']


def test_npz_has_the_arrays_and_the_same_bytes_each_time(flowers, corpus, tmp_path, piecemeal):
    export_set(flowers, tmp_path / "one.npz", "npz")
    export_set(flowers, tmp_path / "two.npz", "npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
        assert sorted(file) == ["class_names", "content_sha256", "example_ids", "features", "labels"]
        assert file["features"].dtype == np.float32
        assert file["features"].tolist() == ROWS
        assert file["labels"].tolist() == [0, 1, 0, 0]
        assert file["labels"].dtype == np.int64
        assert file["example_ids"].tolist() == IDS
        assert file["class_names"].tolist() == ["daisy", "tulip"]
        assert [c.tobytes() for c in file["content_sha256"]] == [corpus.content(c) for c in "cabd"]


def test_what_is_exported_as_npz_can_be_read_again(flowers, tmp_path):
    export_set(flowers, tmp_path / "flowers.npz", "npz")
    again = read_features(tmp_path / "flowers.npz")
    assert again.features.tolist() == ROWS
    assert again.example_ids == tuple(IDS)
    assert again.contents.tolist() == flowers.content_sha256.tolist()


@pytest.mark.parametrize("export_format", ["parquet", "csv", "npz"])
def test_half_precision_is_exported_as_it_is_stored(store, corpus, tmp_path, export_format):
    pool = store.pool(replace(corpus.pool_key, dtype="float16"))
    pool.add(np.array([[0.1, 2, 3]], np.float32), [corpus.content("a")])
    ledger = corpus.ledger("a")
    key = replace(corpus.key(ledger), pool=pool.folder.name)
    path = tmp_path / f"half.{export_format}"
    export_set(store.publish_set(key, ledger, pool, provenance=corpus.provenance), path, export_format)
    expected = np.array([0.1, 2, 3], np.float16)
    if export_format == "parquet":
        found = pyarrow.parquet.read_table(path)["features"].to_pylist()[0]
    elif export_format == "csv":
        found = pd.read_csv(path).iloc[0, 3:].astype(np.float16).tolist()
    else:
        found = np.load(path)["features"][0].tolist()
    assert found == expected.tolist()


@pytest.mark.parametrize("export_format", ["parquet", "csv", "npz"])
def test_damage_that_is_met_on_the_way_leaves_the_old_file_and_no_temp(flowers, tmp_path, export_format, monkeypatch):
    monkeypatch.setattr(exports, "_ROWS", 1)
    path = tmp_path / "flowers.out"
    path.write_bytes(b"old")
    last = flowers.shard_path(flowers.manifest["segments"][-1][0])
    last.write_bytes(last.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedStore, match=f"{last}: sha256"):
        export_set(flowers, path, export_format)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if p.name != "store"] == ["flowers.out"]


def test_file_that_is_there_is_replaced(flowers, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"old")
    export_set(flowers, tmp_path / "a.csv", "csv")
    assert (tmp_path / "a.csv").read_text().startswith("example_id,")


def test_nothing_is_written_into_the_store(flowers, tree):
    store = flowers.folder.parent.parent
    before = tree(store)
    for path in (flowers.path, store / "x.npz", store / "pools" / ".." / "sets" / "x"):
        with pytest.raises(ValueError, match=r"a path outside the store .* expected"):
            export_set(flowers, path, "npz")
    assert tree(store) == before


def test_unknown_format_is_refused(flowers, tmp_path):
    with pytest.raises(ValueError, match="'xls': one of parquet, csv, npz expected as format"):
        export_set(flowers, tmp_path / "x", "xls")
