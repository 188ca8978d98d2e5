import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from split_jobs import extract_split

import extract.shares
from extract import BadData, Budget, Example, SplitJob, UnknownName, open_source, plan
from extract.engines import open_engine
from extract.extractors import pixels_floor
from store import FeatureStore, hdf5

pytestmark = pytest.mark.framework

LEDGER_OF_BROKEN = ["status", "reason", "format", "mode", "width", "height", "bytes", "label"]


@pytest.fixture
def greys(encode):
    """Returns a function: PNGs of one grey each, so that the row of grey g is (g, g, g, g)."""
    return lambda *values: [encode(np.full((10, 12, 3), value, np.uint8)) for value in values]


@pytest.fixture
def folder(make_folder, greys):
    """Class a: greys 10, 20, 30. Class b: greys 40, 50."""
    data = greys(10, 20, 30, 40, 50)
    names = ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png")
    return make_folder(dict(zip(names, data, strict=True)))


def counts(extraction):
    return extraction.status, extraction.forward_passes, extraction.reused


def test_the_first_extraction_computes_every_image_in_order(lab, folder):
    done = lab.extract(open_source(f"folder:{folder}"))
    assert counts(done) == ("extracted", 5, 0)
    assert lab.engine.images == 5
    found = done.feature_set
    assert found.features[:].tolist() == [[grey] * 4 for grey in (10, 20, 30, 40, 50)]
    assert found.example_ids.tolist() == ["a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png"]
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.class_names == ["a", "b"]


def test_provenance_tells_the_circumstances(lab, folder):
    (folder / "a" / "notes.txt").write_text("no image")
    done = lab.extract(open_source(f"folder:{folder}"))
    found = done.feature_set.provenance
    assert (found.dataset, found.source, found.extractor) == ("images", f"folder:{folder}", "toy")
    assert (found.engine, found.device, found.threads) == ("counting", "CPU", 1)
    assert (found.forward_passes, found.reused, found.ignored, done.ignored) == (5, 0, 1, 1)
    assert 0 < found.seconds <= done.seconds


def test_a_set_answers_to_its_name_and_to_its_source(lab, folder):
    key = lab.extract(open_source(f"folder:{folder}"), dataset="flowers").feature_set.key
    assert lab.store.get("flowers", "all", "toy").key == key
    assert lab.store.get(f"folder:{folder}", "all", "toy").key == key


def test_the_second_extraction_makes_no_forward_pass(lab, folder):
    first = lab.extract(open_source(f"folder:{folder}"))
    second = lab.extract(open_source(f"folder:{folder}"))
    assert counts(second) == ("cached", 0, 5)
    assert second.feature_set.key == first.feature_set.key
    assert (lab.opened, lab.engine.batches) == (1, 0)
    assert (second.engine, second.parameters) == ("", None)


def test_the_second_extraction_reads_no_shard(lab, folder):
    def shards_read():
        return [path for path, *_ in hdf5._verified if "/shards/" in path]

    lab.extract(open_source(f"folder:{folder}"))
    hdf5._verified.clear()
    second = lab.extract(open_source(f"folder:{folder}"))
    assert (second.status, shards_read()) == ("cached", [])
    second.feature_set.features[:]
    assert len(shards_read()) == 1


def test_the_same_images_in_another_folder_are_the_very_same_set(lab, folder, tmp_path):
    first = lab.extract(open_source(f"folder:{folder}"))
    moved = folder.rename(tmp_path / "moved elsewhere")
    second = lab.extract(open_source(f"folder:{moved}"), dataset="other name")
    assert counts(second) == ("cached", 0, 5)
    assert second.feature_set.key == first.feature_set.key
    assert lab.opened == 1


def test_new_images_cost_what_they_are(lab, folder, greys):
    first = lab.extract(open_source(f"folder:{folder}"))
    for name, data in zip(("a/0.png", "b/9.png"), greys(60, 70), strict=True):
        (folder / name).write_bytes(data)
    second = lab.extract(open_source(f"folder:{folder}"))
    assert counts(second) == ("extracted", 2, 5)
    assert lab.engine.images == 2
    assert second.feature_set.key != first.feature_set.key
    assert second.feature_set.features[:, 0].tolist() == [60, 10, 20, 30, 40, 50, 70]


