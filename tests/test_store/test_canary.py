"""What a pool keeps of its first writer's canary, beside its rows and in no key."""

import logging
import time
from dataclasses import replace

import pytest

from store import DamagedStore, collect_garbage, keep_canary, read_canary, verify_store
from store.documents import read_sealed

SEEN = {"engine": "stub", "pixels_sha256": {"a.png": "0" * 64}, "vectors": {"a.png": "AACAPw=="}}


def test_what_was_kept_first_is_kept(corpus):
    folder = corpus.pool.folder
    assert read_canary(folder) is None
    assert keep_canary(folder, SEEN) == SEEN
    assert keep_canary(folder, SEEN | {"engine": "another"}) == SEEN
    assert read_canary(folder) == SEEN


def test_it_changes_neither_the_pools_name_nor_a_set(corpus):
    before = corpus.pool_key.digest
    keep_canary(corpus.pool.folder, SEEN)
    corpus.add("ab")
    published = corpus.publish("ab")
    assert (corpus.pool.folder.name, published.manifest["pool"]) == (before, before)
    assert verify_store(corpus.store.path, is_deep=True).problems == []


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data.replace(b"stub", b"stab"), lambda data: b""]
)
def test_a_damaged_one_is_found_and_written_anew(corpus, caplog, damage):
    path = corpus.pool.folder / "canary.json"
    keep_canary(corpus.pool.folder, SEEN)
    corpus.add("ab")
    path.write_bytes(damage(path.read_bytes()))
    (problem,) = verify_store(corpus.store.path).problems
    assert (problem.kind, problem.path) == ("pool", f"pools/{corpus.pool.folder.name}/canary.json")
    with caplog.at_level(logging.WARNING):
        assert read_canary(corpus.pool.folder) is None
    assert "It is written anew." in caplog.text
    now = SEEN | {"engine": "now"}
    assert keep_canary(corpus.pool.folder, now) == now
    assert read_sealed(path) == now
    assert verify_store(corpus.store.path).problems == []


def test_a_pool_with_a_canary_and_no_row_is_garbage(corpus):
    other = corpus.store.pool(replace(corpus.pool_key, output="logits"))
    keep_canary(other.folder, SEEN)
    corpus.add("ab")
    corpus.publish("ab")
    keep_canary(corpus.pool.folder, SEEN)
    week = 7 * 86400
    found = collect_garbage(corpus.store.path, time.time() + week)
    assert [garbage.path for garbage in found.removed] == [f"pools/{other.folder.name}"]
    assert not other.folder.exists()
    assert read_canary(corpus.pool.folder) == SEEN


def test_another_pools_folder_is_not_needed_to_look(tmp_path):
    assert read_canary(tmp_path / "no pool yet") is None
    (tmp_path / "canary.json").write_text("{}")
    with pytest.raises(DamagedStore, match=r"canary\.json: a sealed document expected"):
        read_sealed(tmp_path / "canary.json")
