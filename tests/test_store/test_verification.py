import hashlib
import os
import re
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from store import FeatureStore, RowsUnavailable, verify_store
from store.documents import read_sealed, seal
from store.hdf5 import build_file


@pytest.fixture
def full(corpus, flowers, probe_result):
    """A store with everything: two shards in use and one that nothing refers to, two sets, two names, a run."""
    corpus.publish("ab", name="trees")
    corpus.add("z")
    corpus.store.publish_run(probe_result)
    return corpus.store


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def files(store):
    return [p for p in sorted(store.path.rglob("*")) if p.is_file() and "cache" not in p.parts]


@pytest.mark.parametrize("is_deep", [False, True])
def test_sound_store_has_no_problem_and_every_file_is_counted(full, is_deep):
    found = verify_store(full.path, is_deep)
    assert found.is_sound
    assert found.problems == []
    assert found.notes == []
    counts = {name: found.counts[name] for name in ("pools", "shards", "sets", "names", "runs", "files")}
    # All but FORMAT, which opening the store has read.
    assert counts == {"pools": 1, "shards": 3, "sets": 2, "names": 2, "runs": 1, "files": len(files(full)) - 1}
    assert found.counts["bytes"] == sum(p.stat().st_size for p in files(full)) - len("linprobe-store 1\n")


def test_empty_store_is_sound(store):
    assert verify_store(store.path, is_deep=True).document()["counts"]["files"] == 0


def test_one_flipped_bit_in_any_file_is_found_and_the_file_named(full, tmp_path):
    for number, path in enumerate(files(full)[1:]):
        copy = tmp_path / str(number)
        shutil.copytree(full.path, copy)
        flip(copy / path.relative_to(full.path))
        found = verify_store(copy)
        assert any(path.relative_to(full.path).as_posix() in p.message for p in found.problems), path


def test_every_missing_file_is_found_and_named(full, tmp_path):
    for number, path in enumerate(files(full)[1:]):
        copy = tmp_path / str(number)
        shutil.copytree(full.path, copy)
        (copy / path.relative_to(full.path)).unlink()
        found = verify_store(copy)
        lost = path.relative_to(full.path)
        if lost.parts[0] == "aliases":
            assert found.counts["names"] == 1  # a name that nobody gave cannot be missed
        elif "shards" in lost.parts and not found.problems:
            assert found.counts["shards"] == 2  # nor a shard that nothing refers to
        else:
            assert any(lost.as_posix() in p.message for p in found.problems), path


def test_damaged_items_hide_no_others(full):
    shards = sorted((full.path / "pools").rglob("*.h5"))
    for path in shards:
        flip(path)
    for path in full.path.glob("aliases/*/1.json"):
        flip(path)
    flip(next(full.path.glob("runs/*/run.json")))
    flip(next(full.path.glob("runs/*/head.npz")))
    kinds = [p.kind for p in verify_store(full.path).problems]
    assert kinds == ["shard"] * 3 + ["set"] * 2 + ["name"] * 2 + ["run"] * 2


