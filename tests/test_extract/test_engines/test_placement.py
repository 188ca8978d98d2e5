"""Where TensorFlow runs a network: the GPU's placement, on a second logical CPU device."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from extract import EngineUnavailable, UnknownName, open_engine
from extract.engines.frozen import freeze
from extract.engines.tensorflow_engine import ON_CPU, ON_GPU, Placement, TensorFlowEngine, describe_gpus
from extract.flight import Flight
from extract.pipeline import Batch
from extract.sources.example import Pending

# Logical devices are made before TensorFlow starts, so in a process of their own. What a GPU is
# given is seen there: which device computed, whether XLA did, in which shapes, from how many threads.
SCRIPT = """
import threading
import numpy as np
import tensorflow as tf
from dataclasses import replace
from extract import ParameterCounts
from extract.engines.frozen import FrozenGraph
from extract.engines.tensorflow_engine import ON_GPU, TensorFlowEngine

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
seen = []

@tf.function(autograph=False)
def network(images):
    seen.append(tuple(images.shape))
    return tf.reduce_mean(images, axis=[1, 2]) * 2.0

concrete = network.get_concrete_function(tf.TensorSpec((None, 4, 4, 3), tf.float32))
engine = TensorFlowEngine(FrozenGraph(concrete, 3, ParameterCounts(0, 0)), replace(ON_GPU, device="/CPU:1"))
assert (engine.batch_size, engine.in_flight, engine.device) == (64, 2, "/CPU:1")
images = np.random.default_rng(0).uniform(0, 255, (150, 4, 4, 3)).astype(np.float32)
assert np.allclose(engine(images), images.mean(axis=(1, 2)) * 2, rtol=1e-5)

inner = engine._function
placed = []

def watched(images):
    found = inner(images)
    placed.append((images.device, found.device if not isinstance(found, list) else found[0].device, tuple(images.shape)))
    return found

engine._function = watched
engine(images)
assert len(placed) == 3
assert all(source.endswith("CPU:1") and result.endswith("CPU:1") for source, result, _ in placed), placed
assert {shape for *_, shape in placed} == {(64, 4, 4, 3)}

text = inner.experimental_get_compiler_ir(tf.zeros((64, 4, 4, 3)))(stage="hlo")
assert "HloModule" in text and "f32[64,4,4,3]" in text
assert not tf.config.experimental.tensor_float_32_execution_enabled()
print("fine")
"""


@pytest.mark.heavy
def test_the_gpus_placement_on_a_second_logical_device():
    root = Path(__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=root, check=False)
    assert found.stdout.strip() == "fine", found.stderr[-2000:]


@pytest.mark.framework
def test_compiled_rows_from_two_threads_are_those_of_the_cpu(small_network):
    graph = freeze(small_network)
    engine = TensorFlowEngine(graph, Placement("/CPU:0", 16, is_compiled=True, in_flight=2))
    images = np.random.default_rng(5).uniform(0, 255, (90, 16, 16, 3)).astype(np.float32)
    rows = []
    with Flight(engine) as flight:
        for at in range(0, 90, 16):
            part = images[at : at + 16]
            flight.launch(Batch([Pending.__new__(Pending)] * len(part), part, []))
            rows += [found for _, found in flight.land(leave=1)]
        rows += [found for _, found in flight.land()]
    expected = TensorFlowEngine(graph, ON_CPU)(images)
    found = np.concatenate(rows)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) <= 1e-6


@pytest.mark.framework
@pytest.mark.parametrize(("precision", "is_on"), [("tf32", True), ("float32", False)])
def test_tf32_is_on_only_where_it_is_asked_for(small_network, precision, is_on):
    import tensorflow as tf

    # The switch is the whole process's; another engine has turned it the other way.
    switch = tf.config.experimental.enable_tensor_float_32_execution
    switch(not is_on)
    engine = TensorFlowEngine(freeze(small_network), Placement("/device:CPU:0 as if a GPU", 8, False, 1), precision)
    engine.device = "/CPU:0"
    try:
        engine(np.zeros((3, 16, 16, 3), np.float32))
        assert tf.config.experimental.tensor_float_32_execution_enabled() is is_on
    finally:
        switch(False)


def test_what_a_gpu_gets():
    assert Placement("/GPU:0", batch_size=64, is_compiled=True, in_flight=2) == ON_GPU


# A GPU where none is


@pytest.mark.framework
def test_a_gpu_that_is_insisted_on_is_unavailable(small_network):
    with pytest.raises(
        EngineUnavailable, match=r"^gpu: TensorFlow finds none here; .*linprobe\[gpu\].*--device cpu\.$"
    ):
        open_engine(small_network, device="gpu")
    with pytest.raises(EngineUnavailable, match=r"^openvino: runs on the CPU here; use --engine tensorflow with"):
        open_engine(small_network, "openvino", device="gpu")


@pytest.mark.framework
def test_gpus_are_described_by_what_tensorflow_knows(monkeypatch):
    import tensorflow as tf

    gpus = [
        tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU"),
        tf.config.PhysicalDevice("/physical_device:GPU:1", "GPU"),
    ]
    details = {gpus[0]: {"device_name": "NVIDIA A100", "compute_capability": (8, 0)}, gpus[1]: {}}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert describe_gpus() == [
        "NVIDIA A100 (compute capability 8.0)",
        "/physical_device:GPU:1 (compute capability unknown)",
    ]


@pytest.mark.framework
def test_a_cpu_can_be_insisted_on(small_network, monkeypatch):
    import extract.engines.tensorflow_engine as engines

    monkeypatch.setattr(engines, "find_gpus", lambda: ["/physical_device:GPU:0"])
    assert open_engine(small_network, device="cpu").name == "openvino"
    assert open_engine(small_network, "tensorflow", device="cpu").device == "/CPU:0"
    # With a GPU, `auto` is TensorFlow on it.
    found = open_engine(small_network)
    assert (found.name, found.device, found.batch_size, found.in_flight) == ("tensorflow", "/GPU:0", 64, 2)


def test_an_unknown_device_names_the_nearest(small_network):
    with pytest.raises(UnknownName, match=r"gpus: no such device; did you mean 'gpu'\?"):
        open_engine(small_network, device="gpus")
