import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from store import LEDGER_COLUMNS, DamagedStore, Features, FeatureSet, FeatureStore, Pool, SetKey, StoreBusy
from store.documents import seal

# What `flowers` holds: c, a, b, d. The fourth candidate, x, is quarantined; labels alternate by place.
ROWS = [[2, 2.5, -2], [0, 0.5, 0], [1, 1.5, -1], [3, 3.5, -3]]
IDS = ["c.png", "a.png", "b.png", "d.png"]
LABELS = [0, 1, 0, 0]
PLAIN_READER = """
import json, sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    print(json.dumps({
        "features": file["features"][()].tolist(),
        "labels": file["labels"][()].tolist(),
        "example_ids": [text.decode("utf-8") for text in file["example_ids"][()]],
        "content_sha256": [row.tobytes().hex() for row in file["content_sha256"][()]],
    }))
assert "store" not in sys.modules
"""


def read_plainly(path, cwd):
    """Read a features.h5 as any h5py user would, in a process of its own that knows no `store`."""
    command = [sys.executable, "-I", "-c", PLAIN_READER, str(path)]
    return json.loads(subprocess.run(command, cwd=cwd, capture_output=True, check=True, text=True).stdout)


def test_set_gives_back_rows_ids_labels_and_contents_in_the_order_of_the_source(flowers, corpus):
    assert isinstance(flowers.features, Features)
    assert flowers.features[:].tolist() == ROWS
    assert flowers.example_ids.tolist() == IDS
    assert flowers.labels.dtype == np.int64
    assert flowers.labels.tolist() == LABELS
    assert [row.tobytes() for row in flowers.content_sha256] == [corpus.content(letter) for letter in "cabd"]
    assert flowers.class_names == ["daisy", "tulip"]
    assert (flowers.split, flowers.candidates) == ("train", 5)
    assert flowers.provenance == corpus.provenance
    assert flowers.key == flowers.folder.name
    assert flowers.path == flowers.folder / "features.h5"
    assert repr(flowers) == f"<FeatureSet {flowers.key[:12]}: flowers train, 4 x 3>"