def test_problem_says_which_expected_found_and_what_next(full):
    path = sorted((full.path / "pools").rglob("*.h5"))[0]
    flip(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    shard, *_ = verify_store(full.path).problems
    assert (shard.kind, shard.path) == ("shard", path.relative_to(full.path).as_posix())
    assert shard.message == (
        f"{path}: sha256 {path.stem} expected, {found} found; run the extract or probe that made it again, "
        "it replaces what is damaged; or move it out of the store."
    )


def test_damage_after_a_first_verified_read_is_found_by_the_same_process(full, flowers):
    flowers.features[:]
    assert verify_store(full.path).is_sound
    path = flowers.shard_path(flowers.manifest["segments"][0][0])
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not verify_store(full.path).is_sound


def test_set_that_a_name_means_is_missed(full, flowers):
    shutil.rmtree(flowers.folder)
    (problem,) = verify_store(full.path).problems
    assert problem.kind == "name"
    assert f"the set {flowers.key} that flowers / train / toy means expected in sets/, none found" in problem.message


def test_name_that_has_ended_misses_no_set(full, flowers):
    full.end_name("flowers", "train", "toy", created="2026-02-01T00:00:00Z")
    assert verify_store(full.path, is_deep=True).is_sound
    shutil.rmtree(flowers.folder)
    assert verify_store(full.path).is_sound


def test_what_is_not_the_stores_is_noted_and_no_problem(full):
    (full.path / "notes.txt").write_text("mine")
    (full.path / "sets" / "README").write_text("mine")
    (full.path / "sets" / ".tmp-1-ab").mkdir()
    (full.path / "pools" / ".damaged-x").mkdir()
    found = verify_store(full.path)
    assert found.is_sound
    assert found.notes == [
        "notes.txt: not part of the store, and never read",
        "sets/README: not part of the store, and never read",
        "2 leftovers of other times; 'linprobe store gc' removes old ones",
    ]


def test_file_where_a_folder_should_be_is_a_problem_of_its_own(full):
    (full.path / "sets" / "ab").write_text("no folder")
    (full.path / "pools" / "cd").write_text("no folder")
    (full.path / "runs" / "ef").write_text("no folder")
    (full.path / "aliases" / ("0" * 64)).write_text("no folder")
    found = verify_store(full.path)
    assert {p.path for p in found.problems} == {"sets/ab", "pools/cd", "runs/ef", f"aliases/{'0' * 64}"}


# Files whose digests are right and whose content is not: what only --deep finds.


def forge(folder, name, data):
    """Replaces a part, and makes the manifest say so."""
    (folder / name).write_bytes(data)
    manifest = read_sealed(folder / "manifest.json")
    manifest["parts"][name] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_bytes(seal(manifest))


def forge_ledger(folder, change):
    ledger = change(pd.read_parquet(folder / "ledger.parquet"))
    ledger.to_parquet(folder / "ledger.new")
    forge(folder, "ledger.parquet", (folder / "ledger.new").read_bytes())
    (folder / "ledger.new").unlink()


def forge_table(folder, change):
    path = folder / "features.h5"
    with h5py.File(path, "r+") as file:
        change(file)
    forge(folder, "features.h5", path.read_bytes())


def forge_manifest(folder, **changes):
    (folder / "manifest.json").write_bytes(seal({**read_sealed(folder / "manifest.json"), **changes}))


def relabel(ledger):
    return ledger.assign(label=[0, 0, 0, 1, 0])


def same_id(ledger):
    return ledger.assign(example_id=["c.png", "a.png", "a.png", "x.png", "d.png"])


def third_class(ledger):
    return ledger.assign(label=[0, 1, 2, 1, 0])


def swap_labels(file):
    file["labels"][...] = [1, 0, 0, 0]


def swap_ids(file):
    file["example_ids"][...] = [b"a.png", b"c.png", b"b.png", b"d.png"]


def swap_contents(file):
    file["content_sha256"][...] = file["content_sha256"][()][[1, 0, 2, 3]]


FORGERIES = {
    "relabelled ledger": (lambda s: forge_ledger(s.folder, relabel), "rows of digest .* expected by set.json"),
    "id twice": (lambda s: forge_ledger(s.folder, same_id), "each example id once expected, 'a.png' found again"),
    "label out of range": (lambda s: forge_ledger(s.folder, third_class), "labels 0 to 1 expected, 0 to 2 found"),
    "rows left out": (
        lambda s: forge_ledger(s.folder, lambda ledger: ledger[:3]),
        r"candidates, ok and quarantined \(5, 4, 1\) expected, \(3, 3, 0\) found",
    ),
    "columns left out": (
        lambda s: forge_ledger(s.folder, lambda ledger: ledger.drop(columns="reason")),
        "ledger.parquet: columns .* expected",
    ),
    "other labels in HDF5": (
        lambda s: forge_table(s.folder, swap_labels),
        "labels as in ledger.parquet expected, 1 found for 0 in row 0",
    ),
    "other ids in HDF5": (lambda s: forge_table(s.folder, swap_ids), "example_ids as in ledger.parquet expected"),
    "other contents in HDF5": (lambda s: forge_table(s.folder, swap_contents), "content_sha256 as in ledger.parquet"),
    "attribute in HDF5": (
        lambda s: forge_table(s.folder, lambda file: file.attrs.update(a=1)),
        "no attributes expected, 1 found",
    ),
    "other segments": (
        lambda s: forge_manifest(s.folder, segments=s.manifest["segments"][::-1]),
        "rows of others found|mapped elsewhere",
    ),
    "segments too short": (
        lambda s: forge_manifest(s.folder, segments=s.manifest["segments"][:1]),
        "segments of 4 rows expected, 1 found",
    ),
    "another width": (lambda s: forge_manifest(s.folder, dim=4), "4 columns of float32 expected, 3 of float32 found"),
    "another set's document": (
        lambda s: forge(s.folder, "set.json", seal({**read_sealed(s.folder / "set.json"), "split": "test"})),
        "set.json: another set's document",
    ),
}


@pytest.mark.parametrize(("damage", "message"), FORGERIES.values(), ids=FORGERIES)
def test_set_that_contradicts_itself_is_found_at_depth(corpus, flowers, damage, message):
    damage(flowers)
    found = verify_store(corpus.store.path, is_deep=True)
    assert any(p.kind == "set" and re.search(message, p.message) for p in found.problems), found.problems


def plant(corpus, features, contents):
    """Puts a shard with a true name into the pool that `Pool.add` would not take."""

    def fill(file):
        file.create_dataset("features", data=features, track_times=False)
        file.create_dataset("content_sha256", data=contents, track_times=False)

    data = build_file(fill)
    corpus.pool.shard_path(hashlib.sha256(data).hexdigest()).write_bytes(data)


@pytest.mark.parametrize(
    ("features", "numbers", "message"),
    [
        (np.array([[1, 2, 3], [1, np.nan, 3]], "<f4"), [1, 2], "finite features expected, found others in row 1"),
        (np.ones((2, 3), "<f4"), [1, 1], "a row per image expected, 2 rows for 1 images found"),
        (np.ones((2, 4), "<f4"), [1, 2], "columns expected as in the pool's other shards"),
        (np.ones((2, 3), "<f2"), [1, 2], "float32 features expected by pool.json, float16 found"),
        (np.ones((2, 3), "<f8"), [1, 2], "in 2 dimensions expected, <f8"),
    ],
)
def test_shard_that_the_pool_would_not_take_is_found_at_depth(corpus, flowers, features, numbers, message):
    plant(corpus, features, np.repeat(np.array(numbers, np.uint8)[:, None], 32, axis=1))
    assert verify_store(corpus.store.path).is_sound
    found = verify_store(corpus.store.path, is_deep=True)
    assert any(p.kind == "shard" and message in p.message for p in found.problems), found.problems


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"accuracy": 0.75}}, "accuracy 0.5 expected from predictions.parquet, 0.75 found"),
        ({"counts": {"n_test": 3}}, "3 rows expected by run.json, 2 found"),
        ({"class_names": ("daisy",)}, "label 0 to 0 expected, found others"),
        ({"head": {"kernel": np.array([np.inf])}}, "finite numbers expected in kernel, found others"),
    ],
)
def test_run_that_contradicts_itself_is_found_at_depth(store, probe_result, changes, message):
    store.publish_run(replace(probe_result, **changes))
    assert verify_store(store.path).is_sound
    (problem,) = verify_store(store.path, is_deep=True).problems
    assert problem.kind == "run"
    assert message in problem.message


