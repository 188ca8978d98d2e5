"""Views from the command line: extracted beside the images' own sets, trained on, and never tested on."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from extract import WHOLE, Budget, Computed, open_engine
from linprobe.cli import main
from linprobe.commands.extract import _training_splits
from linprobe.commands.gate import check_gate
from linprobe.executors.crew import Crew
from linprobe.executors.spec import SplitSpec, Workshop
from linprobe.job.config import DatasetConfig, ExtractorConfig, GateConfig
from linprobe.job.environment import Environment
from linprobe.models.golden_rows import GoldenRows
from probe import SplitError
from store import FeatureStore


def draw(folder):
    """Base splits train, 24 images, and test, 12; bright and dark ones."""
    rng = np.random.default_rng(0)
    for base, count in (("train", 12), ("test", 6)):
        for name, low in (("bright", 128), ("dark", 0)):
            (folder / base / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(low, low + 128, (20, 30, 3), np.uint8)
                Image.fromarray(pixels).save(folder / base / name / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A folder of base splits that no test changes."""
    return draw(tmp_path_factory.mktemp("images") / "split")


@pytest.fixture(scope="module")
def views_store(tmp_path_factory, split):
    """A store of its pixels, and of two views of those of train; to be copied, not used."""
    store = tmp_path_factory.mktemp("views") / "store"
    assert main(["extract", *asking(split)[:-1], "--views", "2", "--store", str(store)]) == 0
    return store


def asking(split):
    return ("--dataset", f"folder:{split}", "--extractor", "pixels", "--json")


@pytest.fixture
def asked(split):
    """What extract and probe are asked for."""
    return asking(split)


@pytest.fixture
def viewed(run, views_store, split, tmp_path):
    """The current folder's store has the images and two views of those of train; with what the dataset is called."""
    shutil.copytree(views_store, tmp_path / "linprobe-store")
    return FeatureStore(tmp_path / "linprobe-store"), f"folder:{split}"


def named(document):
    return [(row["split"], row["extractor"], row["status"], row["forward_passes"]) for row in document["feature_sets"]]


def write(tmp_path, text):
    path = tmp_path / "job.toml"
    path.write_text(text)
    return path


@pytest.mark.framework
def test_views_of_train_are_sets_of_their_own_and_test_has_none(viewed):
    store, dataset = viewed
    catalog = store.catalog()
    assert sorted(zip(catalog["split"], catalog["extractor"], catalog["is_current"], strict=True)) == [
        ("test", "pixels", True), ("train", "pixels", True), ("train", "pixels@view1", True),
        ("train", "pixels@view2", True),
    ]  # fmt: skip
    plain = store.get(dataset, "train", "pixels")
    for number in (1, 2):
        view = store.get(dataset, "train", f"pixels@view{number}")
        assert np.array_equal(view.content_sha256, plain.content_sha256)
        assert np.array_equal(view.labels, plain.labels)
        assert store.pool_key(view.manifest["pool"]).preprocessing["view"] == number
        assert not np.isclose(view.features[:], plain.features[:]).all(axis=1).any()


@pytest.mark.framework
def test_a_second_extraction_makes_no_forward_pass_and_a_further_view_only_its_own(run, viewed, asked):
    again = run("extract", *asked, "--views", "2")[1]
    assert named(again) == [
        ("train", "pixels", "cached", 0), ("test", "pixels", "cached", 0),
        ("train", "pixels@view1", "cached", 0), ("train", "pixels@view2", "cached", 0),
    ]  # fmt: skip
    planned = run("extract", *asked, "--views", "3", "--dry-run")[1]
    assert named(planned) == [*named(again), ("train", "pixels@view3", "planned", 24)]