def test_plain_h5py_in_another_folder_reads_the_same_rows_ids_and_labels(flowers, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = read_plainly(flowers.path, elsewhere)
    assert found["features"] == flowers.features[:].tolist() == ROWS
    assert found["labels"] == flowers.labels.tolist()
    assert found["example_ids"] == flowers.example_ids.tolist()
    assert found["content_sha256"] == [row.tobytes().hex() for row in flowers.content_sha256]


def test_moved_store_still_reads_also_by_plain_h5py(flowers, store, tmp_path):
    key = flowers.key
    (tmp_path / "deep").mkdir()
    moved = store.path.rename(tmp_path / "deep" / "moved")
    found = FeatureStore(moved).get(key=key)
    assert found.features[:].tolist() == ROWS
    assert read_plainly(found.path, tmp_path)["features"] == ROWS


def test_store_opened_by_a_relative_path_reads_after_the_working_folder_changed(flowers, store, tmp_path, monkeypatch):
    monkeypatch.chdir(store.path.parent)
    found = FeatureStore("store").get(key=flowers.key)
    monkeypatch.chdir("/")
    assert found.features[:].tolist() == ROWS
    assert found.labels.tolist() == LABELS


def test_missing_shard_is_nan_to_plain_h5py_and_an_error_here(flowers, corpus, tmp_path):
    lost = flowers.manifest["segments"][-1][0]
    corpus.pool.shard_path(lost).unlink()
    found = np.array(read_plainly(flowers.path, tmp_path)["features"])
    assert np.isnan(found[3]).all()
    assert found[:3].tolist() == ROWS[:3]
    with h5py.File(flowers.path) as file:
        assert np.isnan(file["features"].fillvalue)
    fresh = FeatureSet(flowers.folder)
    assert fresh.features[:3].tolist() == ROWS[:3]  # these lie in the other shard
    with pytest.raises(DamagedStore, match=rf"{lost}\.h5: sha256 {lost} expected, no file found; run the extract"):
        fresh.features[3]


def test_scattered_rows_take_one_mapping_for_each_rising_run(corpus):
    letters = "abcdefghijklmnopqrstuvwx"
    corpus.add(letters)
    chosen = letters[::2] + letters[1::2]  # 24 segments of one row, twice rising through the shard
    found = corpus.publish(chosen)
    assert len(found.manifest["segments"]) == 24
    with h5py.File(found.path) as file:
        assert len(file["features"].virtual_sources()) == 2
        np.testing.assert_array_equal(file["features"][()], corpus.features(chosen))
    np.testing.assert_array_equal(found.features[:], corpus.features(chosen))


def test_no_hdf5_file_holds_the_time_at_which_it_was_written(corpus):
    # Else equal sets would differ in a byte, from one second to the next.
    began = int(time.time())
    corpus.add("abcd")
    found = corpus.publish("cabd")
    moments = [moment.to_bytes(4, "little") for moment in range(began, int(time.time()) + 1)]
    for path in (found.path, *corpus.pool.folder.glob("shards/*.h5")):
        data = path.read_bytes()
        assert not [moment for moment in moments if moment in data]


def test_two_images_of_equal_content_share_a_row(corpus):
    corpus.add("ab")
    ledger = corpus.ledger("aba", ids=["1.png", "2.png", "3.png"])
    found = corpus.store.publish_set(corpus.key(ledger), ledger, corpus.pool, provenance=corpus.provenance)
    assert found.features[:].tolist() == [[0, 0.5, 0], [1, 1.5, -1], [0, 0.5, 0]]
    with h5py.File(found.path) as file:
        assert file["features"][()].tolist() == found.features[:].tolist()


def test_frame_has_ids_labels_names_and_features_in_one_block(flowers):
    frame = flowers.to_frame()
    assert list(frame.columns) == ["example_id", "label", "class_name", "f0000", "f0001", "f0002"]
    assert frame["example_id"].tolist() == IDS
    assert frame["class_name"].tolist() == ["daisy", "tulip", "daisy", "daisy"]
    assert frame.iloc[:, 3:].to_numpy().tolist() == ROWS
    floats = [block for block in frame._mgr.blocks if block.dtype == np.float32]
    assert [block.shape for block in floats] == [(3, 4)]
    frame.iloc[0, 3] = 7  # a frame of the caller's own, though the features are mapped read-only
    assert flowers.features[0, 0] == 2


def test_ledger_has_a_row_for_every_candidate(flowers):
    ledger = flowers.ledger()
    assert tuple(ledger.columns) == LEDGER_COLUMNS
    assert ledger["example_id"].tolist() == ["c.png", "a.png", "b.png", "x.png", "d.png"]
    assert ledger["status"].tolist() == ["ok", "ok", "ok", "quarantined", "ok"]
    assert ledger["reason"].tolist() == ["", "", "", "truncated", ""]


@pytest.mark.parametrize("name", ["features", "labels", "example_ids", "content_sha256"])
def test_arrays_are_read_only(flowers, name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(flowers, name)[:1][...] = getattr(flowers, name)[1]


@pytest.mark.parametrize(
    "ids", [["é.png", "日本/犬.png"], ["", "x"], ["a" * 4096, "b"], ["sp ace/../..", "/abs"], ["e\u0301", "\u00e9"]]
)
def test_ids_come_back_letter_for_letter(corpus, ids):
    corpus.add("ab")
    ledger = corpus.ledger("ab", ids=ids)
    found = corpus.store.publish_set(corpus.key(ledger), ledger, corpus.pool, provenance=corpus.provenance)
    assert found.example_ids.tolist() == ids
    assert found.ledger()["example_id"].tolist() == ids


def changed(ledger, column, at, value):
    ledger = ledger.copy()
    ledger.loc[at, column] = value
    return ledger


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: changed(x, "example_id", 1, "a\0"), r"b'a\\x00': an example id of at most 4096 bytes without NUL"),
        (lambda x: changed(x, "example_id", 1, "b" * 4097), r"one of 4097 bytes found"),
        (lambda x: changed(x, "example_id", 1, "a.png"), r"'a.png': each example id once expected, found again"),
        (lambda x: changed(x, "label", 1, 2), r"labels 0 to 1 expected, 0 to 2 found"),
        (lambda x: changed(x, "label", 1, -1), r"labels 0 to 1 expected, -1 to 0 found"),
        (lambda x: changed(x, "status", 1, "fine"), r"status ok or quarantined expected, \['fine', 'ok'\] found"),
        (lambda x: changed(x, "status", slice(None), "quarantined"), r"2 candidates and a row at least.*2 and 0 given"),
        (lambda x: x.iloc[:1], r"2 candidates and a row at least expected, 1 and 1 given"),
    ],
)
def test_table_that_a_set_cannot_hold_is_refused_and_nothing_published(corpus, change, message):
    corpus.add("ab")
    ledger = corpus.ledger("ab")
    with pytest.raises(ValueError, match=message):
        corpus.store.publish_set(corpus.key(ledger), change(ledger), corpus.pool, provenance=corpus.provenance)
    assert list(corpus.store.sets()) == []


