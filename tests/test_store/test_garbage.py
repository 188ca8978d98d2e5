import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from store import FeatureSetNotFound, GarbageRule, Pool, StoreBusy, collect_garbage, verify_store
from store import garbage as garbage_module
from store import shards as shards_module
from store.errors import MissingFile
from store.shards import open_shard

DAY = 86400.0
# `CREATED` of conftest, and long after.
MADE = 1767323045.0
NOW = MADE + 100 * DAY
OLD = "2026-01-02T03:04:05Z"


def age(folder, moment=MADE):
    """Makes everything below a folder as old as the store's own time says."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (moment, moment), follow_symlinks=False)


def collect(corpus, now=NOW, **options):
    return collect_garbage(corpus.store.path, now, **options)


def kinds(found):
    return sorted(g.kind for g in found.removed)


def publish_named(corpus, letters, created, name="flowers"):
    """Publishes a set that was made and named at a moment."""
    ledger = corpus.ledger(letters)
    key = corpus.key(ledger)
    provenance = replace(corpus.provenance, created=created)
    found = corpus.store.publish_set(key, ledger, corpus.pool, provenance=provenance)
    corpus.store.name_set(name, "train", "toy", key=key.digest, created=created)
    return found


@pytest.fixture
def aged(corpus, flowers):
    """`flowers`, old, and current."""
    age(corpus.store.path)
    return flowers


def test_nothing_goes_of_a_store_whose_rows_are_all_needed(corpus, aged, tree):
    before = tree(corpus.store.path)
    found = collect(corpus)
    assert (found.removed, found.restored, found.hindrances) == ([], [], [])
    assert tree(corpus.store.path) == before


def test_shard_without_a_needed_row_goes_after_its_grace_and_a_partly_needed_one_stays(corpus, aged):
    lost = corpus.pool.shard_path(corpus.add("xyz"))
    partly = corpus.pool.shard_path(corpus.add("pq"))
    corpus.publish("cabd", name="all")
    publish_named(corpus, "q", OLD, name="one")
    age(corpus.store.path)
    assert kinds(collect(corpus, now=MADE + 0.9 * DAY)) == []
    found = collect(corpus, now=MADE + 1.1 * DAY)
    assert [(g.kind, g.path) for g in found.removed] == [("shard", lost.relative_to(corpus.store.path).as_posix())]
    assert not lost.exists()
    assert partly.exists()
    assert verify_store(corpus.store.path, is_deep=True).is_sound


def test_young_shard_stays_as_a_running_job_may_be_about_to_refer_to_it(corpus, aged):
    path = corpus.pool.shard_path(corpus.add("xyz"))
    os.utime(path, (NOW - 3600, NOW - 3600))
    assert kinds(collect(corpus)) == []
    assert path.exists()
    assert kinds(collect(corpus, rule=GarbageRule(grace_hours=0.5))) == ["shard"]


def test_dry_run_lists_the_same_with_sizes_and_changes_nothing(corpus, aged, tree):
    corpus.add("xyz")
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z")
    corpus.publish("cabxd", quarantined="x", name="again")  # flowers goes on under another name
    publish_named(corpus, "abc", "2026-01-04T00:00:00Z")
    (corpus.store.path / "sets" / ".tmp-1-x").mkdir()
    age(corpus.store.path)
    before = tree(corpus.store.path)
    told = collect(corpus, is_dry_run=True)
    assert tree(corpus.store.path) == before
    assert kinds(told) == ["name", "set", "shard", "temp"]
    shard = next(g for g in told.removed if g.kind == "shard")
    assert shard.bytes == (corpus.store.path / shard.path).stat().st_size
    assert told.document()["bytes"] == sum(g.bytes for g in told.removed)
    assert collect(corpus).document() == told.document()
    assert collect(corpus).removed == []


def test_set_goes_when_its_name_has_long_meant_another_and_as_of_works_within_the_period(corpus, aged):
    newer = publish_named(corpus, "ab", "2026-02-01T00:00:00Z")
    age(corpus.store.path)
    since = 1769904000.0  # 2026-02-01T00:00:00Z, when `flowers` lost its name
    assert kinds(collect(corpus, now=since + 29 * DAY)) == []
    assert corpus.store.get("flowers", "train", "toy", as_of="2026-01-31").key == aged.key
    found = collect(corpus, now=since + 31 * DAY)
    assert kinds(found) == ["name", "set", "shard"]  # the shard of d, too: nobody needs it now
    with pytest.raises(FeatureSetNotFound, match="no such set as of 2026-01-31"):
        corpus.store.get("flowers", "train", "toy", as_of="2026-01-31")
    assert corpus.store.get("flowers", "train", "toy").key == newer.key
    assert verify_store(corpus.store.path, is_deep=True).is_sound


def test_set_whose_name_has_ended_is_an_old_one(corpus, aged):
    assert corpus.store.end_name("flowers", "train", "toy", created="2026-02-01T00:00:00Z")
    age(corpus.store.path)
    since = 1769904000.0  # 2026-02-01T00:00:00Z
    assert kinds(collect(corpus, now=since + 29 * DAY)) == []
    assert corpus.store.get("flowers", "train", "toy", as_of="2026-01-31").key == aged.key
    assert "set" in kinds(collect(corpus, now=since + 31 * DAY))
    assert corpus.store.splits("flowers", "toy") == []
    assert corpus.store.catalog().empty
    assert verify_store(corpus.store.path, is_deep=True).is_sound


def test_set_that_was_never_named_goes_when_it_is_old(corpus, aged):
    ledger = corpus.ledger("ab")
    corpus.store.publish_set(corpus.key(ledger), ledger, corpus.pool, provenance=corpus.provenance)
    age(corpus.store.path)
    assert kinds(collect(corpus, now=MADE + 29 * DAY)) == []
    assert kinds(collect(corpus, now=MADE + 31 * DAY)) == ["set"]


def test_set_that_was_copied_here_lately_stays_whatever_it_says_of_itself(corpus, aged):
    ledger = corpus.ledger("ab")
    found = corpus.store.publish_set(corpus.key(ledger), ledger, corpus.pool, provenance=corpus.provenance)
    age(found.folder, NOW - DAY)
    assert kinds(collect(corpus)) == []


def test_sets_that_a_run_used_stay(corpus, aged, probe_result):
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z")
    corpus.store.publish_run(replace(probe_result, config={**probe_result.config, "sets": {"train": aged.key}}))
    age(corpus.store.path)
    assert kinds(collect(corpus)) == []
    assert corpus.store.get(key=aged.key).features[:].tolist() == corpus.features("cabd").tolist()


def test_sets_of_views_that_a_run_used_stay(corpus, aged, probe_result):
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z")
    views = [{"train": "0" * 64}, {"train": aged.key}]
    corpus.store.publish_run(replace(probe_result, config={**probe_result.config, "sets": {}, "view_sets": views}))
    age(corpus.store.path)
    assert kinds(collect(corpus)) == []


def test_name_given_again_keeps_its_set(corpus, aged):
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z")
    corpus.store.name_set("flowers", "train", "toy", key=aged.key, created="2026-01-04T00:00:00Z")
    age(corpus.store.path)
    found = collect(corpus)
    assert kinds(found) == ["name", "set"]
    assert corpus.store.get("flowers", "train", "toy").key == aged.key


def test_old_leftovers_of_killed_and_fixed_writers_go_everywhere_and_young_ones_stay(corpus, aged):
    root = corpus.store.path
    places = [root, root / "sets", root / "runs", root / "pools", corpus.pool.folder, corpus.pool.folder / "shards"]
    places += [aged.folder.parent.parent / "aliases", next((root / "aliases").iterdir()), root / "cache"]
    for folder in places:
        folder.mkdir(exist_ok=True)
        (folder / ".tmp-1-old").write_bytes(b"12345")
        (folder / ".damaged-2-old").mkdir()
        (folder / ".damaged-2-old" / "part").write_bytes(b"123")
    age(root)
    (root / "sets" / ".tmp-3-young").mkdir()
    (root / "sets" / ".tmp-4-busy").mkdir()
    os.utime(root / "sets" / ".tmp-4-busy", (MADE, MADE))
    (root / "sets" / ".tmp-4-busy" / "features.h5").write_bytes(b"being written")
    found = collect(corpus, now=time.time())
    assert kinds(found) == ["damaged"] * len(places) + ["temp"] * len(places)
    assert sum(g.bytes for g in found.removed) == 8 * len(places)
    assert sorted(p.name for p in root.rglob(".*")) == [".tmp-3-young", ".tmp-4-busy"]


def test_pool_without_rows_goes_with_its_last_shard(corpus, aged, store):
    other = store.pool(replace(corpus.pool_key, output="logits"))
    other.add(np.ones((1, 2), np.float32), [corpus.content("a")])
    young = store.pool(replace(corpus.pool_key, output="young"))
    young.add(np.ones((1, 2), np.float32), [corpus.content("a")])
    age(store.path)
    for path in young.folder.rglob("*"):
        os.utime(path, (NOW, NOW))
    assert kinds(collect(corpus)) == ["pool", "shard"]
    assert not other.folder.exists()
    assert young.folder.exists()
    assert other.add(np.ones((1, 2), np.float32), [corpus.content("a")])  # the same handle goes on
    assert verify_store(store.path).is_sound


@pytest.mark.parametrize("what", ["alias", "run"])
def test_nothing_that_a_damaged_file_may_refer_to_goes(corpus, aged, probe_result, what):
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z")
    corpus.store.publish_run(probe_result)
    lost = corpus.add("z")
    pattern = {"alias": "aliases/*/2.json", "run": "runs/*/run.json"}[what]
    next(corpus.store.path.glob(pattern)).write_bytes(b"junk")
    age(corpus.store.path)
    found = collect(corpus)
    assert len(found.hindrances) == 1
    assert pattern.split("/")[-1] in found.hindrances[0]
    # The sets stay, so what they need is known.
    assert [g.path for g in found.removed] == [f"pools/{corpus.pool.folder.name}/shards/{lost}.h5"]
    assert aged.folder.exists()


def test_no_shard_goes_while_a_set_cannot_tell_what_it_needs(corpus, aged, tree):
    corpus.add("z")
    (aged.folder / "manifest.json").write_bytes(b"junk")
    age(corpus.store.path)
    before = tree(corpus.store.path)
    found = collect(corpus)
    assert found.removed == []
    assert f"{aged.key}/manifest.json" in found.hindrances[0]
    assert tree(corpus.store.path) == before


# Beside a running job


def crossing(monkeypatch, prefix, act):
    """Runs `act` at the worst instant: when something was set aside, before references are read again."""
    real, done = garbage_module.sync_folder, []

    def sync_folder(folder):
        real(folder)
        if not done and folder.name == prefix and any(p.name.startswith(".gone-") for p in folder.iterdir()):
            done.append(True)
            act()

    monkeypatch.setattr(garbage_module, "sync_folder", sync_folder)
    return done


def test_job_that_refers_to_a_shard_just_taken_away_notices_and_the_shard_goes_back(corpus, aged, monkeypatch):
    corpus.add("pq")
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    pool.index()  # a job that counts these rows as done
    age(corpus.store.path)
    ledger = corpus.ledger("pq")
    errors = []

    def publish():
        try:
            real_index = dict(pool.index())
            monkeypatch.setattr(pool, "index", lambda: real_index)
            monkeypatch.setattr("store.publication._locate", lambda *_: located)
            corpus.store.publish_set(corpus.key(ledger), ledger, pool, provenance=corpus.provenance)
        except StoreBusy as error:
            errors.append(str(error))

    from store.publication import _locate

    located = _locate(pool, ledger)
    done = crossing(monkeypatch, "shards", publish)
    found = collect(corpus)
    assert done
    assert "taken away by 'linprobe store gc' meanwhile; run it again" in errors[0]
    assert found.restored == [f"pools/{pool.folder.name}/shards/{located[0][0].shard}.h5"]
    assert corpus.store.has_set(corpus.key(ledger).digest)
    assert verify_store(corpus.store.path, is_deep=True).is_sound


def test_job_that_counts_on_rows_that_are_gone_is_told_to_run_again(corpus, aged):
    corpus.add("pq")
    pool = Pool(corpus.pool.folder, corpus.pool_key)
    pool.index()  # a job that counts these rows as done
    age(corpus.store.path)
    assert kinds(collect(corpus)) == ["shard"]
    ledger = corpus.ledger("pq")
    with pytest.raises(StoreBusy, match="taken away by 'linprobe store gc' meanwhile; run it again"):
        corpus.store.publish_set(corpus.key(ledger), ledger, pool, provenance=corpus.provenance)
    corpus.add("pq")
    assert corpus.publish("pq").features[:].tolist() == corpus.features("pq").tolist()


def test_set_that_is_named_while_it_is_taken_away_goes_back(corpus, aged, monkeypatch):
    ledger = corpus.ledger("ab")
    key = corpus.key(ledger).digest
    corpus.store.publish_set(corpus.key(ledger), ledger, corpus.pool, provenance=corpus.provenance)
    age(corpus.store.path)
    answers = [True]  # a job that has seen the set just before
    real = corpus.store._is_published

    def name():
        monkeypatch.setattr(corpus.store, "_is_published", lambda *name: answers.pop() if answers else real(*name))
        with pytest.raises(StoreBusy, match=f"sets/{key}: taken away by 'linprobe store gc' meanwhile; run it again"):
            corpus.store.name_set("trees", "train", "toy", key=key, created=OLD)

    assert crossing(monkeypatch, "sets", name) == []
    found = collect(corpus)
    assert found.restored == [f"sets/{key}"]
    assert corpus.store.get("trees", "train", "toy").key == key


def test_pool_that_a_job_begins_to_fill_while_it_is_taken_away_goes_back(corpus, aged, store, monkeypatch):
    other = store.pool(replace(corpus.pool_key, output="logits"))
    other.add(np.ones((1, 2), np.float32), [corpus.content("a")])
    next(other.folder.glob("shards/*")).unlink()
    age(store.path)

    def fill():
        (gone,) = (store.path / "pools").glob(".gone-*")
        (gone / "shards" / ".tmp-9-ab").write_bytes(b"a row on its way")

    crossing(monkeypatch, "pools", fill)
    assert collect(corpus).restored == [f"pools/{other.folder.name}"]
    assert other.folder.exists()


# Crashes


def test_crash_after_any_call_leaves_a_sound_store_and_the_next_time_goes_on(corpus, aged, tmp_path, monkeypatch):
    corpus.add("z")
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z")
    age(corpus.store.path)
    clean = tmp_path / "clean"
    shutil.copytree(corpus.store.path, clean)
    collect_garbage(clean, NOW)
    expected = sorted(p.relative_to(clean) for p in clean.rglob("*"))

    class Crash(Exception):
        pass

    def at_call(number):
        calls = []

        def counted(real):
            def call(*arguments, **options):
                if len(calls) == number:
                    raise Crash
                calls.append(real)
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("sync_folder", "_delete"):
                patched.setattr(garbage_module, name, counted(getattr(garbage_module, name)))
            patched.setattr(os, "rename", counted(os.rename))
            yield

    number, is_done = 0, False
    while not is_done:
        copy = tmp_path / str(number)
        shutil.copytree(corpus.store.path, copy)
        for _ in at_call(number):
            try:
                collect_garbage(copy, NOW)
                is_done = True
            except Crash:
                pass
        assert verify_store(copy, is_deep=True).is_sound, number
        collect_garbage(copy, NOW)
        assert sorted(p.relative_to(copy) for p in copy.rglob("*")) == expected, number
        number += 1
    assert number > 8  # one name, one set, two shards: renamed, deleted, and each folder synced


def test_what_a_crashed_run_took_away_and_is_needed_goes_back(corpus, aged):
    shard = corpus.pool.shard_path(aged.manifest["segments"][0][0])
    shard.rename(shard.with_name(f".gone-{shard.name}"))
    aged.folder.rename(aged.folder.with_name(f".gone-{aged.key}"))
    assert not verify_store(corpus.store.path).is_sound
    found = collect(corpus)
    assert found.removed == []
    assert len(found.restored) == 2
    assert verify_store(corpus.store.path, is_deep=True).is_sound


def test_what_a_crashed_run_took_away_and_was_made_again_goes_like_any_other(corpus, aged):
    lost = corpus.add("pq")
    found = publish_named(corpus, "pq", OLD, name="trees")
    set_aside = found.folder.with_name(f".gone-{found.key}")
    shutil.copytree(found.folder, set_aside)
    publish_named(corpus, "ab", "2026-01-03T00:00:00Z", name="trees")
    age(corpus.store.path)
    assert kinds(collect(corpus)) == ["name", "set", "shard"]
    assert not found.folder.exists()
    assert not set_aside.exists()
    assert not corpus.pool.shard_path(lost).exists()
    assert verify_store(corpus.store.path, is_deep=True).is_sound


def test_a_shard_that_is_taken_away_at_any_instant_of_reading_it_is_told_as_missing(corpus, flowers, monkeypatch):
    path, *_ = corpus.store.path.glob("pools/*/shards/*.h5")
    shard = open_shard(path)
    verify = shards_module.verify_file

    def verify_and_lose(*arguments):
        verified = verify(*arguments)
        path.unlink()
        return verified

    monkeypatch.setattr(shards_module, "verify_file", verify_and_lose)
    monkeypatch.setattr(shards_module, "_layouts", {})
    with pytest.raises(MissingFile, match="no file found"):
        open_shard(path)
    with pytest.raises(MissingFile, match="no file found"):
        shard.read(0, np.empty((1, shard.shape[1]), shard.dtype))
    with pytest.raises(MissingFile, match="no file found"):
        _ = shard.features