def test_a_removed_image_costs_nothing(lab, folder):
    lab.extract(open_source(f"folder:{folder}"))
    (folder / "a" / "2.png").unlink()
    second = lab.extract(open_source(f"folder:{folder}"))
    assert counts(second) == ("extracted", 0, 4)
    assert second.feature_set.features[:, 0].tolist() == [10, 30, 40, 50]


def test_relabelling_costs_nothing_and_the_old_set_stays(lab, folder):
    first = lab.extract(open_source(f"folder:{folder}"))
    (folder / "a" / "3.png").rename(folder / "b" / "0.png")
    second = lab.extract(open_source(f"folder:{folder}"))
    assert counts(second) == ("extracted", 0, 5)
    assert second.feature_set.key != first.feature_set.key
    assert second.feature_set.labels.tolist() == [0, 0, 1, 1, 1]
    old = FeatureStore(lab.store.path).get(key=first.feature_set.key)
    assert old.labels.tolist() == [0, 0, 0, 1, 1]
    assert old.features[:, 0].tolist() == [10, 20, 30, 40, 50]
    assert FeatureStore(lab.store.path).get("images", "all", "toy").key == second.feature_set.key


def test_renaming_costs_nothing_and_is_another_set(lab, folder):
    first = lab.extract(open_source(f"folder:{folder}"))
    (folder / "a").rename(folder / "c")
    second = lab.extract(open_source(f"folder:{folder}"))
    assert counts(second) == ("extracted", 0, 5)
    assert second.feature_set.key != first.feature_set.key
    assert second.feature_set.class_names == ["b", "c"]
    assert second.feature_set.features[:, 0].tolist() == [40, 50, 10, 20, 30]


def test_another_extractor_computes_all(lab, folder):
    first = lab.extract(open_source(f"folder:{folder}"))
    second = lab.extract(open_source(f"folder:{folder}"), extractor=lab.other_extractor())
    assert counts(second) == ("extracted", 5, 0)
    assert second.feature_set.key != first.feature_set.key


def test_an_image_in_two_datasets_costs_one_pass(lab, make_folder, greys):
    one, two, three = greys(1, 2, 3)
    lab.extract(open_source(f"folder:{make_folder({'a/x.png': one, 'a/y.png': two}, 'first')}"))
    done = lab.extract(open_source(f"folder:{make_folder({'b/z.png': two, 'b/u.png': three}, 'second')}"))
    assert counts(done) == ("extracted", 1, 1)


def test_duplicates_within_a_split_cost_one_pass_and_have_a_row_each(lab, make_folder, greys):
    (grey,) = greys(9)
    done = lab.extract(open_source(f"folder:{make_folder({f'a/{at}.png': grey for at in range(6)})}"))
    assert counts(done) == ("extracted", 1, 5)
    assert done.feature_set.features[:].tolist() == [[9] * 4] * 6


def test_arrays_need_no_decoder(lab, make_source):
    images = [np.full((8, 8, 1), grey, np.uint8) for grey in (3, 4)]
    done = lab.extract(make_source([Example(f"{at}", at, image) for at, image in enumerate(images)]))
    assert done.feature_set.features[:].tolist() == [[3] * 4, [4] * 4]


# Chunks and interruption


def test_a_chunk_is_1024_candidates():
    assert extract.shares.CHUNK == 1024


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("extract.shares.CHUNK", 10)


@pytest.fixture
def many(make_source):
    """45 images; image n is all of grey n."""
    return make_source([Example(f"{at:02d}", at % 2, np.full((8, 8, 3), at, np.uint8)) for at in range(45)])


def shards(store):
    return sorted(store.path.glob("pools/*/shards/*.h5"))


@pytest.mark.usefixtures("small_chunks")
def test_each_chunk_becomes_one_shard(lab, many):
    done = lab.extract(many)
    assert len(shards(lab.store)) == 5
    assert sorted(rows for _, _, rows in done.feature_set.manifest["segments"]) == [5, 10, 10, 10, 10]
    assert done.feature_set.features[:, 0].tolist() == list(range(45))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("batches", range(12))
