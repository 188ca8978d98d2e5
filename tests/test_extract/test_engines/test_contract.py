"""What every engine promises, and what each promises besides."""

import builtins
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from extract import Engine, EngineUnavailable, ParameterCounts, UnknownName, open_engine
from extract.engines.frozen import freeze
from extract.engines.function_engine import FunctionEngine
from extract.engines.openvino_engine import OpenVinoEngine
from extract.engines.openvino_models import read_graph
from extract.engines.tensorflow_engine import TensorFlowEngine
from extract.extractors import pixels_floor


def relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="session")
def images() -> Callable[[int, int], np.ndarray]:
    """Returns a function: n images (n, size, size, 3) float32, 0 to 255, read-only."""

    def draw(count: int, size: int) -> np.ndarray:
        drawn = np.random.default_rng(7).uniform(0, 255, (count, size, size, 3)).astype(np.float32)
        drawn.flags.writeable = False
        return drawn

    return draw


@pytest.fixture(scope="session")
def small_graph(small_network):
    return freeze(small_network)


@pytest.fixture(scope="session")
def tensorflow_engine(small_graph):
    return TensorFlowEngine(small_graph)


@pytest.fixture(scope="session")
def openvino_engine(small_graph):
    return OpenVinoEngine(read_graph(small_graph))


class EngineContract:
    """Subclass it with a fixture `engine`; `size` is the input's height and width."""

    size = 16

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    def test_it_says_what_it_is(self, engine):
        assert engine.name
        assert engine.device
        assert engine.threads >= 0
        assert engine.batch_size >= 1
        assert engine.dim >= 1
        assert engine.parameters.trainable == 0

    @pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64, 65])
    def test_it_gives_a_float32_row_per_image(self, engine, images, count):
        rows = engine(images(count, self.size))
        assert rows.shape == (count, engine.dim)
        assert rows.dtype == np.float32
        assert np.isfinite(rows).all()

    def test_it_takes_its_own_batch_size(self, engine, images):
        assert engine(images(engine.batch_size, self.size)).shape == (engine.batch_size, engine.dim)

    def test_the_same_images_give_the_same_rows_again(self, engine, images):
        images = images(19, self.size)
        assert np.array_equal(engine(images), engine(images))

    def test_rows_it_gave_are_not_overwritten_by_the_next(self, engine, images):
        images = images(24, self.size)
        first = engine(images[:8])
        kept = first.copy()
        engine(images[8:])
        assert np.array_equal(first, kept)

    def test_a_row_depends_on_its_image_alone(self, engine, images):
        images = images(23, self.size)
        rows = engine(images)
        alone = np.concatenate([engine(images[at : at + 1]) for at in range(23)])
        assert relative_l2(alone, rows) <= 1e-6
        assert relative_l2(engine(np.ascontiguousarray(images[::-1])), rows[::-1]) <= 1e-6

    def test_it_takes_a_view_as_well_as_an_array(self, engine, images):
        images = images(30, self.size)
        assert relative_l2(engine(images[::3]), engine(images)[::3]) <= 1e-6


class TestFunctionEngine(EngineContract):
    @pytest.fixture
    def engine(self):
        return FunctionEngine(pixels_floor())

    def test_the_pixels_floor_is_the_image_over_255(self, engine):
        image = np.zeros((1, 16, 16, 3), np.float32)
        image[0, 0, 1] = [51, 102, 255]
        row = engine(image)[0]
        assert row.shape == (768,)
        assert row[3:6].tolist() == [np.float32(0.2), np.float32(0.4), 1.0]
        assert np.count_nonzero(row) == 3


class TestCountingEngine(EngineContract):
    @pytest.fixture
    def engine(self, make_engine):
        return make_engine()

    def test_it_counts(self, engine, images):
        engine(images(3, 16))
        engine(images(4, 16))
        assert (engine.images, engine.batches) == (7, 2)


@pytest.mark.framework
class TestTensorFlowEngine(EngineContract):
    @pytest.fixture
    def engine(self, tensorflow_engine):
        return tensorflow_engine

    def test_the_network_gets_batches_of_one_shape(self, small_graph, images):
        shapes = []

        def function(images):
            shapes.append(tuple(images.shape))
            return small_graph.function(images)

        engine = TensorFlowEngine(replace(small_graph, function=function))
        assert engine(images(engine.batch_size + 3, 16)).shape == (engine.batch_size + 3, 6)
        assert shapes == [(engine.batch_size, 16, 16, 3)] * 2

    def test_padding_changes_no_row(self, engine, images):
        images = images(engine.batch_size, 16)
        whole = engine(images)
        for count in range(1, engine.batch_size):
            assert np.array_equal(engine(images[:count]), whole[:count])

    def test_it_counts_constants(self, engine):
        assert engine.parameters == ParameterCounts(frozen=3 * 3 * 3 * 6 + 6, trainable=0)


