"""Encoded images to a network's pixels, in TensorFlow's operations: decode, turn, crop and resize."""

from typing import Any

import numpy as np

from extract.decoding import turn
from extract.geometry import crop_and_resize
from extract.header import AS_STORED, Header, Rules
from extract.preprocessing import Preprocessing

__all__ = ["JPEG", "PIXELS", "PNG", "decode", "decode_plain", "resize", "shape_of", "turned_in_graph"]

# How an element's bytes are to be read.
JPEG, PNG, PIXELS = 0, 1, 2


def decode(kind: Any, data: Any, shape: Any) -> Any:
    """Decode one element of the pipeline.

    Args:
        kind: scalar int32: JPEG, PNG or pixels.
        data: scalar string.
        shape: (3,) int32: height, width, channels of pixels.

    Returns:
        TensorFlow (H, W, 3) uint8.
    """
    import tensorflow as tf

    def pixels() -> Any:
        raw = tf.reshape(tf.io.decode_raw(data, tf.uint8), shape)
        return tf.broadcast_to(raw, tf.stack([shape[0], shape[1], 3]))

    return tf.switch_case(
        kind,
        {
            # The slow, exact transform: the fast one differs between builds of libjpeg.
            JPEG: lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
            PNG: lambda: tf.io.decode_png(data, channels=3),
            PIXELS: pixels,
        },
    )


def decode_plain(data: bytes, header: Header, rules: Rules = AS_STORED) -> np.ndarray:
    """Decode one plain image outside of the stream.

    Args:
        data: the encoded file.
        header: what it claims to be; `is_plain`.
        rules: whether it is turned.

    Returns:
        (H, W, 3) uint8.
    """
    import tensorflow as tf

    kind = tf.constant(JPEG if header.format == "JPEG" else PNG)
    pixels = np.asarray(decode(kind, data, (0, 0, 0)).numpy())
    return turn(pixels, header.orientation) if rules.orientation == "exif" else pixels


def turned_in_graph(pixels: Any, orientation: Any) -> Any:
    """Return (H, W, 3) pixels as EXIF's orientation shows them; see `extract.decoding.turn`."""
    import tensorflow as tf

    def is_one_of(*values: int) -> Any:
        return tf.reduce_any(tf.equal(orientation, values))

    def turned() -> Any:
        image = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
        image = tf.cond(is_one_of(3, 4, 7, 8), lambda: tf.reverse(image, [0]), lambda: image)
        return tf.cond(is_one_of(2, 3, 6, 7), lambda: tf.reverse(image, [1]), lambda: image)

    return tf.cond(orientation > 1, turned, lambda: pixels)


def resize(pixels: Any, preprocessing: Preprocessing, window: Any = None) -> Any:
    """Crop and resize pixels as the preprocessing says.

    Args:
        pixels: (H, W, 3) uint8.
        preprocessing: how.
        window: of a view; see `crop_and_resize`.

    Returns:
        TensorFlow (size, size, 3), 0 to 255, in the preprocessing's pixel type.
    """
    import tensorflow as tf

    resized = crop_and_resize(pixels, preprocessing, window)
    image = tf.saturate_cast(tf.round(resized), tf.uint8) if preprocessing.pixels == "uint8" else resized
    image.set_shape(shape_of(preprocessing))
    return image


def shape_of(preprocessing: Preprocessing) -> tuple[int, int, int]:
    """Return height, width and channels of a network's input."""
    return preprocessing.size, preprocessing.size, 3