def test_an_interrupted_extraction_goes_on_with_what_lacks(lab, many, make_engine, batches):
    with pytest.raises(OSError, match=r"^the device is gone$"):
        lab.extract(many, engine=make_engine(4, dies_after=batches))
    computed = lab.engine.images
    assert computed == batches * 4
    assert lab.store.catalog().empty
    done = lab.extract(many)
    # Every complete chunk is committed before the engine goes on: less than a chunk is lost.
    assert done.reused == computed // 10 * 10
    assert done.forward_passes == lab.engine.images == 45 - done.reused
    assert done.feature_set.features[:, 0].tolist() == list(range(45))


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_source_keeps_the_whole_chunks(lab, many, make_source):
    class Dying(type(many)):
        def examples(self, split):
            yield from self.listed[:25]
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match=r"^the disk is gone$"):
        lab.extract(Dying(many.listed))
    assert len(shards(lab.store)) == 2
    assert counts(lab.extract(many)) == ("extracted", 25, 20)


@pytest.mark.usefixtures("small_chunks")
def test_broken_pictures_over_whole_chunks_shift_no_row(lab, many, make_source, broken_jpeg):
    broken = {*range(8, 33), 44}
    images = [
        Example(e.example_id, e.label, broken_jpeg + bytes([at]) if at in broken else e.data)
        for at, e in enumerate(many.listed)
    ]
    done = lab.extract(make_source(images), budget=Budget(26))
    assert done.feature_set.features[:, 0].tolist() == [at for at in range(45) if at not in broken]
    assert done.feature_set.manifest["quarantined"] == 26


def test_a_shard_that_is_lost_is_computed_again(lab, folder):
    lab.extract(open_source(f"folder:{folder}"))
    (shard,) = shards(lab.store)
    shard.unlink()
    done = lab.extract(open_source(f"folder:{folder}"))
    assert (done.forward_passes, done.status) == (5, "extracted")
    assert done.feature_set.features[:, 0].tolist() == [10, 20, 30, 40, 50]


# Quarantine


@pytest.fixture
def spoiled(make_folder, greys, broken_jpeg):
    """Five good images, a truncated one twice, a text; 3 of 8 are bad."""
    names = ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png")
    files = dict(zip(names, greys(10, 20, 30, 40, 50), strict=True))
    files |= {"a/25.jpg": broken_jpeg, "b/0.jpg": broken_jpeg, "b/text.jpg": b"These are words."}
    return make_folder(files)


def test_bad_images_are_quarantined_with_their_reason_and_counted(lab, spoiled, broken_jpeg):
    found = lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3)).feature_set
    assert found.features[:, 0].tolist() == [10, 20, 30, 40, 50]
    assert (found.manifest["rows"], found.manifest["quarantined"], found.candidates) == (5, 3, 8)
    assert lab.store.catalog()["quarantined"].tolist() == [3]
    ledger = found.ledger().set_index("example_id")
    assert list(ledger.index) == [
        "a/1.png", "a/2.png", "a/25.jpg", "a/3.png", "b/0.jpg", "b/1.png", "b/2.png", "b/text.jpg",
    ]  # fmt: skip
    bad = ledger.loc[["a/25.jpg", "b/0.jpg", "b/text.jpg"], LEDGER_OF_BROKEN]
    reason = bad["reason"].iloc[0]
    assert re.fullmatch(r"image file is truncated \(\d+ bytes not processed\)", reason)
    assert bad.to_numpy().tolist() == [
        ["quarantined", reason, "JPEG", "RGB", 40, 40, len(broken_jpeg), 0],
        ["quarantined", reason, "JPEG", "RGB", 40, 40, len(broken_jpeg), 1],
        ["quarantined", "not an image of a known format", "", "", 0, 0, 16, 1],
    ]
    assert ledger["content_sha256"]["a/25.jpg"] == hashlib.sha256(broken_jpeg).hexdigest()
    assert (ledger.loc["a/1.png", ["status", "reason", "format", "width"]] == ["ok", "", "PNG", 12]).all()


def test_the_second_run_knows_the_verdicts_without_decoding(lab, spoiled, monkeypatch):
    first = lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3))

    def refuse(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr("extract.pipeline.decode_apart", refuse)
    monkeypatch.setattr("extract.work.stream_batches", refuse)
    second = lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3))
    assert counts(second) == ("cached", 0, 5)
    assert second.feature_set.key == first.feature_set.key


