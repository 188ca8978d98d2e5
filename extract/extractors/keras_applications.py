"""`keras:NAME[:WEIGHTS]`: a network of keras.applications, without its top, averaged over space."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import ModelMismatch, ModelUnavailable, UnknownName
from extract.extractors.extractor import Extractor, Network
from extract.extractors.published import PUBLISHED
from extract.extractors.weights_files import require_data
from extract.preprocessing import lesson

__all__ = [
    "APPLICATIONS",
    "Application",
    "assign_weights",
    "build_application",
    "find_application",
    "keras_extractor",
    "load_weights",
]


@dataclass(frozen=True)
class Application:
    """One row of the registry.

    Attributes:
        name: the function's name in `keras.applications`.
        size: the published input size.
        value_range: what its `preprocess_input` makes of pixels.
        dim: length of its averaged features.
        imagenet_file: the name under which Keras caches its ImageNet weights without top.
    """

    name: str
    size: int
    value_range: str
    dim: int
    imagenet_file: str


APPLICATIONS = {
    row.name: row
    for row in (
        Application(
            "MobileNetV2", 224, "-1..1", 1280, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
        ),
        Application("InceptionV3", 299, "-1..1", 2048, "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        Application("Xception", 299, "-1..1", 2048, "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        Application("ResNet50", 224, "caffe", 2048, "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        Application("ResNet50V2", 224, "-1..1", 2048, "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        Application("DenseNet121", 224, "torch", 1024, "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        Application("EfficientNetB0", 224, "0..255", 1280, "efficientnetb0_notop.h5"),
        Application("NASNetMobile", 224, "-1..1", 1056, "nasnet_mobile_no_top.h5"),
    )
}


def keras_extractor(spec: str, cache: Path) -> Extractor:
    """Return the extractor `keras:NAME[:WEIGHTS]`.

    Args:
        spec: `NAME`, `NAME:imagenet` (the default: from Keras's cache, else downloaded by Keras) or
            `NAME:PATH` of an .h5 or .weights.h5 file that fits the network without top.
        cache: the folder in which Keras keeps downloaded weights, `~/.keras/models`.

    Raises:
        UnknownName: the network is not in the registry.
        ModelUnavailable: its weights are neither cached nor to be downloaded.
    """
    application, path = find_application(spec, cache)
    name = application.name
    return Extractor(
        name=f"keras:{spec}",
        architecture=f"keras.applications/{name}",
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        output="global_average_pooling",
        preprocessing=lesson(application.size, application.value_range),
        dim=application.dim,
        load=partial(_load, application, path),
        evaluation=PUBLISHED.get(name),
        about=f"{name}, weights {path.name}",
    )


def find_application(spec: str, cache: Path, has_top: bool = False) -> tuple[Application, Path]:
    """Return the network that `NAME[:WEIGHTS]` means, and the file of its weights.

    Args:
        spec, cache: as for `keras_extractor`.
        has_top: whether the classifier of 1,000 classes is wanted too.

    Raises:
        UnknownName: the network is not in the registry.
        ModelUnavailable: its weights are not there, and cannot be downloaded.
    """
    name, _, weights = spec.partition(":")
    if name not in APPLICATIONS:
        raise UnknownName("network of keras.applications", name, APPLICATIONS)
    application = APPLICATIONS[name]
    is_imagenet = weights in ("", "imagenet")
    path = _imagenet_weights(application, cache, has_top) if is_imagenet else Path(weights).expanduser()
    if not path.is_file():
        raise ModelUnavailable(f"{path}: no such weights file for keras:{name}.")
    return application, path


def build_application(application: Application, size: int | None = None) -> Any:
    """Build a network without weights: float32 (N, size, size, 3) → (N, dim).

    Args:
        application: the network.
        size: of its input; the published one by default.
    """
    import keras

    side = size or application.size
    model = getattr(keras.applications, application.name)(
        weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3)
    )
    model.trainable = False
    return model


def assign_weights(model: Any, arrays: Sequence[np.ndarray]) -> Network:
    """Give a Keras model its weights, in the order of `model.weights`.

    Raises:
        ModelMismatch: their number or a shape differs.
    """
    if len(arrays) != len(model.weights):
        raise ModelMismatch(f"{model.name}: {len(model.weights)} arrays expected, {len(arrays)} given.")
    for variable, array in zip(model.weights, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise ModelMismatch(f"{model.name} {variable.path}: {tuple(variable.shape)} expected, {array.shape} given.")
        variable.assign(array)
    return partial(model, training=False)


def _load(application: Application, path: Path) -> Network:
    return load_weights(build_application(application), path, f"{application.name} without top")


def load_weights(model: Any, path: Path, what: str) -> Network:
    """Give a Keras model the weights of a file.

    Args:
        model: without weights.
        path: an .h5 or .weights.h5 file.
        what: it should be, for messages.

    Raises:
        ModelMismatch: they are another's.
        UntrustedModel: the file is more than data, see `weights_files.require_data`.
    """
    require_data(path)
    try:
        model.load_weights(str(path))
    except (ValueError, OSError, KeyError) as error:
        raise ModelMismatch(f"{path}: not the weights of {what} ({str(error)[:200]}).") from error
    return partial(model, training=False)


def _imagenet_weights(application: Application, cache: Path, has_top: bool) -> Path:
    """Return the file of a network's ImageNet weights in Keras's cache, after a download where it is missing.

    Args:
        application: the network.
        cache: the folder in which Keras keeps downloaded weights.
        has_top: whether the classifier of 1,000 classes is wanted too.

    Raises:
        ModelUnavailable: they are neither cached nor to be downloaded.
    """
    name = application.imagenet_file
    path = cache / (re.sub("_no_?top", "", name) if has_top else name)
    if not path.is_file():
        _download(application, path, has_top)
    return path


def _download(application: Application, path: Path, has_top: bool) -> None:
    import keras

    try:
        getattr(keras.applications, application.name)(weights="imagenet", include_top=has_top)
    # keras.utils.get_file turns every failure of a download into a bare Exception.
    except Exception as error:
        raise ModelUnavailable(
            f"keras:{application.name}: ImageNet weights are not in {path.parent} and cannot be downloaded "
            f"({str(error)[:200]}); copy {path.name} there, or name a file: keras:{application.name}:PATH."
        ) from error
    if not path.is_file():
        raise ModelUnavailable(
            f"{path}: Keras has loaded its weights, but not from this file; name it: keras:{application.name}:PATH."
        )
