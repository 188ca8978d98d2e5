import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from extract import Declared, ModelCaches, ModelMismatch, ModelUnavailable, ParameterCounts, open_engine, open_extractor
from extract.extractors import HUB_MODELS
from extract.extractors.saved_model import hub_cache_path

pytestmark = pytest.mark.framework

SIZE = 8
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, 5)).astype(np.float32)
IMAGES = np.random.default_rng(1).uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
# [0, 1] is what a SavedModel gets unless its range is declared.
EXPECTED = (IMAGES.reshape(3, -1) / np.float64(255)) @ WEIGHTS
DECLARED = Declared(size=SIZE)
COUNTS = ParameterCounts(SIZE * SIZE * 3 * 5, 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """SavedModels that map 8 by 8 images to five numbers, each another way.

    callable    a module that is called            signature   has a serving_default, and is not callable
    two, dict   two outputs                        bytes       wants uint8
    map         gives (N, 8, 8, 3)                 dynamic     the length of its vector shows when it runs
    keras       as Keras exports it                nothing     neither callable nor a signature
    anysize     does not say what it takes         older       has a signature `default`
    """
    import keras
    import tensorflow as tf

    spec = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(WEIGHTS)

        def vectors(self, images):
            return tf.reshape(images, (-1, SIZE * SIZE * 3)) @ self.weights

    class Callable(Module):
        def __init__(self, output):
            super().__init__()
            self.output = output

        @tf.function(input_signature=[spec], autograph=False)
        def __call__(self, images):
            return self.output(self, images)

    folder = tmp_path_factory.mktemp("models")
    outputs = {
        "callable": lambda module, x: module.vectors(x),
        "two": lambda module, x: (module.vectors(x), 2 * module.vectors(x)),
        "dict": lambda module, x: {"embedding": module.vectors(x), "logits": 2 * module.vectors(x)},
        "map": lambda module, x: x * module.weights[0, 0],
        "dynamic": lambda module, x: tf.reshape(module.vectors(x), (tf.shape(x)[0], -1)),
    }
    for name, output in outputs.items():
        tf.saved_model.save(Callable(output), str(folder / name))

    module = Module()

    def sign(name, key, spec, function):
        concrete = tf.function(function, autograph=False).get_concrete_function(spec)
        tf.saved_model.save(module, str(folder / name), signatures={key: concrete})

    sign("signature", "serving_default", spec, lambda x: {"embedding": module.vectors(x)})
    sign("older", "default", spec, lambda x: {"default": module.vectors(x)})
    sign("anysize", "serving_default", tf.TensorSpec(None, tf.float32), lambda x: {"embedding": module.vectors(x)})
    pixels = tf.TensorSpec((None, SIZE, SIZE, 3), tf.uint8)
    sign("bytes", "serving_default", pixels, lambda x: {"embedding": module.vectors(tf.cast(x, tf.float32))})
    tf.saved_model.save(module, str(folder / "nothing"))

    dense = keras.layers.Dense(5, use_bias=False)
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten(), dense])
    dense.set_weights([WEIGHTS])
    model.export(str(folder / "keras"), verbose=False)
    return folder


def extractor_of(models, name, declared=DECLARED):
    nowhere = models / "nowhere"
    return open_extractor(f"savedmodel:{models / name}", ModelCaches(nowhere, nowhere), declared)


@pytest.mark.parametrize("name", ["callable", "signature", "older", "anysize", "keras"])
@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_model_with_one_vector_per_image_is_taken_as_it_is(models, name, engine):
    loaded = open_engine(extractor_of(models, name), engine)
    assert np.allclose(loaded(IMAGES), EXPECTED, atol=1e-4)
    assert (loaded.dim, loaded.parameters) == (5, COUNTS)


def test_the_declared_range_is_what_the_network_sees(models):
    loaded = open_engine(extractor_of(models, "callable", Declared(size=SIZE, value_range="0..255")), "tensorflow")
    assert np.allclose(loaded(IMAGES), EXPECTED * 255, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("name", "output"), [("two", "output_1"), ("dict", "logits")])
def test_one_of_two_outputs_is_chosen_by_name(models, name, output):
    found = extractor_of(models, name, Declared(size=SIZE, output=output))
    assert np.allclose(open_engine(found, "tensorflow")(IMAGES), 2 * EXPECTED, atol=1e-4)
    assert found.pool_key() != extractor_of(models, name).pool_key()


def test_an_output_may_be_named_where_there_is_one(models):
    loaded = open_engine(extractor_of(models, "signature", Declared(size=SIZE, output="embedding")), "tensorflow")
    assert np.allclose(loaded(IMAGES), EXPECTED, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "declared", "message"),
    [
        ("two", DECLARED, r"two: 2 outputs, \['output_0', 'output_1'\]; name one as output"),
        ("dict", DECLARED, r"dict: 2 outputs, \['embedding', 'logits'\]; name one as output"),
        ("dict", Declared(size=SIZE, output="logit"), r"no output 'logit'; it has \['embedding', 'logits'\]"),
        ("callable", Declared(size=9), r"callable: does not take float32 \(9, 9, 3\) images"),
        ("signature", Declared(size=9), r"takes images of shape \(8, 8, 3\), size 9 was declared; declare its size"),
        ("keras", Declared(size=9), r"takes images of shape \(8, 8, 3\), size 9 was declared"),
        ("callable", Declared(size=SIZE, dim=6), "dim 6 was declared, but it gives 5 numbers; declare dim = 5"),
        ("map", DECLARED, r"a vector of fixed length per image expected, shape \(None, 8, 8, 3\) found"),
        ("dynamic", DECLARED, r"a vector of fixed length per image expected, shape \(None, None\) found"),
        ("bytes", DECLARED, "takes uint8 images, float32 expected"),
        ("nothing", DECLARED, r"neither callable nor with a signature serving_default; found \[\]"),
    ],
)
def test_a_model_that_is_not_what_was_declared_is_refused(models, name, declared, message):
    with pytest.raises(ModelMismatch, match=message) as caught:
        open_engine(extractor_of(models, name, declared), "tensorflow")
    # The message is ours and short: no page of autograph around it.
    assert len(str(caught.value)) < 600