@pytest.mark.framework
def test_a_head_trains_on_views_and_is_tested_on_pictures(run, viewed, asked):
    store, dataset = viewed
    code, document, err = run("probe", *asked, "--head", "ridge", "--views", "2")
    assert code == 0
    (row,) = document["runs"]
    assert (row["views"], row["n_train"], row["n_train_rows"], row["n_test"]) == (2, 24, 72, 12)
    assert "pixels ridge with 2 views: accuracy" in err
    kept = store.run(row["run_id"])
    keys = {name: store.get(dataset, "train", name).key for name in ("pixels", "pixels@view1", "pixels@view2")}
    assert kept.config["view_sets"] == [{"train": keys["pixels@view1"]}, {"train": keys["pixels@view2"]}]
    assert kept.config["sets"] == {"test": store.get(dataset, "test", "pixels").key, "train": keys["pixels"]}
    again = run("probe", *asked, "--head", "ridge", "--views", "2")[1]["runs"][0]
    assert (again["status"], again["run_id"]) == ("cached", row["run_id"])
    plain = run("probe", *asked, "--head", "ridge")[1]["runs"][0]
    assert plain["run_id"] != row["run_id"]
    assert (plain["views"], plain["n_train_rows"]) == (0, 24)


@pytest.mark.framework
def test_a_file_says_how_many_views_are_made_and_which_heads_train_on_how_many(run, split, tmp_path):
    job = write(
        tmp_path,
        f"""
        [[datasets]]
        source = "folder:{split}"
        [[extractors]]
        name = "pixels"
        views = 2
        [[probes]]
        head = "ridge"
        [[probes]]
        head = "ridge"
        views = 1
        """,
    )
    extracted = run("extract", job, "--json")[1]
    assert [row["extractor"] for row in extracted["feature_sets"]] == ["pixels"] * 2 + ["pixels@view1", "pixels@view2"]
    runs = run("probe", job, "--json")[1]["runs"]
    assert [(row["views"], row["n_train_rows"]) for row in runs] == [(0, 24), (1, 48)]
    # Two questions, and so two rows of the report.
    table = json.loads(run("report", "--format", "json")[1])
    assert sorted(row["views"] for row in table) == [0, 1]
    compared = run("compare", runs[0]["run_id"], runs[1]["run_id"])[1]
    assert "/ ridge with 1 view  " in compared
    # A gate compares like with like.
    gate = GateConfig(max_drop=1.0, baselines=(runs[1]["run_id"],))
    store = FeatureStore(tmp_path / "linprobe-store")
    assert [verdict.drop for verdict in check_gate(gate, runs, store).verdicts] == [0.0]
    (failure,) = check_gate(gate, runs[:1], store).failures
    assert "no run of tonight answers the same question" in str(failure.error)


@pytest.mark.framework
@pytest.mark.parametrize("head", ["ridge", "knn"])
def test_a_run_with_views_predicts_by_the_images_own_preprocessing(run, viewed, asked, split, head):
    row = run("probe", *asked, "--head", head, "--views", "2")[1]["runs"][0]
    table = viewed[0].predictions(row["run_id"])
    files = [split / name for name in table["example_id"]]
    code, document, _ = run("predict", "--run", row["run_id"], *files, "--json")
    assert code == 0
    found = [prediction["confidence"] for prediction in document["predictions"]]
    assert found == pytest.approx(table["confidence"].tolist(), abs=1e-6)


@pytest.mark.framework
def test_golden_rows_of_views_are_computed_again(run, viewed, monkeypatch):
    code, document, _ = run("store", "verify", "--deep", "--json")
    assert code == 0
    assert document["problems"] == []
    # And would tell, were they others: the same rows under the name of another view.
    store, dataset = viewed
    one, two = (store.get(dataset, "train", f"pixels@view{number}") for number in (1, 2))
    opened = []
    monkeypatch.setattr(
        "linprobe.models.golden_rows.open_engine", lambda *asked: opened.append(asked[0].name) or open_engine(*asked)
    )
    golden = GoldenRows(store, Environment({}), lambda text: None)
    ids = one.example_ids[:3].tolist()
    again = golden(one, ids)
    assert all(np.allclose(again[name], one.features[at], atol=1e-4) for at, name in enumerate(ids))
    assert not any(np.allclose(again[name], two.features[at], atol=1e-4) for at, name in enumerate(ids))
    other = golden(two, ids)
    assert all(np.allclose(other[name], two.features[at], atol=1e-4) for at, name in enumerate(ids))
    assert opened == ["pixels@view1"]


