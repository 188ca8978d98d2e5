import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linprobe.cli import main

_OPENED = {}


@pytest.fixture(autouse=True)
def _opened_once(monkeypatch):
    """A network that an earlier test has loaded is not loaded again; how one is loaded is tested in test_extract."""
    import extract.engines

    load = extract.engines._open_network

    def open_network(extractor, engine, notify, *, device):
        known = extractor.pool_key().digest, extractor.weights_sha256, engine, device
        if known not in _OPENED:
            said = []
            opened = load(extractor, engine, said.append, device=device)
            if said:  # where something is told, it is told every time
                notify(*said)
                return opened
            _OPENED[known] = opened
        return _OPENED[known]

    monkeypatch.setattr(extract.engines, "_open_network", open_network)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty folder; gives exit code, stdout (parsed with --json) and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments and out else out, err

    return run


@pytest.fixture
def images(tmp_path):
    """A folder of two classes, 12 images each: dark ones and bright ones."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    for name, low in (("bright", 128), ("dark", 0)):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(low, low + 128, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture
def gone_and_mine(images, tmp_path):
    """Two datasets of a job's file, of which only the second is there."""
    return f"""
        [[datasets]]
        name = "gone"
        source = "folder:{tmp_path / "gone"}"
        [[datasets]]
        name = "mine"
        source = "folder:{images}"
        """


@pytest.fixture
def tree():
    """Everything below a folder with its bytes; the disposable cache aside."""

    def tree(folder):
        return {
            path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob("*"))
            if path.relative_to(folder).parts[0] != "cache"
        }

    return tree


@pytest.fixture(scope="session")
def digits_store(tmp_path_factory):
    """Stores that hold the pixels of some base splits of the digits; to be copied, not used."""
    made = {}

    def digits_store(*splits):
        if splits not in made:
            made[splits] = tmp_path_factory.mktemp("digits") / "store"
            asked = [argument for split in splits for argument in ("--split", split)]
            job = ["extract", "--dataset", "bundled:digits", "--extractor", "pixels", "--store", str(made[splits])]
            assert main([*job, *asked]) == 0
        return made[splits]

    return digits_store


@pytest.fixture
def extracted(run, digits_store, tmp_path):
    """The current folder's store holds the pixels of the digits."""
    shutil.copytree(digits_store("train", "test"), tmp_path / "linprobe-store")


@dataclass(frozen=True)
class TrainedStore:
    """A store with runs on images of three classes, by a small network that averages over space at its end."""

    store: Path
    images: Path
    dataset: str
    extractor: str

    def run(self, head="logistic"):
        return f"{self.dataset}/{self.extractor}/{head}"

    @property
    def files(self):
        return sorted(self.images.rglob("*.*"))


def draw_classes(folder):
    """Noise with one channel brighter than the others, in every second JPEG; wider than high."""
    rng = np.random.default_rng(3)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(14):
            pixels = rng.integers(0, 150, (24, 36, 3), np.uint8)
            pixels[:, 12:24, channel] += 50
            image = Image.fromarray(pixels)
            image.save(folder / name / f"{number:02d}.{'jpg' if number % 2 else 'png'}")


def save_small_network(folder):
    """Write a SavedModel: float32 (N, 32, 32, 3) in [0, 1] → (N, 12), the mean over space of its last layer."""
    import tensorflow as tf

    class Small(tf.Module):
        def __init__(self):
            rng = np.random.default_rng(5)
            self.first = tf.Variable(rng.normal(0, 0.3, (3, 3, 3, 8)).astype(np.float32))
            self.last = tf.Variable(rng.normal(0, 0.3, (3, 3, 8, 12)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
        def __call__(self, images):
            with tf.name_scope("first"):
                images = tf.nn.relu(tf.nn.conv2d(images, self.first, 2, "SAME"))
            with tf.name_scope("last"):
                images = tf.nn.relu6(tf.nn.conv2d(images, self.last, 2, "SAME"))
            return tf.reduce_mean(images, axis=[1, 2])

    tf.saved_model.save(Small(), str(folder))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    draw_classes(folder / "images")
    save_small_network(folder / "network")
    job = folder / "job.toml"
    extractor = f"savedmodel:{folder / 'network'}"
    job.write_text(
        f"""
        store = "{folder / "store"}"
        [[datasets]]
        name = "colours"
        source = "folder:{folder / "images"}"
        [[extractors]]
        name = "{extractor}"
        size = 32
        [[extractors]]
        name = "pixels"
        [[probes]]
        head = "logistic"
        [[probes]]
        head = "ridge"
        scaling = "none"
        [[probes]]
        head = "knn"
        """
    )
    assert main(["extract", str(job)]) == 0
    assert main(["probe", str(job)]) == 0
    return TrainedStore(folder / "store", folder / "images", "colours", extractor)
