"""All that turns a decoded image into a network's input."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PIL import ImageColor

from extract.errors import InvalidSetting, UnknownName
from extract.header import DECODING_RULES, WHITE, Rules
from extract.views import VIEW_RULES
from store.extractor_names import MAX_VIEWS

__all__ = [
    "ORIENTATIONS",
    "RESIZE_METHODS",
    "VALUE_RANGES",
    "Crop",
    "Preprocessing",
    "color_of",
    "decoding_of",
    "lesson",
]

ORIENTATIONS = ("exif", "stored")

# Those of `tf.image.resize`, and TensorFlow 1's own sampling, which many published networks were
# evaluated with: it takes a pixel's corner for its place, not its middle.
RESIZE_METHODS = (
    "bilinear", "bicubic", "lanczos3", "lanczos5", "area", "nearest", "gaussian", "mitchellcubic",
    "bilinear_v1", "bicubic_v1",
)  # fmt: skip

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
class Crop:
    """Which part of an image the network sees.

    Attributes:
        rule: `none`: all of it; `fraction`: the middle part of each side; `square`: the middle
            square; `shorter`: the image is resized first, then its middle is cut out. Only the
            last two keep the aspect.
        amount: of `fraction`, the part of each side; of `square`, the part of the shorter side;
            of `shorter`, the pixels that the shorter side is resized to.
    """

    rule: str
    amount: float

    @classmethod
    def parse(cls, text: str, size: int) -> "Crop":
        """Parse `none`, `fraction:F`, `square:F` or `shorter:PIXELS`.

        Args:
            text: what is parsed.
            size: of the network's input.

        Raises:
            InvalidSetting: it is none of these.
        """
        rule, _, amount = text.partition(":")
        try:
            if text == "none":
                return cls("none", 1.0)
            if rule in ("fraction", "square") and 0 < float(amount) <= 1:
                return cls(rule, float(amount))
            if rule == "shorter" and size <= int(amount) <= 4096:
                return cls(rule, int(amount))
        except ValueError:
            pass
        raise InvalidSetting(
            f"crop {text!r}: none, fraction:F or square:F (0 < F <= 1, such as square:0.875), or shorter:PIXELS "
            f"({size} to 4096, since the input has {size}) expected."
        )


@dataclass(frozen=True)
class Preprocessing:
    """How bytes become the network's input; every field changes the numbers and so the pool key.

    Attributes:
        size: the input's height and width in pixels.
        value_range: a name of `VALUE_RANGES`; the scaling happens inside the frozen graph.
        resize: one of `RESIZE_METHODS`.
        antialias: whether shrinking averages over all pixels (the lesson does not).
        crop: what `Crop.parse` takes; `none`: the aspect is not kept, as in the lesson.
        pixels: `float32`: resized pixels are 0 to 255, not rounded, as in the lesson; `uint8`: rounded,
            a quarter of the bytes on their way to the device.
        orientation: `exif`: turned as EXIF says, as viewers show images; `stored`: as the pixels are stored, as TFDS
            and the lesson take them.
        background: `#rrggbb`, what transparent pixels are composited on.
        rules: `extract.header.DECODING_RULES`; 1 for extractors of pools that were made by them.
        view: which seeded crop and flip of the image, see `extract.views`; its window takes the place of `crop`.
            0: the image itself.
    """

    size: int
    value_range: str
    resize: str = "bilinear"
    antialias: bool = False
    crop: str = "none"
    pixels: str = "float32"
    orientation: str = "stored"
    background: str = WHITE
    rules: int = DECODING_RULES
    view: int = 0

    def __post_init__(self) -> None:
        if self.value_range not in VALUE_RANGES:
            raise UnknownName("value range", self.value_range, VALUE_RANGES)
        if self.pixels not in ("float32", "uint8"):
            raise UnknownName("pixel type", self.pixels, ("float32", "uint8"))
        if self.orientation not in ORIENTATIONS:
            raise UnknownName("orientation", self.orientation, ORIENTATIONS)
        if self.resize not in RESIZE_METHODS:
            raise UnknownName("resize method", self.resize, RESIZE_METHODS)
        if not 1 <= self.size <= 4096:
            raise InvalidSetting(f"size {self.size}: 1 to 4096 pixels expected.")
        if self.antialias and self.resize.endswith("_v1"):
            raise InvalidSetting(
                f"antialias with resize {self.resize}: TensorFlow 1 had none; take {self.resize[:-3]}."
            )
        if not 0 <= self.view <= MAX_VIEWS:
            raise InvalidSetting(f"view {self.view}: 0 (the image itself) to {MAX_VIEWS} expected.")
        Crop.parse(self.crop, self.size)

    @property
    def decoding(self) -> Rules:
        """What is done to an image beyond decoding it."""
        return Rules(self.orientation, self.background, self.rules)

    def document(self) -> dict[str, Any]:
        """Return the fields as they stand in a pool's key, with the numbers behind the range."""
        scale, offset, channels = VALUE_RANGES[self.value_range]
        fields = asdict(self)
        # Only a view's key speaks of views: the others are what they were before there were any.
        if self.view:
            fields["view_rules"] = VIEW_RULES
        else:
            del fields["view"]
        if self.rules < 2:
            # They knew no background, and another word for what is stored.
            del fields["background"]
            fields["orientation"] = "ignore"
        return {**fields, "scale": list(scale), "offset": list(offset), "channels": channels}


def decoding_of(document: Mapping[str, Any]) -> Rules:
    """Return the rules that stand in a pool's key, of whatever version."""
    orientation = "stored" if document["orientation"] == "ignore" else document["orientation"]
    return Rules(orientation, document.get("background", ""), document["rules"])


def color_of(text: str) -> str:
    """Return a colour as `#rrggbb`.

    Args:
        text: a name of CSS, such as `white`, or `#rrggbb`.

    Raises:
        InvalidSetting: it is none.
    """
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise InvalidSetting(
            f"background {text!r}: a colour expected, by its name (white, black, grey) or as #rrggbb."
        ) from error
    return f"#{red:02x}{green:02x}{blue:02x}"


def lesson(size: int, value_range: str) -> Preprocessing:
    """Return the lesson's preset: `tf.image.resize(image, (size, size))`, then scaling.

    Resized pixels are not rounded, because the lesson does not round them: on 8 by 8 digits that were
    enlarged to 224 pixels, rounding moved MobileNetV2's features by 9% (relative L2).
    """
    return Preprocessing(size, value_range)
