"""From a decoded image of any shape to the square that a network takes: crop and resize, in TensorFlow."""

from typing import Any

from extract.preprocessing import Crop, Preprocessing

__all__ = ["crop_and_resize"]


def crop_and_resize(pixels: Any, preprocessing: Preprocessing, window: Any = None) -> Any:
    """Crop and resize an image as the preprocessing says.

    Args:
        pixels: TensorFlow (H, W, 3) uint8, H and W known or not.
        preprocessing: how.
        window: of a view, (5,) int: top, left, height, width, and 1 where left and right are exchanged.

    Returns:
        TensorFlow (size, size, 3) float32, not rounded; bicubic and lanczos overshoot 0 to 255 a little.
    """
    import tensorflow as tf

    crop, size = Crop.parse(preprocessing.crop, preprocessing.size), preprocessing.size
    if preprocessing.view:
        return _resized(_cut(pixels, window), (size, size), preprocessing)
    if crop.rule == "shorter":
        return _shorter(pixels, int(crop.amount), preprocessing)
    if crop.rule == "fraction":
        pixels = tf.image.central_crop(pixels, crop.amount)
    elif crop.rule == "square":
        pixels = _square(pixels, crop.amount)
    return _resized(pixels, (size, size), preprocessing)


def _cut(pixels: Any, window: Any) -> Any:
    import tensorflow as tf

    top, left, height, width, is_flipped = (window[at] for at in range(5))
    part = pixels[top : top + height, left : left + width]
    return tf.cond(is_flipped > 0, lambda: tf.reverse(part, [1]), lambda: part)


def _square(pixels: Any, fraction: float) -> Any:
    """Cut the middle square out, its side a fraction of the shorter side.

    Source: tensorflow/tpu, models/official/efficientnet/preprocessing.py, _decode_and_center_crop.
    """
    import tensorflow as tf

    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    side = tf.cast(fraction * tf.cast(tf.minimum(height, width), tf.float32), tf.int32)
    side = tf.maximum(side, 1)
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    return pixels[top : top + side, left : left + side]


def _shorter(pixels: Any, shorter: int, preprocessing: Preprocessing) -> Any:
    """Resize the shorter side, the aspect kept, and cut the middle out.

    Source: torchvision.transforms.Resize and CenterCrop; an odd margin is rounded down.
    """
    import tensorflow as tf

    size = preprocessing.size
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    least = tf.minimum(height, width)
    target = (shorter * height // least, shorter * width // least)
    resized = _resized(pixels, target, preprocessing)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return resized[top : top + size, left : left + size]


def _resized(pixels: Any, target: tuple[Any, Any], preprocessing: Preprocessing) -> Any:
    import tensorflow as tf

    method = preprocessing.resize
    if method.endswith("_v1"):
        # The operations behind tf.compat.v1.image.resize_*, which say on stderr that they are old.
        sample = tf.raw_ops.ResizeBilinear if method == "bilinear_v1" else tf.raw_ops.ResizeBicubic
        return sample(images=pixels[tf.newaxis], size=target, align_corners=False, half_pixel_centers=False)[0]
    return tf.cast(tf.image.resize(pixels, target, method, antialias=preprocessing.antialias), tf.float32)
