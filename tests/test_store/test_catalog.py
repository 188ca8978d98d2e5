import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from store import (
    DamagedStore,
    FeatureSetNotFound,
    FeatureStore,
    StoreBusy,
    StoreError,
    StoreFormatError,
    StoreNotFound,
)

COLUMNS = ["key", "dataset", "split", "extractor", "dim", "rows", "quarantined", "bytes", "created", "is_current"]


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (StoreNotFound, FileNotFoundError), (StoreFormatError, ValueError), (DamagedStore, OSError),
        (FeatureSetNotFound, LookupError), (StoreBusy, TimeoutError),
    ],
)  # fmt: skip
def test_errors_are_store_errors_and_the_builtin_that_one_expects(error, builtin):
    assert issubclass(error, StoreError)
    assert issubclass(error, builtin)


def test_importing_the_store_imports_no_heavy_package():
    code = (
        "import sys, store\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'torch', 'ray', 'openvino', 'tensorflow_datasets',"
        " 'extract', 'probe', 'reports', 'linprobe'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_new_store_holds_its_format_and_nothing_else(tmp_path, tree):
    FeatureStore.create(tmp_path / "deep" / "store")
    assert tree(tmp_path) == {"deep/store/FORMAT": b"linprobe-store 1\n"}
    FeatureStore.create(tmp_path / "deep" / "store")
    assert tree(tmp_path) == {"deep/store/FORMAT": b"linprobe-store 1\n"}


def test_where_nothing_is_the_command_that_makes_a_store_is_named(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(StoreNotFound, match=rf"{path}: no store here; 'linprobe extract --store {path}' makes one"):
            FeatureStore(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["linprobe-store 2\n", "linprobe-store 0", "", "zarr 3"])
@pytest.mark.parametrize("open_store", [FeatureStore, FeatureStore.create])
def test_store_of_another_format_version_is_refused_and_left_as_it_was(tmp_path, tree, text, open_store):
    (tmp_path / "FORMAT").write_text(text)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "x").write_bytes(b"theirs")
    before = tree(tmp_path), sorted(os.listdir(tmp_path)), tmp_path.stat().st_mtime_ns
    message = rf"FORMAT: 'linprobe-store 1' expected, '{text.strip()}' found; use the linprobe that wrote"
    with pytest.raises(StoreFormatError, match=message):
        open_store(tmp_path)
    assert (tree(tmp_path), sorted(os.listdir(tmp_path)), tmp_path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("open_store", [FeatureStore, FeatureStore.create])
def test_folder_of_something_else_is_refused_and_left_as_it_was(tmp_path, tree, open_store):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreFormatError, match="not a store, it has no FORMAT file; name another folder with --store"):
        open_store(tmp_path)
    assert tree(tmp_path) == {"thesis.tex": b"mine"}


def test_file_or_nonsense_in_place_of_a_store_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StoreFormatError, match="a store's folder expected, a file found"):
        FeatureStore(tmp_path / "file")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "FORMAT").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreFormatError, match="a folder with a file FORMAT expected"):
        FeatureStore(tmp_path / "a")
    (tmp_path / "b" / "FORMAT").mkdir(parents=True)
    with pytest.raises(StoreFormatError, match="a folder with a file FORMAT expected"):
        FeatureStore(tmp_path / "b")


def test_temp_file_of_a_crash_while_the_store_was_made_does_not_bar_the_folder(tmp_path):
    (tmp_path / ".tmp-77-abc").write_bytes(b"linprobe")
    with pytest.raises(StoreNotFound, match="no store here"):
        FeatureStore(tmp_path)
    assert FeatureStore.create(tmp_path).catalog().empty