@pytest.mark.framework
class TestOpenVinoEngine(EngineContract):
    @pytest.fixture
    def engine(self, openvino_engine):
        return openvino_engine

    def test_rows_are_bitwise_the_same_over_batch_sizes(self, engine, images):
        images = images(64, 16)
        whole = engine(images)
        for size in (1, 7):
            rows = np.concatenate([engine(images[at : at + size]) for at in range(0, 64, size)])
            assert np.array_equal(rows, whole)

    def test_it_agrees_with_tensorflow(self, engine, tensorflow_engine, images):
        images = images(40, 16)
        assert relative_l2(engine(images), tensorflow_engine(images)) <= 1e-6

    def test_it_counts_constants(self, engine):
        assert engine.parameters == ParameterCounts(frozen=3 * 3 * 3 * 6 + 6, trainable=0)


@pytest.mark.framework
def test_a_network_worked_out_by_hand(small_network, images):
    # An image of one grey: away from the border each of the six channels is the kernel's sum
    # times the grey in [-1, 1], plus the bias; at stride 2 with SAME, only the last row and column
    # of the 8 by 8 outputs touch the border. Here the border is left out by a kernel of one tap.
    def load():
        import tensorflow as tf

        weights = tf.Variable(np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], np.float32))
        return lambda pixels: tf.reduce_mean(pixels @ weights, axis=[1, 2])

    image = np.zeros((1, 16, 16, 3), np.float32)
    image[:] = [255, 0, 51]  # 1, -1, -0.6 in [-1, 1]
    engine = TensorFlowEngine(freeze(replace(small_network, load=load, dim=2)))
    assert np.allclose(engine(image), [[1 - 10 - 60, 2 - 20 - 120]], rtol=1e-6)
    assert engine.parameters == ParameterCounts(6, 0)


@pytest.mark.framework
@pytest.mark.parametrize("make", [TensorFlowEngine, lambda graph: OpenVinoEngine(read_graph(graph))])
def test_rounded_pixels_give_the_rows_of_the_same_numbers(small_network, tensorflow_engine, images, make):
    rounded = replace(small_network, preprocessing=replace(small_network.preprocessing, pixels="uint8"))
    pixels = images(11, 16).round().astype(np.uint8)
    engine = make(freeze(rounded))
    assert relative_l2(engine(pixels), tensorflow_engine(pixels.astype(np.float32))) <= 1e-6


# The choice among engines


@pytest.mark.framework
def test_auto_takes_openvino_on_a_cpu(small_network):
    assert open_engine(small_network).name == "openvino"


@pytest.mark.framework
def test_an_engine_can_be_asked_for(small_network):
    assert open_engine(small_network, "tensorflow").name == "tensorflow"
    assert open_engine(small_network, "openvino").name == "openvino"


def test_a_floor_without_network_needs_no_framework():
    assert open_engine(pixels_floor(), "tensorflow").name == "numpy"


def test_an_unknown_engine_names_the_nearest(small_network):
    with pytest.raises(UnknownName, match=r"openvin: no such engine; did you mean 'openvino'\?"):
        open_engine(small_network, "openvin")


@pytest.fixture
def unreadable(small_network):
    """A network that TensorFlow runs and OpenVINO cannot read."""

    def load():
        import tensorflow as tf

        return lambda pixels: tf.numpy_function(lambda x: x[:, 0, 0, :], [pixels], tf.float32)

    def shaped():
        import tensorflow as tf

        network = load()
        return lambda pixels: tf.ensure_shape(network(pixels), (None, 3))

    return replace(small_network, load=shaped, dim=3)


@pytest.mark.framework
def test_auto_falls_back_to_tensorflow_and_says_so(unreadable, images):
    said = []
    engine = open_engine(unreadable, notify=said.append)
    assert engine.name == "tensorflow"
    assert np.allclose(engine(images(2, 16)), images(2, 16)[:, 0, 0] / 127.5 - 1, atol=1e-6)
    assert len(said) == 1
    assert said[0].startswith("openvino: cannot read this model")
    assert said[0].endswith("Running it on TensorFlow.")


@pytest.mark.framework
def test_openvino_that_cannot_read_a_model_is_unavailable(unreadable):
    with pytest.raises(EngineUnavailable, match=r"openvino: cannot read this model .*use --engine tensorflow"):
        open_engine(unreadable, "openvino")


@pytest.mark.framework
def test_openvino_that_is_not_installed_is_unavailable(small_graph, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "openvino":
            raise ImportError("no module named openvino")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(EngineUnavailable, match=r"openvino: not installed; 'pip install linprobe\[cpu\]'"):
        read_graph(small_graph)