def test_row_that_the_pool_has_no_more_is_asked_for_again(corpus):
    corpus.add("ab")
    ledger = corpus.ledger("ab")
    with pytest.raises(StoreBusy, match=rf"b.png: a row for {'9' * 64} expected in the pool, none found"):
        corpus.store.publish_set(
            corpus.key(ledger),
            changed(ledger, "content_sha256", 1, "9" * 64),
            corpus.pool,
            provenance=corpus.provenance,
        )
    assert list(corpus.store.sets()) == []


def test_shards_of_two_widths_are_refused_naming_both(corpus):
    first = corpus.add("a")
    second = corpus.pool.add(np.ones((1, 5), np.float32), [corpus.content("b")])
    with pytest.raises(DamagedStore, match=rf"{second}\.h5: 3 columns .* as in {first}\.h5, 5 of float32 found"):
        corpus.publish("ab")


def test_set_is_published_once_and_equal_names_are_equal_sets(flowers, corpus, tree):
    before = tree(flowers.folder)
    corpus.provenance = replace(corpus.provenance, host="another")
    assert corpus.publish("cabxd", quarantined="x").key == flowers.key
    assert tree(flowers.folder) == before


def test_half_precision_set_reads_as_such(store, corpus):
    corpus.pool_key = replace(corpus.pool_key, dtype="float16")
    corpus.pool = store.pool(corpus.pool_key)
    corpus.pool.add(np.array([[0.5, 2]], np.float16), [corpus.content("a")])
    found = corpus.publish("a")
    assert found.features.dtype == np.float16
    with h5py.File(found.path) as file:
        assert file["features"].dtype == np.float16
        assert np.isnan(file["features"].fillvalue)
        assert file["features"][()].tolist() == [[0.5, 2.0]]


def test_shards_of_other_writers_are_durable_before_the_set_is(corpus, monkeypatch):
    import os

    other = Pool(corpus.pool.folder, corpus.pool_key)
    corpus.add("ab")
    events = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda d: (events.append(os.readlink(f"/proc/self/fd/{d}")), fsync(d))[1])
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append("rename"), rename(a, b))[1])
    ledger = corpus.ledger("ab")
    corpus.store.publish_set(corpus.key(ledger), ledger, other, provenance=corpus.provenance)
    assert events.index(str(corpus.pool.folder / "shards")) < events.index("rename")


PARTS = ["set.json", "features.h5", "ledger.parquet", "provenance.json", "manifest.json"]


def flip(path, at=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


def harm(path, how):
    if how == "flipped":
        flip(path)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
@pytest.mark.parametrize("part", PARTS)
def test_damaged_part_is_found_and_publishing_again_moves_the_damaged_set_aside(flowers, corpus, part, how, caplog):
    harm(flowers.folder / part, how)
    with pytest.raises(DamagedStore, match=rf"{part}: .*run the extract or probe that made it again"):
        FeatureSet(flowers.folder).verify()
    assert not corpus.store.has_set(flowers.key)
    assert part in caplog.text
    again = corpus.publish("cabxd", quarantined="x")
    assert again.key == flowers.key
    assert again.features[:].tolist() == ROWS
    assert corpus.store.has_set(flowers.key)
    aside = [p for p in flowers.folder.parent.iterdir() if p.name.startswith(f".damaged-{flowers.key}-")]
    assert len(aside) == 1
    assert [features.key for features in corpus.store.sets()] == [flowers.key]


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ("features.h5", lambda s: s.labels),
        ("features.h5", lambda s: s.example_ids),
        ("set.json", lambda s: s.class_names),
        ("provenance.json", lambda s: s.provenance),
        ("ledger.parquet", lambda s: s.ledger()),
    ],
)
def test_damaged_part_is_never_read_from(flowers, part, read):
    fresh = FeatureSet(flowers.folder)
    flip(flowers.folder / part)
    with pytest.raises(DamagedStore, match=rf"{part}: sha256 [0-9a-f]{{64}} expected, [0-9a-f]{{64}} found"):
        read(fresh)


