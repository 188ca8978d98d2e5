"""bfloat16: what is rounded, and what is not, against the same network with rounding by hand."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from extract import EngineUnavailable, open_engine
from extract.engines.frozen import freeze
from extract.engines.mixed_precision import in_bfloat16
from extract.engines.tensorflow_engine import ON_CPU, TensorFlowEngine

RNG = np.random.default_rng(0)
PICTURES = RNG.uniform(0, 255, (9, 16, 16, 3)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 3, 6)).astype(np.float32)
DEPTHWISE = RNG.normal(size=(3, 3, 6, 1)).astype(np.float32)
MATRIX = RNG.normal(size=(6, 5)).astype(np.float32)


def rounded(array):
    return np.asarray(array, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)


@pytest.fixture(scope="module")
def three_products(small_network):
    """A convolution, one depth by depth, a mean over space, a matrix product and a bias."""

    def load():
        import tensorflow as tf

        kernel, depthwise, matrix = tf.Variable(KERNEL), tf.Variable(DEPTHWISE), tf.Variable(MATRIX)

        def network(images):
            maps = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "VALID"))
            maps = tf.nn.depthwise_conv2d(maps, depthwise, [1, 1, 1, 1], "VALID")
            return tf.reduce_mean(maps, axis=[1, 2]) @ matrix + 0.123456789

        return network

    return replace(small_network, load=load, dim=5)


def windows(maps):
    return np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2))  # (N, H-2, W-2, C, 3, 3)


def by_hand(pictures):
    """Products of rounded numbers, summed in full and rounded; everything else in float64."""
    values = np.asarray(pictures, np.float64) * np.float32(1 / 127.5) - 1
    maps = rounded(np.einsum("nhwcij,ijco->nhwo", windows(rounded(values)), rounded(KERNEL).astype(np.float64)))
    maps = np.maximum(maps, 0)
    maps = rounded(np.einsum("nhwcij,ijc->nhwc", windows(rounded(maps)), rounded(DEPTHWISE)[..., 0].astype(np.float64)))
    means = maps.mean(axis=(1, 2), dtype=np.float64)
    return rounded(rounded(means) @ rounded(MATRIX).astype(np.float64)) + 0.123456789


def relative_l2(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_products_are_rounded_and_nothing_else(three_products):
    graph = freeze(three_products)
    found = TensorFlowEngine(graph, ON_CPU, "bfloat16")(PICTURES)
    exact = TensorFlowEngine(graph)(PICTURES)
    # As far from float32 as eight bits make it, and as near to the rounding by hand as single last bits make it.
    assert 5e-4 < relative_l2(found, exact) < 2e-2
    assert relative_l2(found, by_hand(PICTURES)) < relative_l2(found, exact) / 2
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
    assert np.array_equal(engine(PICTURES), TensorFlowEngine(freeze(three_products), ON_CPU, "bfloat16")(PICTURES))
    with pytest.raises(
        EngineUnavailable, match=r"^openvino: computes in float32 here, not bfloat16; use --engine tens"
    ):
        open_engine(short, "openvino")


def test_a_cpu_has_no_tf32_and_says_so(three_products):
    with pytest.raises(EngineUnavailable, match=r"^tensorflow: tf32 is a format of GPUs .*precision = \"float32\""):
        open_engine(replace(three_products, precision="tf32"))