def test_a_model_is_refused_before_anything_is_written(models, lab, make_source, tree):
    from split_jobs import extract_split

    from extract import Example, SplitJob

    found = extractor_of(models, "map")
    before = tree(lab.store.path)
    source = make_source([Example("a", 0, np.zeros((8, 8, 3), np.uint8))])
    job = SplitJob(source=source, split="all", extractor=found, store=lab.store, dataset="x")
    with pytest.raises(ModelMismatch, match="a vector of fixed length per image expected"):
        extract_split(job, lambda: open_engine(found), created="2026-11-24T00:00:00Z")
    assert tree(lab.store.path) == before


def test_a_damaged_model_is_refused(models, tmp_path):
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "saved_model.pb").write_bytes(b"hello")
    with pytest.raises(ModelMismatch, match=r"garbage/saved_model\.pb: not a SavedModel's graph, or cut off"):
        open_engine(extractor_of(tmp_path, "garbage"))
    shutil.copytree(models / "callable", tmp_path / "halved")
    shutil.rmtree(tmp_path / "halved" / "variables")
    with pytest.raises(ModelMismatch, match="halved: TensorFlow cannot load this SavedModel"):
        open_engine(extractor_of(tmp_path, "halved"))


def test_the_identity_is_the_content_and_not_the_place(models, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(models / "callable", moved)
    key = extractor_of(models, "callable").pool_key()
    assert extractor_of(tmp_path, "moved").pool_key() == key
    (moved / "fingerprint.pb").write_bytes(b"another time of saving")
    assert extractor_of(tmp_path, "moved").pool_key() == key
    (moved / "assets").mkdir(exist_ok=True)
    (moved / "assets" / "words.txt").write_text("more")
    assert extractor_of(tmp_path, "moved").pool_key() != key


# TF-Hub

HANDLE = "https://tfhub.dev/tests/small/feature_vector/1"


def put_into_cache(model: Path, handle: str, cache: Path) -> Path:
    place = cache / hashlib.sha1(handle.encode()).hexdigest()
    shutil.copytree(model, place)
    return place


@pytest.mark.usefixtures("no_network")
def test_a_handle_in_the_cache_loads_without_network(models, caches):
    place = put_into_cache(models / "callable", HANDLE, caches.tfhub)
    assert hub_cache_path(HANDLE, caches.tfhub) == place
    found = open_extractor(f"hub:{HANDLE}", caches, DECLARED)
    assert found.name == f"hub:{HANDLE}"
    assert np.allclose(open_engine(found, "tensorflow")(IMAGES), EXPECTED, atol=1e-4)
    assert found.pool_key() == extractor_of(models, "callable").pool_key()


@pytest.mark.usefixtures("no_network")
def test_the_lessons_name_is_its_handle(models, caches):
    put_into_cache(models / "callable", HUB_MODELS["mobilenet_v2"].handle, caches.tfhub)
    found = open_extractor("mobilenet_v2", caches)
    assert (found.name, found.dim) == ("mobilenet_v2", 1280)
    assert (found.preprocessing.size, found.preprocessing.value_range) == (224, "0..1")
    by_handle = open_extractor(f"hub:{HUB_MODELS['mobilenet_v2'].handle}", caches)
    assert by_handle.pool_key() == found.pool_key()
    # What lies there is not what the handle promises: a vector of 5 from images of 8.
    with pytest.raises(ModelMismatch, match=r"does not take float32 \(224, 224, 3\) images"):
        open_engine(found)


# tensorflow_hub imports pkg_resources, which says at length that it is old.
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated as an API:UserWarning")
@pytest.mark.filterwarnings("ignore:Deprecated call to `pkg_resources.declare_namespace:DeprecationWarning")
@pytest.mark.usefixtures("no_network")
def test_a_handle_with_neither_cache_nor_network_says_what_to_do(caches, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(caches.tfhub))
    place = hub_cache_path(HANDLE, caches.tfhub)
    message = (
        rf"^{HANDLE}: not in the cache and cannot be downloaded \(.*the network is cut off.*\); on a machine with "
        rf"network, download it and unpack it into {place} \(with saved_model\.pb directly in it\)\.$"
    )
    with pytest.raises(ModelUnavailable, match=message):
        open_extractor(f"hub:{HANDLE}", caches)


def test_a_cache_folder_without_a_model_says_what_is_missing(caches):
    place = hub_cache_path(HANDLE, caches.tfhub)
    place.mkdir(parents=True)
    (place / "README").write_text("half a download")
    with pytest.raises(ModelUnavailable, match=r"no SavedModel here \(saved_model\.pb is missing\)"):
        open_extractor(f"hub:{HANDLE}", caches)
