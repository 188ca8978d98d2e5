"""What does not fit into memory is done in halves, and said."""

import numpy as np
import pytest

from extract import EngineUnavailable, ModelMismatch, OutOfMemory, ParameterCounts
from extract.engines.frozen import freeze
from extract.engines.halving import HalvingEngine
from extract.engines.openvino_engine import OpenVinoEngine
from extract.engines.openvino_models import read_graph
from extract.engines.tensorflow_engine import ON_CPU, TensorFlowEngine

IMAGES = np.random.default_rng(0).uniform(0, 255, (50, 2, 2, 3)).astype(np.float32)


class Small:
    """An engine into which `room` images fit, and which pads to its batch size as TensorFlow's does."""

    name, device, threads, in_flight, dim = "small", "toy", 1, 1, 3
    parameters = ParameterCounts(0, 0)

    def __init__(self, room, error=OutOfMemory):
        self.batch_size = 32
        self.room = room
        self.error = error
        self.sizes = []

    def __call__(self, images):
        assert len(images) <= self.batch_size
        self.sizes.append(self.batch_size)
        if self.batch_size > self.room:
            raise self.error(f"{self.batch_size} images")
        return images.mean(axis=(1, 2))


@pytest.mark.parametrize("error", [OutOfMemory, MemoryError])
def test_a_batch_that_does_not_fit_is_halved_for_good_and_said_once(error):
    said, inner = [], Small(10, error)
    engine = HalvingEngine(inner, said.append)
    for _ in range(2):
        assert np.array_equal(engine(IMAGES), IMAGES.mean(axis=(1, 2)))
    assert inner.sizes[:3] == [32, 16, 8]
    assert set(inner.sizes[3:]) == {8}
    assert said == [
        "small: a batch of 32 images does not fit into the memory of toy; going on with batches of 16.",
        "small: a batch of 16 images does not fit into the memory of toy; going on with batches of 8.",
    ]


def test_what_fits_is_done_as_it_came():
    said, inner = [], Small(32)
    engine = HalvingEngine(inner, said.append)
    assert np.array_equal(engine(IMAGES), IMAGES.mean(axis=(1, 2)))
    assert (inner.sizes, said) == ([32, 32], [])
    assert (engine.name, engine.device, engine.batch_size, engine.dim) == ("small", "toy", 32, 3)


def test_not_even_one_image():
    with pytest.raises(EngineUnavailable, match=r"^small: not even one image fits into the memory of toy \(1 images\)"):
        HalvingEngine(Small(0), lambda text: None)(IMAGES)


def test_another_fault_is_no_lack_of_memory():
    inner = Small(0, ModelMismatch)
    with pytest.raises(ModelMismatch, match="32 images"):
        HalvingEngine(inner, lambda text: None)(IMAGES)
    assert inner.sizes == [32]


@pytest.mark.framework
def test_tensorflows_own_error_is_understood(small_network):
    import tensorflow as tf

    graph = freeze(small_network)
    real = graph.function
    engine = TensorFlowEngine(graph, ON_CPU)

    def full(images):
        if len(images) > 3:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,32,112,112]")
        return real(images)

    engine._function = full
    said = []
    images = np.random.default_rng(1).uniform(0, 255, (11, 16, 16, 3)).astype(np.float32)
    rows = HalvingEngine(engine, said.append)(images)
    expected = TensorFlowEngine(graph, ON_CPU)(images)
    assert np.linalg.norm(rows - expected) / np.linalg.norm(expected) <= 1e-6
    assert [text.split("batches of ")[1] for text in said] == ["4.", "2."]


@pytest.mark.framework
@pytest.mark.parametrize("error", [MemoryError("std::bad_alloc"), RuntimeError("Check failed: std::bad_alloc")])
def test_openvinos_errors_are_understood(small_network, error):
    engine = OpenVinoEngine(read_graph(freeze(small_network)))
    queue = engine._queue

    class Full:
        def set_callback(self, keep):
            queue.set_callback(keep)

        def start_async(self, inputs, at):
            if len(inputs[0]) > 2:
                raise error
            queue.start_async(inputs, at)

        def wait_all(self):
            queue.wait_all()

    images = np.random.default_rng(1).uniform(0, 255, (11, 16, 16, 3)).astype(np.float32)
    expected = engine(images)
    engine._queue = Full()
    said = []
    assert np.array_equal(HalvingEngine(engine, said.append)(images), expected)
    assert said[-1].endswith("going on with batches of 2.")


@pytest.mark.framework
def test_another_error_of_openvino_stays_what_it_is(small_network):
    engine = OpenVinoEngine(read_graph(freeze(small_network)))
    with pytest.raises(RuntimeError, match="shape"):
        HalvingEngine(engine, lambda text: None)(IMAGES)