def test_store_that_another_process_makes_between_two_looks_opens(tmp_path, monkeypatch):
    real = Path.read_text

    def read_text(path, **options):
        if not path.exists():  # just missed; and an instant later it is there
            try:
                return real(path, **options)
            finally:
                path.write_text("linprobe-store 1\n")
        return real(path, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert FeatureStore.create(tmp_path).catalog().empty


def test_store_made_by_many_at_once_opens_for_all(tmp_path):
    opened = []
    threads = [
        threading.Thread(target=lambda: opened.append(FeatureStore.create(tmp_path / "store"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert os.listdir(tmp_path / "store") == ["FORMAT"]


def test_catalog_has_exactly_these_columns_and_a_row_per_set(corpus, flowers):
    corpus.publish("ab", split="test")
    catalog = corpus.store.catalog()
    assert list(catalog.columns) == COLUMNS
    assert catalog["split"].tolist() == ["test", "train"]
    train = catalog.iloc[1].to_dict()
    assert train == {
        "key": flowers.key, "dataset": "flowers", "split": "train", "extractor": "toy", "dim": 3, "rows": 4,
        "quarantined": 1, "bytes": 48, "created": pd.Timestamp("2026-01-02T03:04:05Z"), "is_current": True,
    }  # fmt: skip


def test_catalog_of_an_empty_store_has_the_columns(store):
    assert list(store.catalog().columns) == COLUMNS
    assert len(store.catalog()) == 0
    assert list(store.catalog().query("is_current and rows > 0").columns) == COLUMNS


def test_set_that_its_name_has_left_is_not_current(corpus):
    corpus.add("abc")
    first, second = corpus.publish("ab"), corpus.publish("abc")
    current = corpus.store.catalog().set_index("key")["is_current"].to_dict()
    assert current == {first.key: False, second.key: True}


def test_configured_name_goes_before_the_source(corpus):
    corpus.add("ab")
    found = corpus.publish("ab", name="flowers")
    corpus.store.name_set("folder:/data/flowers", "train", "toy", key=found.key, created="2026-01-02T03:04:05Z")
    assert corpus.store.catalog()["dataset"].tolist() == ["flowers"]
    assert corpus.store.get("folder:/data/flowers", "train", "toy").key == found.key
    assert corpus.store.splits("flowers", "toy") == ["train"]


def test_set_is_got_by_name_key_and_prefix(corpus, flowers):
    store = corpus.store
    assert store.get(dataset="flowers", split="train", extractor="toy").key == flowers.key
    assert store.get(key=flowers.key).key == flowers.key
    assert store.get(key=flowers.key[:10]).key == flowers.key


def test_name_that_nothing_answers_to_lists_what_there_is(corpus, flowers):
    with pytest.raises(
        FeatureSetNotFound, match=r"flowers / test / toy: no such set in .*; sets here: flowers / train"
    ):
        corpus.store.get("flowers", "test", "toy")
    with pytest.raises(FeatureSetNotFound, match="dataset, split and extractor name a set together; or give key"):
        corpus.store.get("flowers", "train")


@pytest.mark.parametrize("key", ["", "zz", "..", "../sets", "*", "[0-9]*"])
def test_key_that_nothing_answers_to_is_not_found(corpus, flowers, key):
    with pytest.raises(FeatureSetNotFound, match=r"0 sets in .* have this key or begin so, one expected"):
        corpus.store.get(key=key)
    assert not corpus.store.has_set(key)


def test_name_of_a_set_that_was_removed_says_so(corpus, flowers):
    flowers.folder.rename(corpus.store.path / "away")
    with pytest.raises(FeatureSetNotFound, match=f"flowers / train / toy: its set {flowers.key} is not in .*; extract"):
        corpus.store.get("flowers", "train", "toy")


def test_set_that_is_not_there_any_more_cannot_be_named(store):
    with pytest.raises(StoreBusy, match=r"sets/0{64}: taken away by 'linprobe store gc' meanwhile; run it again"):
        store.name_set("flowers", "train", "toy", key="0" * 64, created="2026-01-01T00:00:00Z")


def test_set_of_another_writer_is_durable_before_it_is_named(corpus, flowers, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    corpus.store.name_set("birds", "train", "toy", key=flowers.key, created="2026-01-01T00:00:00Z")
    assert synced[0] == str(corpus.store.path / "sets")
    assert any("/aliases/" in path for path in synced[1:])


@pytest.mark.parametrize("part", ["manifest.json", "provenance.json", "set.json"])
def test_damaged_set_hides_no_other_from_the_catalog_and_is_logged(corpus, flowers, part, caplog):
    other = corpus.publish("ab", name="trees")
    (flowers.folder / part).write_bytes(b"junk")
    assert corpus.store.catalog()["key"].tolist() == [other.key]
    assert f"{flowers.key}/{part}: " in caplog.text
    assert "The set is left out." in caplog.text
    with pytest.raises(DamagedStore, match=f"{flowers.key}/{part}: "):
        corpus.store.get("flowers", "train", "toy").verify()


def test_damaged_name_hides_no_other_from_the_catalog_and_is_logged(corpus, flowers, caplog):
    other = corpus.publish("ab", name="trees")
    (entry,) = [p for p in corpus.store.path.glob("aliases/*/1.json") if b"flowers" in p.read_bytes()]
    entry.write_bytes(b"junk")
    catalog = corpus.store.catalog().set_index("key")
    assert catalog.loc[flowers.key, "is_current"] == False  # noqa: E712
    assert catalog.loc[other.key, "is_current"] == True  # noqa: E712
    assert f"{entry}: a sealed document expected" in caplog.text
    with pytest.raises(DamagedStore, match="a sealed document expected"):
        corpus.store.get("flowers", "train", "toy")


def test_unreadable_folder_of_sets_is_not_taken_for_an_empty_one(corpus, flowers, monkeypatch):
    def deny(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", deny)
    monkeypatch.setattr(Path, "lstat", deny)
    for read in (corpus.store.catalog, lambda: corpus.store.has_set(flowers.key), lambda: list(corpus.store.sets())):
        with pytest.raises(PermissionError, match="Permission denied"):
            read()


def test_lock_that_is_held_is_busy_at_once_and_free_afterwards(store):
    other = FeatureStore(store.path)
    with store.lock("extract tfds:cats/../../x", wait=False):
        code = (
            "import sys; from store import FeatureStore, StoreBusy\n"
            "try:\n"
            "    with FeatureStore(sys.argv[1]).lock('extract tfds:cats/../../x', wait=False): print('got it')\n"
            "except StoreBusy as error: print(error)"
        )
        found = subprocess.run([sys.executable, "-c", code, str(store.path)], capture_output=True, text=True).stdout
        assert found.startswith("extract tfds:cats/../../x: held by another process (")
        with other.lock("another", wait=False):
            pass
    with other.lock("extract tfds:cats/../../x", wait=False):
        pass
    assert sorted(os.listdir(store.path)) == ["FORMAT", "cache"]