def test_a_bad_image_that_is_replaced_is_computed(lab, spoiled, greys):
    lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3))
    (spoiled / "b" / "text.jpg").write_bytes(greys(60)[0])
    done = lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3))
    assert counts(done) == ("extracted", 1, 5)
    assert done.feature_set.features[:, 0].tolist() == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("budget", ["3", "37.5%", "100%"])
def test_a_budget_that_suffices(lab, spoiled, budget):
    done = lab.extract(open_source(f"folder:{spoiled}"), budget=Budget.parse(budget))
    assert done.feature_set.manifest["quarantined"] == 3


@pytest.mark.parametrize("budget", ["0", "2", "37%"])
def test_a_budget_that_is_exceeded_is_bad_data_and_publishes_nothing(lab, spoiled, budget):
    # How far reading was ahead is a matter of threads.
    message = r"[123] of the [5-8] images read so far cannot be decoded, more than the budget allows \([ab]/"
    with pytest.raises(BadData, match=message):
        lab.extract(open_source(f"folder:{spoiled}"), budget=Budget.parse(budget))
    assert lab.store.catalog().empty


def test_a_share_holds_where_only_reading_tells_the_total(lab, make_source, greys):
    listed = [Example(f"{at}", 0, data) for at, data in enumerate([*greys(1, 2, 3), b"words"])]
    with pytest.raises(BadData, match="1 of the 4 images read so far cannot be decoded"):
        lab.extract(make_source(listed, count=None), budget=Budget.parse("24%"))
    assert lab.extract(make_source(listed, count=None), budget=Budget.parse("25%")).forward_passes == 0


def test_rows_computed_before_a_budget_broke_are_kept(lab, spoiled):
    with pytest.raises(BadData, match="Rows computed until now are kept"):
        lab.extract(open_source(f"folder:{spoiled}"))
    computed = lab.engine.images
    assert counts(lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3))) == (
        "extracted",
        5 - computed,
        computed,
    )


# Bad input: a clear error, and a store that is as it was


def test_a_split_that_is_not_there_leaves_the_store_as_it_was(lab, folder, tree):
    before = tree(lab.store.path)
    with pytest.raises(UnknownName, match=r"tset: no such base split of folder:.*known: all"):
        lab.extract(open_source(f"folder:{folder}"), split="tset")
    assert tree(lab.store.path) == before


def test_no_image_that_can_be_decoded_leaves_the_store_as_it_was(lab, make_folder, broken_jpeg, tree):
    before = tree(lab.store.path)
    folder = make_folder({"a/1.jpg": broken_jpeg, "a/2.jpg": b"words"})
    with pytest.raises(BadData, match="none of its 2 images can be decoded"):
        lab.extract(open_source(f"folder:{folder}"), budget=Budget(None, 1.0))
    assert tree(lab.store.path) == before


def test_features_that_are_not_finite_are_named_by_example(lab, folder, tree, make_engine):
    class Broken(make_engine):
        def __call__(self, images):
            features = super().__call__(images)
            features[images[:, 0, 0, 0] == 30, 2] = np.nan
            return features

    before = tree(lab.store.path)
    with pytest.raises(BadData, match=r"^a/3\.png: the counting engine gives NaN or infinity"):
        lab.extract(open_source(f"folder:{folder}"), engine=Broken())
    assert tree(lab.store.path) == before


def test_an_engine_that_gives_another_shape_is_refused(lab, folder, tree, make_engine):
    class Broken(make_engine):
        def __call__(self, images):
            return super().__call__(images)[:, :3]

    before = tree(lab.store.path)
    with pytest.raises(BadData, match=r"counting: \(4, 4\) features expected, \(4, 3\) found"):
        lab.extract(open_source(f"folder:{folder}"), engine=Broken())
    assert tree(lab.store.path) == before


# Plan and progress


def planned(source, extractor, store):
    return SplitJob(source=source, split="all", extractor=extractor, store=store, dataset="images")


def test_a_plan_counts_what_an_extraction_would_compute_and_writes_nothing(lab, spoiled, tree, toy):
    source = open_source(f"folder:{spoiled}")
    before = tree(lab.store.path)
    found = plan(planned(source, toy, lab.store))
    # Headers tell that the text is none; the truncated image shows only when it is decoded.
    assert (found.key, found.rows, found.quarantined, found.missing) == ("", 7, 1, 6)
    assert tree(lab.store.path) == before
    assert plan(planned(source, toy, None)) == found


