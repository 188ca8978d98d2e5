"""Floors: what any useful extractor must beat."""

import json
from functools import partial
from importlib import resources

import numpy as np

from extract.errors import UnknownName
from extract.extractors.extractor import Extractor, Network, arrays_sha256
from extract.extractors.keras_applications import APPLICATIONS, assign_weights, build_application
from extract.extractors.published import PUBLISHED, Evaluation
from extract.preprocessing import Preprocessing, lesson
from store.extractor_names import PIXELS, RANDOM

__all__ = ["RANDOM_NETWORKS", "pixels_floor", "random_floor", "random_weights"]

_PIXELS_SIZE = 16

# floor's name → keras.applications name; shapes/<name>.json lists the weights.
RANDOM_NETWORKS = {"mobilenet_v2": "MobileNetV2", "inception_v3": "InceptionV3"}


def pixels_floor() -> Extractor:
    """Return the floor `pixels`: the image itself, 16 by 16 RGB in [0, 1], 768 numbers."""
    return Extractor(
        name=PIXELS,
        architecture="pixels",
        weights_sha256=arrays_sha256([]),
        output="flattened",
        # Antialiased: without it a large image's 256 numbers would be a lottery of single pixels.
        preprocessing=Preprocessing(_PIXELS_SIZE, "0..1", antialias=True),
        dim=_PIXELS_SIZE * _PIXELS_SIZE * 3,
        pixel_function=_flatten,
        evaluation=Evaluation("none", "bilinear", True, "here"),
        is_floor=True,
        about="the image itself at 16 x 16",
    )


def _flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def random_floor(network: str) -> Extractor:
    """Return the floor `random:NAME`: the network with random weights.

    Args:
        network: a name of `RANDOM_NETWORKS`.
    """
    if network not in RANDOM_NETWORKS:
        raise UnknownName("random network", f"{RANDOM}:{network}", [f"{RANDOM}:{name}" for name in RANDOM_NETWORKS])
    application = APPLICATIONS[RANDOM_NETWORKS[network]]
    return Extractor(
        name=f"{RANDOM}:{network}",
        architecture=f"keras.applications/{application.name}",
        weights_sha256=arrays_sha256(random_weights(network)),
        output="global_average_pooling",
        preprocessing=lesson(application.size, application.value_range),
        dim=application.dim,
        load=partial(_load_random, network),
        evaluation=PUBLISHED[application.name],
        is_floor=True,
        about=f"{application.name} with random weights",
    )


def _load_random(network: str) -> Network:
    model = build_application(APPLICATIONS[RANDOM_NETWORKS[network]])
    return assign_weights(model, [array for _, array in random_weights(network)])


def random_weights(network: str) -> list[tuple[str, np.ndarray]]:
    """Draw the weights of a network, with seed 0, over its list of shapes.

    Kernels are He-normal, normalisations the identity. The legacy generator is used because its
    stream is frozen (NEP 19): the digest must be the same with every NumPy.

    Source: K. He et al., "Delving Deep into Rectifiers", ICCV 2015.

    Returns:
        (name, float32 array) in the order of Keras's `model.weights`.
    """
    listing = resources.files("extract.extractors") / "shapes" / f"{network}.json"
    generator = np.random.RandomState(0)
    drawn = []
    for name, shape in json.loads(listing.read_text(encoding="utf-8")):
        if name in ("gamma", "moving_variance"):
            array = np.ones(shape, np.float32)
        elif name in ("beta", "moving_mean"):
            array = np.zeros(shape, np.float32)
        else:
            # (height, width, in, out); a depthwise kernel (height, width, channels, 1) sees one channel.
            fan_in = shape[0] * shape[1] * (shape[2] if shape[3] > 1 else 1)
            array = (generator.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        drawn.append((name, array))
    return drawn