@pytest.mark.framework
def test_missing_views_end_with_69_and_name_the_command(run, viewed, asked):
    code, document, err = run("probe", *asked, "--head", "ridge", "--views", "3")
    assert code == 69
    assert document["runs"] == []
    assert "pixels@view3: no view 3 of the training images" in err
    assert "run 'linprobe extract' with views = 3 (--views 3) first" in err


@pytest.mark.framework
def test_images_that_were_added_without_their_views_are_named(run, tmp_path):
    split = draw(tmp_path / "split")
    asked = asking(split)
    assert run("extract", *asked, "--views", "1")[0] == 0
    shutil.copy(split / "test" / "dark" / "00.png", split / "train" / "dark" / "more.png")
    assert run("extract", *asked)[0] == 0
    code, _, err = run("probe", *asked, "--head", "knn", "--views", "1")
    assert code == 69
    assert "view 1 of 'train' lacks 1 of the 25 training images, such as 'train/dark/more.png'" in err
    assert named(run("extract", *asked, "--views", "1")[1])[-1] == ("train", "pixels@view1", "extracted", 1)
    assert run("probe", *asked, "--head", "knn", "--views", "1")[0] == 0


@pytest.mark.framework
def test_views_by_other_settings_than_the_images_are_not_mixed_in(run, viewed, split, tmp_path):
    job = write(
        tmp_path, f'[[datasets]]\nsource = "folder:{split}"\n[[extractors]]\nname = "pixels"\nresize = "bicubic"\n'
    )
    assert run("extract", job, "--json")[0] == 0
    code, _, err = run("probe", job, "--head", "ridge", "--views", "1", "--json")
    assert code == 69
    assert "pixels@view1: view 1 by the weights and settings of the set" in err


def test_a_view_alone_is_no_extractor(run):
    code, _, err = run("probe", "--dataset", "bundled:digits", "--extractor", "pixels@view1")
    assert code == 2
    assert "extractor 'pixels@view1': views are for training alone; take 'pixels' with --views 1" in err


@pytest.mark.parametrize("views", ["-1", "101", "many"])
def test_an_impossible_number_of_views_is_refused(run, views):
    for command in ("extract", "probe"):
        assert run(command, "--dataset", "bundled:digits", "--views", views)[0] == 2


@pytest.mark.parametrize(
    ("extractor", "probe", "message"),
    [
        ("views = -1", "", "extractors.1.views: 0 or more expected, got -1"),
        ("views = 101", "", "extractors.1.views: at most 100 expected, got 101"),
        ("views = 2.5", "", "extractors.1.views: a whole number expected, got 2.5"),
        ("views = 2", "views = 3", "probes.1.views: at most the 2 views of the extractor 'pixels' expected, got 3"),
    ],
)
def test_impossible_views_of_a_file_are_named(run, tmp_path, extractor, probe, message):
    job = write(
        tmp_path,
        f'[[datasets]]\nsource = "bundled:digits"\n[[extractors]]\nname = "pixels"\n{extractor}\n'
        f'[[probes]]\nhead = "ridge"\n{probe}\n',
    )
    code, _, err = run("probe", job)
    assert code == 2
    assert message in err


@pytest.mark.framework
def test_base_splits_that_training_may_draw_on_get_views(run, tmp_path):
    split = draw(tmp_path / "split")
    shutil.copytree(split / "test", split / "validation")
    for keys, expected in (("", ["train"]), ('train = "train+validation[:2]"', ["train", "validation"])):
        job = write(
            tmp_path,
            f'[[datasets]]\nname = "d"\nsource = "folder:{split}"\n{keys}\n[[extractors]]\nname = "pixels"\nviews = 1\n',
        )
        rows = run("extract", job, "--json")[1]["feature_sets"]
        assert sorted(row["split"] for row in rows if row["extractor"] == "pixels") == ["test", "train", "validation"]
        assert sorted(row["split"] for row in rows if row["extractor"] == "pixels@view1") == expected


