"""The Python API: what a notebook sees. The commands behind it have tests of their own."""

import inspect
import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import linprobe as lp
from extract import BadData
from linprobe.job.errors import ConfigError
from probe import ProbeError
from store import FeatureSetNotFound, RunNotFound, StoreFormatError, StoreNotFound

PUBLIC = {
    "Comparison", "Explanation", "FeatureExtractor", "FeatureStore", "Features", "Images", "LinprobeError", "Run", "Runs",
    "SoftmaxPathCV", "Workspace", "WorkspaceClosed", "__version__", "images", "open",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A workspace with the digits by `pixels`, and a run of ridge."""
    ws = lp.open(tmp_path_factory.mktemp("api") / "store")
    digits = ws.extract("bundled:digits", "pixels", name="digits")
    return ws, digits, digits.probe("ridge")


@pytest.mark.heavy
def test_public_names_are_these_and_light():
    assert set(lp.__all__) == PUBLIC
    code = (
        "import sys, linprobe; heavy = {'tensorflow', 'sklearn', 'matplotlib', 'scipy', 'pandas', 'numpy'} & set(sys.modules);"
        "linprobe.open; linprobe.Workspace; linprobe.images;"
        "late = {'tensorflow', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules); print(heavy, late)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set() set()\n"
    assert all(hasattr(lp, name) for name in PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lp.nothing  # noqa: B018


def test_public_functions_are_documented():
    for name in PUBLIC - {"__version__"}:
        thing = getattr(lp, name)
        assert thing.__doc__, name
        own = vars(thing) if inspect.isclass(thing) and thing.__module__.startswith("linprobe") else {}
        for member, value in own.items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{member}"


@pytest.mark.framework
def test_five_lines_do_the_whole_job(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ws = lp.open()
    digits = ws.extract("bundled:digits", "pixels", name="digits")
    runs = digits.probes(["ridge", "knn"])
    found = ws.compare(runs[0], runs[1])
    page = ws.report()
    assert ws.path == tmp_path / "linprobe-store"
    assert [run.config["head"] for run in runs] == ["ridge", "knn"]
    assert "McNemar's exact test" in str(found)
    assert page == tmp_path / "linprobe-report" / "index.html"
    assert page.is_file()
    # Nothing but progress is printed, and that only in terminals and notebooks.
    assert capsys.readouterr() == ("", "")


def test_the_environment_names_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("LINPROBE_STORE", str(tmp_path / "named"))
    assert lp.open().path == tmp_path / "named"
    assert lp.open(tmp_path / "given").path == tmp_path / "given"


@pytest.mark.framework
def test_what_is_there_costs_no_forward_pass_and_no_training(shared, caplog):
    ws, _digits, ridge = shared
    with caplog.at_level(logging.INFO, "linprobe"):
        again = ws.extract("bundled:digits", "pixels", name="digits")
        assert again.probe("ridge").id == ridge.id
    assert "digits/train pixels: cached, 1,437 rows, no forward pass" in caplog.text
    assert "cached, run" in caplog.text


@pytest.mark.framework
def test_features_are_the_sets_of_the_store(shared):
    ws, digits, _ = shared
    assert digits.splits == ["test", "train"]
    assert digits.class_names == list("0123456789")
    assert len(digits) == 1797
    assert digits.set("test").features.shape == (360, 768)
    with pytest.raises(FeatureSetNotFound, match="split expected, for there are 2: test, train"):
        digits.set()
    ledger = digits.ledger()
    assert ledger.groupby("split").size().to_dict() == {"test": 360, "train": 1437}
    assert ws.features("digits", "pixels").set("train").key == digits.set("train").key
    with pytest.raises(FeatureSetNotFound, match=r"no cached features of digits by clip .*extract"):
        ws.features("digits", "clip")


@pytest.mark.framework
def test_parts_and_arrays_are_those_of_a_probe(shared):
    _, digits, ridge = shared
    train, test = digits.parts()
    assert (train.name, train.split, len(train), test.split, len(test)) == ("train", "train", 1437, "test", 360)
    assert test.example_ids.tolist() == ridge.predictions()["example_id"].tolist()
    np.testing.assert_array_equal(test.features, np.asarray(digits.set("test").features))
    arrays = digits.arrays(train="train[:50%]", test="train[50%:]")
    assert [array.shape for array in arrays] == [(718, 768), (719, 768), (718,), (719,)]
    np.testing.assert_array_equal(arrays.y_train, digits.set("train").labels[:718])
    with pytest.raises(ProbeError, match="share"):
        digits.arrays(train="train", test="train[:10]")


@pytest.mark.framework
def test_a_run_says_what_the_store_says(shared):
    ws, _, ridge = shared
    row = ws.results(head="ridge").iloc[0]
    assert (ridge.accuracy, *ridge.interval) == (row["accuracy"], row["accuracy_low"], row["accuracy_high"])
    assert ridge.metrics["nll"] == row["nll"]
    assert ridge.selected == row["selected"]
    assert ws.run("digits/pixels/ridge").id == ws.run(ridge.id[:10]).id == ridge.id
    predictions = ws.predictions(ridge)
    assert predictions["is_correct"].mean() == pytest.approx(ridge.accuracy)
    assert (predictions["label_name"] == predictions["label"].astype(str)).all()
    with pytest.raises(RunNotFound, match="did you mean 'digits/pixels/ridge'"):
        ws.run("digits/pixels/rigde")
    with pytest.raises(ConfigError, match="no column 'heads'; there are run_id, dataset"):
        ws.results(heads="ridge")


@pytest.mark.framework
@pytest.mark.parametrize("head", ["ridge", "knn"])
def test_probabilities_are_those_of_the_test(shared, head):
    _, digits, _ = shared
    run = digits.probe(head)
    predictions, probabilities = run.predictions(), run.probabilities()
    assert probabilities.shape == (360, 10)
    assert probabilities.index.tolist() == predictions["example_id"].tolist()
    # Kept in float32.
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(probabilities.max(axis=1), predictions["confidence"], rtol=1e-6)
    assert (probabilities.to_numpy().argmax(axis=1) == predictions["predicted"]).all()


@pytest.mark.framework
def test_many_probes_are_a_sequence_with_a_frame(shared):
    _, digits, _ = shared
    runs = digits.probes([{"head": "knn", "k": [3, 5]}, "ridge"], shots=[1, "all"], seeds=[0, 4])
    frame = runs.frame()
    assert frame[["head", "shots", "seed"]].to_numpy().tolist() == [
        [head, shots, seed] for head in ("knn", "ridge") for shots in (1, "all") for seed in (0, 4)
    ]
    assert [run.id for run in runs] == frame["run_id"].tolist()
    assert [run.id for run in runs[2:4]] == frame["run_id"].tolist()[2:4]
    assert "<table" in runs._repr_html_()
    assert str(round(runs[0].accuracy, 3)) in repr(runs)


@pytest.mark.framework
def test_images_from_arrays_and_from_a_frame(shared, images, tmp_path):
    ws, _, ridge = shared
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 9, 9, 3), np.uint8)
    made = ws.extract(lp.images(pixels, ["cat", "dog", "eel"] * 10), "pixels", name="arrays")
    assert (made.splits, made.class_names, len(made)) == (["all"], ["cat", "dog", "eel"], 30)
    assert made.set().labels.tolist() == [0, 1, 2] * 10
    files = sorted(images.rglob("*.png"))
    frame = pd.DataFrame({"file": files, "kind": [path.parent.name for path in files], "part": ["train", "test"] * 12})
    frame["file"] = frame["file"].astype(str)
    listed = ws.extract(lp.images(frame, path="file", label="kind", split="part"), "pixels", name="frame")
    assert listed.splits == ["test", "train"]
    assert listed.set("train").example_ids.tolist() == frame["file"].tolist()[::2]
    # The same bytes give the same rows, whoever lists them.
    folder = ws.extract(f"folder:{images}", "pixels")
    rows = dict(
        zip((f"{images}/{name}" for name in folder.set().example_ids), np.asarray(folder.set().features), strict=True)
    )
    np.testing.assert_array_equal(np.asarray(listed.set("train").features), [rows[name] for name in frame["file"][::2]])
    found = ridge.predict(rng.integers(0, 256, (2, 8, 8), np.uint8))
    assert found["image"].tolist() == ["0000000", "0000001"]
    np.testing.assert_allclose(found[ridge.class_names].sum(axis=1), 1)
    assert ridge.predict(str(files[0]))["image"].tolist() == [str(files[0])]


PIXELS = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((PIXELS.astype(np.float32), [0, 1]), {}, r"\(N, H, W, 3\) uint8 expected, float32 \(2, 4, 4, 3\) found"),
        ((PIXELS.transpose(0, 3, 1, 2), [0, 1]), {}, r"channels last, \(2, 3, 4, 4\) found"),
        (
            ([PIXELS[0], PIXELS[1] / 2], [0, 1]),
            {},
            "image 1: .* float64 .* found. Numbers without a stated range are not guessed",
        ),
        ((PIXELS, [0, 1, 1]), {}, "one label for each of 2 images expected, 3 found"),
        ((PIXELS, [0, 1.5]), {}, "labels as whole numbers or texts expected, 0 found|whole numbers or texts expected"),
        ((PIXELS, [-1, 1]), {}, "labels from 0 on expected, -1 found"),
        ((PIXELS, [0, 2]), {"class_names": ["a", "b"]}, "image 1: a label from 0 to 1 expected, 2 found"),
        ((PIXELS, ["a", "c"]), {"class_names": ["a", "b"]}, "labels among a, b expected, 'c' found"),
        ((PIXELS,), {}, "labels expected, one for each image"),
        (([], []), {}, "at least one image expected, none given"),
        (("flowers", [0]), {}, "a folder is named by 'folder:flowers'"),
        ((PIXELS, [0, 1]), {"example_id": ["x", "x"]}, "the id 'x' is duplicated"),
        (
            (pd.DataFrame({"file": ["a.png"], "kind": ["x"]}),),
            {},
            r"a column 'path' expected \(path=…\), the DataFrame has file, kind",
        ),
        (
            (pd.DataFrame({"path": ["a.png", None], "label": ["x", "y"]}),),
            {},
            "a value in every row of 'path' expected, 1 of 2 are empty",
        ),
        ((pd.DataFrame({"path": ["a.png"], "label": ["x"]}), [0]), {}, "the labels of a DataFrame are its column"),
    ],
)
def test_images_that_cannot_be_meant_so_are_refused(arguments, named, message):
    with pytest.raises(BadData, match=message) as caught:
        lp.images(*arguments, **named).source("mine")
    assert isinstance(caught.value, ValueError)


@pytest.mark.framework
def test_images_in_memory_need_a_name(shared):
    with pytest.raises(
        ConfigError, match=r"images in memory have no name; give one: extract\(images, extractor, name=…\)"
    ):
        shared[0].extract(lp.images(PIXELS, [0, 1]), "pixels")


@pytest.mark.framework
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ws, d: ws.extract("bundled:digits", "pixels", engine="cuda"), ConfigError, "extract: extractors.1.engine: .* expected, got \"cuda\""),
        (lambda ws, d: ws.extract("bundled:digits", "pixels", sizes=3), ConfigError, "extract: extractors.1.sizes: no such key; did you mean 'size'"),
        (lambda ws, d: ws.extract("bundled:digit", "pixels"), LookupError, "did you mean 'digits'"),
        (lambda ws, d: d.probe("ridgy"), LookupError, "ridgy"),
        (lambda ws, d: d.probe("ridge", scalings="l2"), ValueError, "scalings"),
        (lambda ws, d: d.probe("ridge", shots=0), ConfigError, "probes: probes.1.shots.1: 1 or more .*expected, got 0"),
        (lambda ws, d: d.probe("ridge", train="nothing"), ValueError, "nothing"),
    ],
)  # fmt: skip
def test_mistakes_raise_and_leave_the_store_as_it_was(shared, call, error, message):
    ws, digits, _ = shared
    before = len(ws.datasets()), len(ws.results())
    with pytest.raises(error, match=message):
        call(ws, digits)
    assert (len(ws.datasets()), len(ws.results())) == before


@pytest.mark.framework
def test_what_was_done_before_a_failure_is_kept_and_told(shared):
    ws, digits, _ = shared
    with pytest.raises(ProbeError, match="shots = 5000: train has fewer different images") as caught:
        digits.probes(["ridge"], shots=[2, 5000], seeds=1)
    assert caught.value.__notes__ == [f"1 runs were done besides, and are kept in {ws.path}."]
    assert len(ws.results(shots=2)) >= 1


def test_a_closed_workspace_says_so(tmp_path):
    with lp.open(tmp_path / "s") as ws:
        assert "none yet" in repr(ws)
        with pytest.raises(StoreNotFound, match="no store here"):
            _ = ws.store
    for use in (lambda: ws.store, lambda: ws.extract("bundled:digits", "pixels"), ws.results, ws.datasets, ws.report):
        with pytest.raises(
            lp.WorkspaceClosed, match=r"an open workspace expected, this one was closed; linprobe.open\(\) it"
        ):
            use()
    assert issubclass(lp.WorkspaceClosed, ValueError)
    assert not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_refused_at_once(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreFormatError, match="not a store"):
        lp.open(tmp_path)


@pytest.mark.framework
def test_everything_prints_well(shared):
    ws, digits, ridge = shared
    compared = ws.compare(ridge, digits.probe("knn"))
    for thing, expected in (
        (ws, "extractors  pixels"), (digits, "Features of digits by pixels"), (ridge, "digits / pixels / ridge"),
        (digits.parts()[0], "train"), (compared, "A - B"), (lp.images(PIXELS, [0, 1]), "2 images of 2 classes"),
    ):  # fmt: skip
        assert expected in repr(thing)
        assert "\n\n\n" not in repr(thing)
    assert "<table>" in ridge._repr_html_()
    assert "<pre>" in compared._repr_html_()
    assert compared.p_value == compared.mcnemar
    assert set(compared.classes().columns) == {"class_name", "n", "difference", "p_value", "p_holm"}
    assert "p_holm" not in dir(compared)
    assert {"accuracy", "p_value", "n_pictures"} <= set(dir(compared))


@pytest.mark.framework
def test_the_transformer_is_scikit_learns_and_computes_each_row_once(tmp_path, shared):
    _, _digits, _ = shared
    store = tmp_path / "store"
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    pixels = (rng.integers(0, 100, (24, 6, 6, 3)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    extractor = lp.FeatureExtractor("pixels", store=store)
    assert clone(extractor).get_params() == {"extractor": "pixels", "store": store, "engine": "auto", "device": "auto"}
    pipeline = make_pipeline(extractor, LogisticRegression()).fit(pixels, labels)
    assert pipeline.score(pixels, labels) == 1.0
    rows = extractor.transform(pixels)
    assert (rows.shape, rows.dtype) == ((24, 768), np.float32)
    # Equal images, in any order and number, from the pool.
    (pool,) = (store / "pools").iterdir()
    shards = sorted((pool / "shards").iterdir())
    order = [3, 3, 0, 23]
    np.testing.assert_array_equal(extractor.transform(pixels[order]), rows[order])
    assert sorted((pool / "shards").iterdir()) == shards
    assert extractor.get_feature_names_out().tolist()[:2] == ["f0000", "f0001"]
    assert not list((store / "sets").iterdir()) if (store / "sets").exists() else True


def test_the_transformer_names_what_is_no_image(tmp_path):
    extractor = lp.FeatureExtractor("pixels", store=tmp_path / "store")
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(BadData, match=r"1 of the 1 images read so far cannot be decoded"):
        extractor.transform([tmp_path / "a.png"])
    with pytest.raises(BadData, match=r"0000000: cannot be read|cannot be decoded"):
        extractor.transform([tmp_path / "gone.png"])
    with pytest.raises(ConfigError, match=r"FeatureExtractor: extractors.1.engine"):
        lp.FeatureExtractor("pixels", store=tmp_path / "store", engine="x").transform(PIXELS)