def test_damaged_shard_makes_its_sets_unsound_and_computing_its_rows_again_mends_them(flowers, corpus):
    lost = flowers.manifest["segments"][0][0]
    flip(corpus.pool.shard_path(lost))
    with pytest.raises(DamagedStore, match=rf"{lost}\.h5: sha256 {lost} expected"):
        FeatureSet(flowers.folder).features[0]
    assert not corpus.store.has_set(flowers.key)
    corpus.pool = corpus.store.pool(corpus.pool_key)
    assert set(corpus.pool.index()) == {corpus.content("d")}
    assert corpus.add("abc") == lost
    assert corpus.store.has_set(flowers.key)
    assert FeatureSet(flowers.folder).features[:].tolist() == ROWS


def test_set_whose_shard_comes_back_with_other_low_bits_is_published_anew(flowers, corpus):
    lost = flowers.manifest["segments"][0][0]
    corpus.pool.shard_path(lost).unlink()
    corpus.pool = corpus.store.pool(corpus.pool_key)
    rows = np.nextafter(corpus.features("abc"), np.float32(9), dtype=np.float32)
    assert corpus.pool.add(rows, [corpus.content(letter) for letter in "abc"]) != lost
    again = corpus.publish("cabxd", quarantined="x")
    assert again.key == flowers.key
    assert corpus.store.has_set(again.key)
    np.testing.assert_array_equal(again.features[:3], rows[[2, 0, 1]])


def test_manifest_copied_from_another_set_is_refused(flowers, corpus):
    other = corpus.publish("ab", split="test")
    shutil.copy(other.folder / "manifest.json", flowers.folder / "manifest.json")
    with pytest.raises(DamagedStore, match=f"set {flowers.key} expected, {other.key} found"):
        FeatureSet(flowers.folder)


@pytest.mark.parametrize("name", ["../../secret", "", "A" * 64, "0" * 63])
def test_manifest_that_names_paths_is_refused(flowers, name):
    manifest = {**flowers.manifest, "segments": [[name, 0, 4]]}
    (flowers.folder / "manifest.json").write_bytes(seal(manifest))
    with pytest.raises(DamagedStore, match="digests expected as names of pool and shards"):
        FeatureSet(flowers.folder)


def test_segment_past_the_end_of_its_shard_is_refused(flowers):
    shard = flowers.manifest["segments"][0][0]
    manifest = {**flowers.manifest, "segments": [[shard, 2, 4]]}
    (flowers.folder / "manifest.json").write_bytes(seal(manifest))
    with pytest.raises(DamagedStore, match=r"\(6 or more, 3\) float32 expected, \(3, 3\) float32 found"):
        FeatureSet(flowers.folder).features[:]


def test_document_of_another_set_is_refused_even_if_the_manifest_vouches_for_it(flowers):
    import hashlib

    other = seal(SetKey(flowers.manifest["pool"], "test", ("x",), 5, "0" * 64).document())
    (flowers.folder / "set.json").write_bytes(other)
    parts = {**flowers.manifest["parts"], "set.json": hashlib.sha256(other).hexdigest()}
    (flowers.folder / "manifest.json").write_bytes(seal({**flowers.manifest, "parts": parts}))
    with pytest.raises(DamagedStore, match=r"set\.json: another set's document"):
        FeatureSet(flowers.folder).verify()


def test_set_reached_through_a_symbolic_link_to_the_store_reads(flowers, store, tmp_path):
    (tmp_path / "link").symlink_to(store.path)
    found = FeatureStore(tmp_path / "link").get(key=flowers.key)
    assert found.features[:].tolist() == ROWS
    assert read_plainly(found.path, "/")["features"] == ROWS


def test_torch_and_pandas_take_the_features_as_documented(flowers):
    own = np.array(flowers.features)
    assert own.flags.writeable
    assert own.flags.c_contiguous
    assert pd.DataFrame(flowers.features[:]).shape == (4, 3)


def test_manifest_that_names_files_elsewhere_is_refused(flowers):
    manifest = {**flowers.manifest, "parts": {**flowers.manifest["parts"], "../../../etc/passwd": "0" * 64}}
    (flowers.folder / "manifest.json").write_bytes(seal(manifest))
    with pytest.raises(DamagedStore, match=r"parts set.json, .* expected.*, \.\./\.\./\.\./etc/passwd, "):
        FeatureSet(flowers.folder)