@pytest.mark.parametrize(
    ("names", "keys", "expected"),
    [
        (("a", "b"), {}, ["a", "b"]),
        (("a", "b"), {"test": "b[:50%]"}, ["a"]),
        (("a", "b", "c"), {"test": "b", "validation": "c"}, ["a"]),
        (("unlabelled", "test"), {}, ["unlabelled"]),
        (("test",), {}, []),
        (("train", "unlabelled"), {}, ["train"]),
        (("a", "b"), {"train": "all"}, ["a", "b"]),
        (("all",), {}, ["all"]),
        (("train", "test", "validation"), {}, ["train"]),
        (("train", "test"), {"train": "test[:5]", "test": "train"}, ["test"]),
        (("all",), {"train": "all/seed0[:80%]", "test": "all/seed0[80%:]"}, ["all"]),
    ],
)
def test_training_draws_on_what_a_probe_would_train_on(names, keys, expected):
    assert _training_splits(DatasetConfig(source="folder:x", **keys), names) == expected


def test_a_split_to_train_on_that_is_not_there_is_named():
    with pytest.raises(SplitError, match="there is no base split 'trian'; did you mean 'train'"):
        _training_splits(DatasetConfig(source="folder:x", train="trian[:50%]"), ("train", "test"))
    with pytest.raises(SplitError, match="'train\\[' cannot be read"):
        _training_splits(DatasetConfig(source="folder:x", train="train["), ("train", "test"))


@pytest.mark.framework
def test_who_asks_for_views_of_test_alone_is_told_why_there_are_none(run, asked):
    code, document, err = run("extract", *asked, "--split", "test", "--views", "1")
    assert code == 0
    assert [row["extractor"] for row in document["feature_sets"]] == ["pixels"]
    assert "no views: training draws on 'train' of its base splits, and 'test' was to be extracted" in err


@pytest.mark.framework
def test_a_worker_computes_the_view_that_it_is_given(split, views_store, tmp_path):
    store = FeatureStore.create(tmp_path / "store")
    spec = SplitSpec(
        store=store.path,
        dataset="d",
        source=f"folder:{split}",
        split="train",
        extractor=ExtractorConfig(name="pixels"),
        engine="auto",
        device="auto",
        budget=Budget(),
        accept_drift=False,
        known_files=(tmp_path / "stat", 0),
        share=WHOLE,
        view=2,
    )
    Workshop(Environment({}), lambda text: None).compute(spec, lambda progress: None)
    (pool,) = (store.path / "pools").iterdir()
    # Shards are named by their bytes.
    computed = sorted(path.name for path in (pool / "shards").iterdir())
    assert computed == sorted(path.name for path in (views_store / "pools" / pool.name / "shards").iterdir())
    assert FeatureStore(views_store).pool_key(pool.name).preprocessing["view"] == 2


@pytest.mark.framework
def test_workers_are_told_which_view(run, asked, monkeypatch):
    specs = []

    def leave_undone(self, spec, chunks, update):
        specs.append((spec.split, spec.extractor.name, spec.view))
        return Computed()

    monkeypatch.setattr(Crew, "is_worth", lambda self, chunks: True)
    monkeypatch.setattr(Crew, "compute", leave_undone)
    assert run("extract", *asked, "--views", "2")[0] == 0
    assert specs == [("train", "pixels", 0), ("test", "pixels", 0), ("train", "pixels", 1), ("train", "pixels", 2)]


@pytest.mark.framework
def test_views_of_a_base_split_that_is_gone_lose_their_name_with_it(run, tmp_path):
    split = draw(tmp_path / "split")
    shutil.copytree(split / "train", split / "validation")
    job = write(
        tmp_path,
        f'[[datasets]]\nname = "d"\nsource = "folder:{split}"\ntrain = "train+validation"\n'
        '[[extractors]]\nname = "pixels"\nviews = 1\n',
    )
    assert run("extract", job)[0] == 0
    shutil.rmtree(split / "validation")
    job.write_text(job.read_text().replace("train+validation", "train"))
    code, _, err = run("extract", job)
    assert code == 0
    assert (
        "d / validation / pixels@view1: the source has no base split 'validation' any more; the name has ended" in err
    )
    assert FeatureStore(tmp_path / "linprobe-store").splits("d", "pixels@view1") == ["train"]
