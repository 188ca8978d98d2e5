"""bfloat16: what is rounded, and what is not, against the same network with rounding by hand."""

import os
import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from extract import EngineUnavailable, open_engine
from extract.engines.frozen import freeze
from extract.engines.mixed_precision import in_bfloat16
from extract.engines.tensorflow_engine import ON_CPU, TensorFlowEngine

pytestmark = pytest.mark.framework

RNG = np.random.default_rng(0)


def rounded(array):
    return np.asarray(array, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)


def jittered(whole):
    """Small whole numbers, a little off them: bfloat16 rounds each back, float32 does not."""
    assert np.array_equal(rounded(whole), whole)
    return (whole * (1 + RNG.uniform(-1e-3, 1e-3, whole.shape))).astype(np.float32)


# Some kernels sum in float32 and some in bfloat16, as the processor has it. Sums of whole numbers up to 256 are exact
# in both, and a matrix with one power of two a column sums and rounds nothing: so there is one right answer, to the
# last bit.
IMAGES = (127.5 + 127.5 * jittered(RNG.choice([-1.0, 1.0], (9, 16, 16, 3)))).astype(np.float32)
KERNEL = jittered(RNG.integers(-1, 2, (3, 3, 3, 6)).astype(np.float64))
DEPTHWISE = jittered(RNG.integers(0, 2, (3, 3, 6, 1)).astype(np.float64))
MATRIX = np.eye(6, 5, dtype=np.float32) * jittered(RNG.choice([-2.0, 0.5, 1.0], (6, 5)))


@pytest.fixture(scope="module")
def three_products(small_network):
    """A convolution, one depth by depth, a mean over space, a matrix product and a bias."""

    def load():
        import tensorflow as tf

        kernel, depthwise, matrix = tf.Variable(KERNEL), tf.Variable(DEPTHWISE), tf.Variable(MATRIX)

        def network(images):
            maps = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME"))
            maps = tf.nn.depthwise_conv2d(maps, depthwise, [1, 1, 1, 1], "SAME")
            return tf.reduce_mean(maps, axis=[1, 2]) @ matrix + 0.123456789

        return network

    return replace(small_network, load=load, dim=5)


def windows(maps):
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # (N, H, W, C, 3, 3)


def by_hand(images):
    """Products of rounded numbers, rounded; everything else as float32 has it. Every sum here is exact."""
    values = images * np.float32(1 / 127.5) - np.float32(1)
    maps = np.einsum("nhwcij,ijco->nhwo", windows(rounded(values)), rounded(KERNEL))
    maps = np.einsum("nhwcij,ijc->nhwc", windows(np.maximum(maps, 0)), rounded(DEPTHWISE)[..., 0])
    assert np.array_equal(maps, np.round(maps))
    assert np.abs(maps).max() <= 256
    means = maps.sum(axis=(1, 2), dtype=np.float64) / 256
    return rounded(rounded(means) @ rounded(MATRIX)) + np.float32(0.123456789)


def relative_l2(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def rows_of(engine):
    """Return an engine's rows; None where TensorFlow has no bfloat16 kernels, which it must say so that one can go on.

    That is where a processor has bfloat16 units and the environment forbids them: see tests/test_kernels.py.
    """
    try:
        return engine(IMAGES)
    except EngineUnavailable as error:
        assert re.match(r'tensorflow: has no bfloat16 kernels .*precision = "float32"', str(error))  # noqa: PT017
        assert "ONEDNN_MAX_CPU_ISA" in os.environ
        return None


def test_products_are_rounded_and_nothing_else(three_products):
    graph = freeze(three_products)
    found = rows_of(TensorFlowEngine(graph, ON_CPU, "bfloat16"))
    if found is None:
        return
    exact = TensorFlowEngine(graph)(IMAGES)
    np.testing.assert_array_equal(found, by_hand(IMAGES))
    # Eight bits: at most a few parts in 2^8 from float32, and not float32.
    assert 1e-4 < relative_l2(found, exact) < 2**-6
    # The bias is added after the product, in float32: the sums do not lie on bfloat16's grid.
    assert not np.array_equal(rounded(found), found)


def test_the_graph_keeps_its_signature_and_has_no_product_in_float32(three_products):
    function = in_bfloat16(freeze(three_products).function)
    assert [tuple(tensor.shape) for tensor in function.inputs] == [(None, 16, 16, 3)]
    kinds = {
        (operation.type, operation.get_attr("T").name)
        for operation in function.graph.get_operations()
        if operation.type in ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    }
    assert kinds == {("Conv2D", "bfloat16"), ("DepthwiseConv2dNative", "bfloat16"), ("MatMul", "bfloat16")}
    assert function.outputs[0].dtype.name == "float32"


def test_a_row_is_a_pool_of_its_own(three_products):
    keys = {replace(three_products, precision=name).pool_key().digest for name in ("float32", "tf32", "bfloat16")}
    assert len(keys) == 3


def test_short_formats_are_tensorflows(three_products):
    short = replace(three_products, precision="bfloat16")
    engine = open_engine(short)
    assert engine.name == "tensorflow"
    found, wanted = rows_of(engine), rows_of(TensorFlowEngine(freeze(three_products), ON_CPU, "bfloat16"))
    assert found is wanted or np.array_equal(found, wanted)
    with pytest.raises(
        EngineUnavailable, match=r"^openvino: computes in float32 here, not bfloat16; use --engine tens"
    ):
        open_engine(short, "openvino")


def test_a_cpu_has_no_tf32_and_says_so(three_products):
    with pytest.raises(EngineUnavailable, match=r"^tensorflow: tf32 is a format of GPUs .*precision = \"float32\""):
        open_engine(replace(three_products, precision="tf32"))