# Golden vectors


def golden(corpus, change=lambda row: row, lost=()):
    asked = []

    def recompute(features, example_ids):
        asked.append((features.key, list(example_ids)))
        return {i: change(corpus.features(i[0])[0]) for i in example_ids if i not in lost}

    return recompute, asked


def test_rows_that_come_out_the_same_are_no_drift_and_counted(corpus, flowers):
    recompute, asked = golden(corpus)
    found = verify_store(corpus.store.path, is_deep=True, recompute=recompute)
    assert found.is_sound
    assert found.counts["rows_recomputed"] == 4
    # The images with the smallest content hashes, whatever the set's order.
    assert asked == [(flowers.key, [f"{c}.png" for c in sorted("abcd", key=corpus.content)])]


def test_rows_that_come_out_otherwise_are_drift_with_its_magnitude(corpus, flowers):
    recompute, _ = golden(corpus, lambda row: row * np.float32(1.001), lost=("a.png", "b.png", "c.png"))
    (problem,) = verify_store(corpus.store.path, is_deep=True, recompute=recompute).problems
    assert (problem.kind, problem.path) == ("drift", f"sets/{flowers.key}")
    assert (
        "d.png: a relative L2 difference of at most 1e-05 from the stored row expected, 0.001 found" in problem.message
    )


@pytest.mark.parametrize(("factor", "is_sound"), [(1 + 9e-6, True), (1 + 1.2e-5, False), (np.nan, False)])
def test_drift_begins_at_the_stated_tolerance(corpus, flowers, factor, is_sound):
    recompute, _ = golden(corpus, lambda row: row.astype(np.float64) * factor)
    assert verify_store(corpus.store.path, is_deep=True, recompute=recompute).is_sound == is_sound


def test_rows_of_another_width_are_drift(corpus, flowers):
    recompute, _ = golden(corpus, lambda row: row[:2])
    problems = verify_store(corpus.store.path, is_deep=True, recompute=recompute).problems
    assert len(problems) == 4
    assert all("inf found by the extractor at hand" in p.message for p in problems)


def test_images_or_extractors_that_are_gone_are_noted_and_no_problem(corpus, flowers):
    recompute, _ = golden(corpus, lost=("a.png", "b.png", "c.png", "d.png"))
    found = verify_store(corpus.store.path, is_deep=True, recompute=recompute)
    assert found.is_sound
    assert found.notes == [f"{flowers.folder}: no row was recomputed: its images are gone or have changed."]

    def unavailable(features, example_ids):
        raise RowsUnavailable("toy: no such extractor.")

    found = verify_store(corpus.store.path, is_deep=True, recompute=unavailable)
    assert found.notes == [f"{flowers.folder}: no row was recomputed: toy: no such extractor."]


def test_only_sound_sets_that_a_name_means_are_recomputed(corpus, flowers):
    newer = corpus.publish("dcba")
    other = corpus.publish("ab", name="trees")
    flip(other.folder / "ledger.parquet")
    recompute, asked = golden(corpus)
    verify_store(corpus.store.path, is_deep=True, recompute=recompute)
    assert [key for key, _ in asked] == [newer.key]
    assert FeatureStore(corpus.store.path).get("flowers", "train", "toy").key == newer.key
