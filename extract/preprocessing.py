"""All that turns a decoded picture into a network's input."""

from dataclasses import asdict, dataclass
from typing import Any

from extract.decoding import DECODING_RULES
from extract.errors import UnknownName

__all__ = ["VALUE_RANGES", "Preprocessing", "lesson"]

# Published by the models' authors, as in keras.applications.imagenet_utils.
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# range name → (scale, offset, channel order): network input = pixel * scale + offset.
VALUE_RANGES: dict[str, tuple[tuple[float, ...], tuple[float, ...], str]] = {
    "0..1": ((1 / 255,) * 3, (0.0,) * 3, "RGB"),
    "-1..1": ((1 / 127.5,) * 3, (-1.0,) * 3, "RGB"),
    "0..255": ((1.0,) * 3, (0.0,) * 3, "RGB"),
    "caffe": ((1.0,) * 3, tuple(-mean for mean in _CAFFE_MEAN_BGR), "BGR"),
    "torch": (
        tuple(1 / (255 * std) for std in _TORCH_STD),
        tuple(-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)),
        "RGB",
    ),
}


@dataclass(frozen=True)
class Preprocessing:
    """How bytes become the network's input; every field changes the numbers and so the pool key.

    Attributes:
        size: the input's height and width in pixels.
        value_range: a name of `VALUE_RANGES`; the scaling happens inside the frozen graph.
        resize: the method of `tf.image.resize`.
        antialias: whether shrinking averages over all pixels (the lesson does not).
        crop: `none`: the aspect is not kept, as in the lesson.
        pixels: `float32`: resized pixels are 0 to 255, not rounded, as in the lesson; `uint8`: rounded,
            a quarter of the bytes on their way to the device.
        orientation: `ignore`: EXIF orientation is not applied, as TFDS and the lesson do.
        rules: `extract.decoding.DECODING_RULES`.
    """

    size: int
    value_range: str
    resize: str = "bilinear"
    antialias: bool = False
    crop: str = "none"
    pixels: str = "float32"
    orientation: str = "ignore"
    rules: int = DECODING_RULES

    def __post_init__(self) -> None:
        if self.value_range not in VALUE_RANGES:
            raise UnknownName("value range", self.value_range, VALUE_RANGES)
        if self.pixels not in ("float32", "uint8"):
            raise UnknownName("pixel type", self.pixels, ("float32", "uint8"))
        if not 1 <= self.size <= 4096:
            raise ValueError(f"size {self.size}: 1 to 4096 pixels expected.")

    def document(self) -> dict[str, Any]:
        """Return the fields as they stand in a pool's key, with the numbers behind the range."""
        scale, offset, channels = VALUE_RANGES[self.value_range]
        return {**asdict(self), "scale": list(scale), "offset": list(offset), "channels": channels}


def lesson(size: int, value_range: str) -> Preprocessing:
    """Return the lesson's preset: `tf.image.resize(image, (size, size))`, then scaling.

    Resized pixels are not rounded, because the lesson does not round them: on 8 by 8 digits that were
    enlarged to 224 pixels, rounding moved MobileNetV2's features by 9% (relative L2).
    """
    return Preprocessing(size, value_range)
