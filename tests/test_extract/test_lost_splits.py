import shutil
from dataclasses import replace

import numpy as np
import pytest

from extract import SplitJob, end_lost_splits, find_lost_splits, open_source
from store import FeatureSetNotFound, FeatureStore, ImportedFeatures, import_features
from store.aliases import Alias

pytestmark = pytest.mark.framework

LATER = "2026-12-01T00:00:00Z"


@pytest.fixture
def folder(make_folder, encode):
    """Base splits train (greys 10 and 20) and test (grey 30)."""
    greys = {"train/a/1.png": 10, "train/b/1.png": 20, "test/a/1.png": 30}
    return make_folder({name: encode(np.full((8, 8, 3), grey, np.uint8)) for name, grey in greys.items()})


@pytest.fixture
def bury(lab):
    """Ends what a folder has lost, as a job does before it extracts; gives what ended."""

    def bury(folder, asked=()):
        lost = find_lost_splits(job_of(lab, open_source(f"folder:{folder}")), asked=asked)
        end_lost_splits(lost, job_of(lab, open_source(f"folder:{folder}")), created=LATER)
        return [(entry.name, entry.split) for entry in lost]

    return bury


def job_of(lab, source):
    return SplitJob(source=source, split="train", extractor=lab.toy, store=lab.store, dataset="images")


def extract_all(lab, folder):
    source = open_source(f"folder:{folder}")
    return {split: lab.extract(source, split).feature_set for split in source.splits}


def test_a_deleted_split_leaves_every_name_of_the_dataset_and_its_set_stays(lab, folder, bury):
    sets = extract_all(lab, folder)
    shutil.rmtree(folder / "test")
    assert bury(folder) == [("images", "test"), (f"folder:{folder}", "test")]
    store = FeatureStore(lab.store.path)
    for name in ("images", f"folder:{folder}"):
        assert store.splits(name, "toy") == ["train"]
        with pytest.raises(FeatureSetNotFound, match=f"no such set in .* since {LATER}, when its source had"):
            store.get(name, "test", "toy")
        assert store.get(name, "test", "toy", as_of="2026-11-30").key == sets["test"].key
    assert store.get(key=sets["test"].key).features[:, 0].tolist() == [30]
    assert store.catalog().set_index("split")["is_current"].to_dict() == {"train": True, "test": False}


def test_nothing_ends_while_the_source_has_all_its_splits(lab, folder, bury, tree):
    extract_all(lab, folder)
    before = tree(lab.store.path)
    assert bury(folder) == []
    assert tree(lab.store.path) == before


def test_what_has_ended_does_not_end_again(lab, folder, bury, tree):
    extract_all(lab, folder)
    shutil.rmtree(folder / "test")
    bury(folder)
    before = tree(lab.store.path)
    assert bury(folder) == []
    assert tree(lab.store.path) == before


def test_who_asks_for_one_split_ends_no_other(lab, folder, bury):
    extract_all(lab, folder)
    shutil.rmtree(folder / "test")
    assert bury(folder, asked=("train",)) == []
    assert lab.store.splits("images", "toy") == ["test", "train"]


def test_a_split_that_returns_is_named_again_without_a_forward_pass(lab, folder, bury, tmp_path):
    key = extract_all(lab, folder)["test"].key
    shutil.move(folder / "test", tmp_path / "aside")
    bury(folder)
    shutil.move(tmp_path / "aside", folder / "test")
    assert bury(folder) == []
    done = lab.extract(open_source(f"folder:{folder}"), "test")
    assert (done.feature_set.key, done.forward_passes) == (key, 0)
    assert lab.store.get("images", "test", "toy").key == key
    with pytest.raises(FeatureSetNotFound, match="no such set as of"):
        lab.store.get("images", "test", "toy", as_of="2026-10-01")


def test_other_extractors_and_other_datasets_keep_their_names(lab, folder, bury, make_folder, encode):
    extract_all(lab, folder)
    lab.extract(open_source(f"folder:{folder}"), "test", extractor=lab.other_extractor())
    other = make_folder({"test/a/1.png": encode(np.zeros((8, 8, 3), np.uint8))}, "others")
    lab.extract(open_source(f"folder:{other}"), "test", dataset="others")
    shutil.rmtree(folder / "test")
    bury(folder)
    assert lab.store.splits("images", "other") == ["test"]
    assert lab.store.splits("others", "toy") == ["test"]


def test_a_flat_folder_that_got_splits_is_no_mix_of_both(lab, make_folder, encode, bury):
    grey = encode(np.zeros((8, 8, 3), np.uint8))
    folder = make_folder({"a/1.png": grey, "b/1.png": grey})
    extract_all(lab, folder)
    (folder / "train").mkdir()
    for name in ("a", "b"):
        shutil.move(folder / name, folder / "train" / name)
    assert ("images", "all") in bury(folder)
    extract_all(lab, folder)
    assert lab.store.splits("images", "toy") == ["train"]


@pytest.mark.parametrize("asked", [(), ("train",)])
def test_an_import_ends_where_the_name_gets_base_splits_of_its_own(lab, folder, bury, asked):
    contents = np.arange(64, dtype=np.uint8).reshape(2, 32)
    imported = ImportedFeatures(np.ones((2, 4), np.float32), np.array([0, 1]), ("a", "b"), ("x", "y"), contents)
    found, _ = import_features(
        lab.store, imported, "images", extractor="toy", source="import:x.npz", created="2026-01-01T00:00:00Z"
    )
    assert bury(folder, asked) == [("images", "all")]
    lab.extract(open_source(f"folder:{folder}"), "train")
    assert lab.store.splits("images", "toy") == ["train"]
    assert lab.store.get("images", "all", "toy", as_of="2026-06-01").key == found.key


def test_a_damaged_entry_of_a_lost_split_is_replaced_by_its_end(lab, folder, bury):
    extract_all(lab, folder)
    lost = Alias("images", "test", "toy", "", "").name_digest
    (lab.store.path / "aliases" / lost / "2.json").write_bytes(b"junk")
    shutil.rmtree(folder / "test")
    assert ("images", "test") in bury(folder)
    assert lab.store.splits("images", "toy") == ["train"]


def test_a_source_that_cannot_say_its_splits_loses_none(lab, folder, make_source):
    extract_all(lab, folder)
    silent = make_source([])
    silent.splits = ()
    assert find_lost_splits(job_of(lab, silent)) == []


def test_names_of_another_extractor_version_end_too(lab, folder, bury):
    extract_all(lab, folder)
    lab.toy = replace(lab.toy, weights_sha256="9" * 64)
    shutil.rmtree(folder / "test")
    assert ("images", "test") in bury(folder)
