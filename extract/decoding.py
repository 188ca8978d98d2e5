"""Encoded bytes to pixels: what a file claims to be, and the careful path for all that is not plain.

Plain 8-bit JPEG and PNG are decoded by TensorFlow in the pipeline. Everything else, and whatever
fails there, comes here: Pillow under limits. Which path an image takes depends on its bytes
alone. A change of any rule here changes numbers: raise `DECODING_RULES`.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

__all__ = ["DECODING_RULES", "MAX_PIXELS", "DecodeFailure", "Header", "decode_carefully", "read_header"]

DECODING_RULES = 1

# Pillow's own threshold for a decompression bomb: a quarter of a GiB of RGB.
MAX_PIXELS = 89_478_485

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "AVIF")

# What Pillow and its codecs raise on broken files.
_PILLOW_ERRORS = (
    OSError,
    RuntimeError,  # AVIF's
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

# `warnings.catch_warnings` changes the filters of the whole process, and two threads read images.
_WARNINGS = threading.Lock()


class DecodeFailure(ValueError):
    """An image that no decoder makes pixels of; the text is the reason that the ledger keeps."""


@dataclass(frozen=True)
class Header:
    """What an image's bytes claim to be.

    Attributes:
        format: such as `JPEG`; `pixels` for raw arrays.
        mode: Pillow's name of the colour layout, such as `RGB`, `L`, `P`, `CMYK`.
        width, height: in pixels.
    """

    format: str
    mode: str
    width: int
    height: int

    @property
    def is_plain(self) -> bool:
        """Whether the pipeline's fast decoder takes it: 8-bit grey or RGB, JPEG or PNG."""
        return self.format in ("JPEG", "PNG") and self.mode in ("L", "RGB")


def read_header(data: bytes) -> Header:
    """Read what an image claims to be, without decoding it.

    Args:
        data: the encoded file.

    Raises:
        DecodeFailure: no known format, no pixels, or more than `MAX_PIXELS`.
    """
    if not data:
        raise DecodeFailure("empty file")
    with _opened(data) as image:
        header = Header(image.format or "", image.mode, image.width, image.height)
    if not 0 < header.width * header.height <= MAX_PIXELS:
        raise DecodeFailure(f"{header.width} x {header.height} pixels, at most {MAX_PIXELS:,} allowed")
    return header


def decode_carefully(data: bytes) -> np.ndarray:
    """Decode an image with Pillow.

    Rules: the first frame; alpha is dropped; palettes are applied; 16-bit grey is scaled to 8;
    CMYK by Pillow's plain conversion; colour profiles and EXIF orientation are ignored. In a TIFF
    the orientation belongs to how the rows are stored, and is applied.

    Args:
        data: the encoded file.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DecodeFailure: truncated or broken.
    """
    read_header(data)
    with _opened(data) as image:
        try:
            with _quiet_pillow():
                image.load()
                return np.asarray(_to_rgb(image))
        except _PILLOW_ERRORS as error:
            raise DecodeFailure(_reason(error)) from error


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _opened(data: bytes) -> Image.Image:
    try:
        with _quiet_pillow():
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise DecodeFailure("not an image of a known format") from error
    except _PILLOW_ERRORS as error:
        raise DecodeFailure(_reason(error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # convert("RGB") would clip all above 255 to white.
        scaled = np.clip(np.round(np.asarray(image, np.float64) / 257), 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    # Pillow puts the address of the buffer into some messages: a reason must repeat.
    return text.split("<_io.BytesIO")[0].strip() or type(error).__name__