def test_a_plan_knows_the_set_that_is_there(lab, spoiled, toy):
    source = open_source(f"folder:{spoiled}")
    key = lab.extract(source, budget=Budget(3)).feature_set.key
    found = plan(planned(source, toy, lab.store))
    assert (found.key, found.rows, found.quarantined, found.missing) == (key, 5, 3, 0)


def test_progress_ends_with_the_whole_truth(lab, spoiled):
    seen = []
    lab.extract(open_source(f"folder:{spoiled}"), budget=Budget(3), on_progress=seen.append)
    last = seen[-1]
    assert (last.candidates, last.read, last.computed, last.reused, last.quarantined) == (8, 8, 5, 0, 3)
    assert [p.computed for p in seen] == sorted(p.computed for p in seen)


# Without a framework


SECOND_RUN = """
import sys
from pathlib import Path
from extract import RunContext, SplitJob, compute, open_source, publish
from extract.extractors import pixels_floor
from store import FeatureStore

def refuse():
    raise AssertionError("an engine was opened")

source, store = open_source(sys.argv[1]), FeatureStore(sys.argv[2])
job = SplitJob(source=source, split="all", extractor=pixels_floor(), store=store, dataset="images")
done = publish(job, compute(job, refuse), RunContext(created="2026-11-24T00:00:00Z"))
heavy = [name for name in ("tensorflow", "keras", "openvino", "tensorflow_datasets") if name in sys.modules]
print(done.status, done.forward_passes, heavy)
"""


def test_a_second_extraction_imports_no_framework(store, folder):
    floor = pixels_floor()
    job = planned(open_source(f"folder:{folder}"), floor, store)
    extract_split(job, lambda: open_engine(floor), created="2026-11-24T00:00:00Z")
    command = [sys.executable, "-c", SECOND_RUN, f"folder:{folder}", str(store.path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=Path(extract.__file__).parents[1], check=False)
    assert (found.stdout, found.stderr) == ("cached 0 []\n", "")


# A store that was harmed


@pytest.mark.parametrize("part", ["manifest.json", "ledger.parquet", "features.h5", "set.json"])
def test_a_damaged_set_is_published_anew(lab, spoiled, part):
    source = open_source(f"folder:{spoiled}")
    first = lab.extract(source, budget=Budget(3)).feature_set
    (first.folder / part).write_bytes(b"not what was published")
    second = lab.extract(source, budget=Budget(3))
    assert (second.forward_passes, second.feature_set.key) == (0, first.key)
    second.feature_set.verify()
    assert second.feature_set.ledger()["status"].tolist().count("quarantined") == 3


def test_rows_are_bitwise_the_same_after_interruptions_and_with_other_batches(
    lab, make_source, small_network, pixels, encode, monkeypatch
):
    """OpenVINO; as a pool's rows must be, whoever computed them and in how many attempts."""
    source = make_source([Example(f"{at:03d}", at % 2, encode(pixels(at), "JPEG")) for at in range(90)])
    opened = open_engine(small_network)
    assert opened.name == "openvino"
    whole = lab.extract(source, extractor=small_network, engine=Limited(opened, 64))
    store = FeatureStore.create(lab.store.path.with_name("again"))
    job = planned(source, small_network, store)
    monkeypatch.setattr(extract.shares, "CHUNK", 16)
    for batch_size, batches in ((7, 5), (1, 20)):
        engine = Limited(open_engine(small_network), batch_size, batches)
        with pytest.raises(OSError, match="the device is gone"):
            extract_split(job, lambda engine=engine: engine, created="2026-11-24T00:00:00Z")
    found = extract_split(job, lambda: Limited(opened, 32), created="2026-11-24T00:00:00Z")
    assert 0 < found.forward_passes < 90
    assert found.feature_set.key == whole.feature_set.key
    assert np.array_equal(found.feature_set.features[:], whole.feature_set.features[:])


class Limited:
    """An engine with another batch size, which dies after so many batches."""

    def __init__(self, engine, batch_size, batches=None):
        self._engine = engine
        self._batches = batches
        self.batch_size = batch_size

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def __call__(self, images):
        if self._batches == 0:
            raise OSError("the device is gone")
        if self._batches:
            self._batches -= 1
        return self._engine(images)
