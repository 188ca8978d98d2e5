import pytest

from store import FeatureStore, StoreFormatError
from store.opening import mark_store, remove_empty_store


def test_a_plain_file_is_no_store(tmp_path):
    (tmp_path / "file").write_text("mine")
    for opened in (FeatureStore, FeatureStore.create):
        with pytest.raises(
            StoreFormatError, match="a store's folder expected, a file found; name a folder with --store"
        ):
            opened(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_store_goes_with_all_that_is_disposable(store):
    with store.lock("work", wait=True):
        pass
    (store.path / "cache" / "stat").mkdir()
    assert remove_empty_store(store.path)
    assert not store.path.exists()


def test_a_pool_without_a_row_keeps_no_store(store, corpus):
    corpus.pool.folder.mkdir(parents=True)
    (corpus.pool.folder / "canary.json").write_text("{}")
    assert remove_empty_store(store.path)


def test_a_store_with_a_row_or_a_strangers_file_stays(store, corpus, tree):
    (store.path / "notes.txt").write_text("mine")
    before = tree(store.path)
    assert not remove_empty_store(store.path)
    assert tree(store.path) == before
    (store.path / "notes.txt").unlink()
    corpus.add("a")
    before = tree(store.path)
    assert not remove_empty_store(store.path)
    assert tree(store.path) == before


def test_a_store_that_is_at_work_stays(store):
    with store.lock("work", wait=True):
        assert not remove_empty_store(store.path)
    FeatureStore(store.path)


def test_a_job_that_writes_while_the_store_is_taken_back_keeps_its_mark(store, corpus, monkeypatch):
    import shutil

    real = shutil.rmtree

    def crossing(path, **options):
        corpus.add("a")
        real(path, **options)

    monkeypatch.setattr("store.opening.shutil.rmtree", crossing)
    assert not remove_empty_store(store.path)
    assert len(FeatureStore(store.path).pool(corpus.pool_key).index()) == 1


def test_rows_that_come_after_the_store_was_taken_back_make_it_one_again(store, corpus):
    assert remove_empty_store(store.path)
    corpus.add("a")
    assert len(FeatureStore(store.path).pool(corpus.pool_key).index()) == 1


def test_a_mark_is_made_once(store):
    inode = (store.path / "FORMAT").stat().st_ino
    mark_store(store.path)
    assert (store.path / "FORMAT").stat().st_ino == inode
