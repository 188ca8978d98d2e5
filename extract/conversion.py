"""From whatever layout a decoder gives to 8-bit RGB: transparency, 16 bits, numbers without a range."""

import numpy as np
from PIL import Image

__all__ = ["has_transparency", "to_rgb", "to_rgb_by_rules_1"]

# TIFF's tags.
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def has_transparency(image: Image.Image) -> bool:
    """Tell whether pixels of an image can be transparent."""
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")


def to_rgb(image: Image.Image, background: str, bits: int) -> Image.Image:
    """Return a loaded image as 8-bit RGB.

    Args:
        image: of any mode.
        background: `#rrggbb`, under transparent pixels.
        bits: of a channel, as the file states them.

    Raises:
        ValueError: its numbers have no stated range; the text is the reason that the ledger keeps.
    """
    if image.mode == "F":
        raise ValueError(_without_range("floating point numbers"))
    if image.mode == "I" and image.format != "PPM":
        tag = getattr(image, "tag_v2", {}).get(_BITS, (32,))
        raise ValueError(_without_range(f"{tag[0] if isinstance(tag, tuple) else tag}-bit signed or whole numbers"))
    if image.mode.startswith("I"):
        return _from_16_bits(image, background)
    key = image.info.get("transparency")
    if image.format == "PNG" and isinstance(key, int | tuple) and image.mode != "P":
        return _with_key_colour(image, background, bits)
    if not has_transparency(image):
        return image.convert("RGB")
    return _composited(image.convert("RGBA"), background)


def _without_range(what: str) -> str:
    return f"{what} without a stated range, which nobody can guess; save it with 8 or 16 bits"


def _composited(image: Image.Image, background: str) -> Image.Image:
    return Image.composite(image.convert("RGB"), Image.new("RGB", image.size, background), image.getchannel("A"))


def _from_16_bits(image: Image.Image, background: str) -> Image.Image:
    """Scale 16-bit grey to 8; convert("RGB") would clip all above 255 to white."""
    values = np.asarray(image).astype(np.float32)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (16,))
    full = (1 << int(bits[0] if isinstance(bits, tuple) else bits)) - 1
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        # Pillow turns only 8 bits round.
        values = full - values
    grey = Image.fromarray(np.clip(np.round(values * (255 / full)), 0, 255).astype(np.uint8)).convert("RGB")
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey
    mask = Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8))
    return Image.composite(grey, Image.new("RGB", image.size, background), mask)


def _with_key_colour(image: Image.Image, background: str, bits: int) -> Image.Image:
    """Composite a PNG of which one colour is transparent; the colour is told in the file's own bits."""
    key: int | tuple[int, ...] = image.info["transparency"]
    if bits == 16:
        raise ValueError("16-bit colour of which one colour is transparent; save it with an alpha channel")
    grey = isinstance(key, int)
    # Of one bit, Pillow has scaled it.
    full = 255 if image.mode == "1" else (1 << bits) - 1
    keys = np.asarray([key] if grey else key) * 255 // full
    pixels = np.asarray(image.convert("L" if grey else "RGB")).reshape(image.height, image.width, -1)
    mask = Image.fromarray(np.where((pixels == keys).all(axis=2), 0, 255).astype(np.uint8))
    return Image.composite(image.convert("RGB"), Image.new("RGB", image.size, background), mask)


def to_rgb_by_rules_1(image: Image.Image) -> Image.Image:
    """Convert as rules 1 did, for extractors whose pool was made by them."""
    if image.mode.startswith("I;16") or image.mode == "I":
        scaled = np.clip(np.round(np.asarray(image, np.float64) / 257), 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")
