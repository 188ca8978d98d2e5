"""Encoded bytes to pixels: what a file claims to be, and the careful path for all that is not plain.

Plain 8-bit JPEG and PNG are decoded by TensorFlow in the pipeline. Everything else, and whatever fails there, comes
here: Pillow under limits, in a process of its own (`extract.decoders`). Which path an image takes depends on its bytes
alone. A change of any rule here changes numbers: raise `DECODING_RULES`.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from extract.containers import (
    JPEG,
    PNG,
    jpeg_header,
    jpeg_without_extras,
    png_header,
    png_without_extras,
)
from extract.conversion import has_transparency, to_rgb, to_rgb_by_rules_1
from extract.header import AS_STORED, Header, Rules

__all__ = [
    "MAX_PIXELS",
    "DecodeFailure",
    "decode_carefully",
    "is_lasting",
    "needs_look",
    "read_header",
    "turn",
]

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

# TIFF's tags.
_NEW_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
# The bytes by which files are known that no decoder here reads: offset, bytes, what they are.
_FOREIGN = (
    (0, b"8BPS", "a Photoshop file (PSD)"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (0, b"v/1\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (0, b"IIRO", "a camera's raw file"),
    (0, b"IIRS", "a camera's raw file"),
    (0, b"IIU\0", "a camera's raw file"),
    (8, b"CR\x02", "a camera's raw file"),
    (4, b"ftypcrx ", "a camera's raw file"),
    (0, b"\0\0\1\0", "an icon (ICO)"),
    (128, b"DICM", "a DICOM image"),
    (0, b"SIMPLE  =", "a FITS image"),
)
_NEEDS_PACKAGE = "needs the package"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")


class DecodeFailure(ValueError):
    """An image that no decoder makes pixels of; the text is the reason that the ledger keeps."""


def is_lasting(reason: str) -> bool:
    """Tell whether a reason is about the image alone: one that a package would remedy is looked at again."""
    return _NEEDS_PACKAGE not in reason


def needs_look(data: bytes) -> bool:
    """Return whether a decoder is needed to read the header: for JPEG and PNG none is."""
    return bool(data) and not data.startswith((JPEG, PNG))


def read_header(data: bytes) -> Header:
    """Read what an image claims to be, without decoding it.

    Args:
        data: the encoded file.

    Raises:
        DecodeFailure: no known format, no pixels, or more than `MAX_PIXELS`.
    """
    if not data:
        raise DecodeFailure("empty file")
    try:
        if data.startswith(JPEG):
            header = jpeg_header(data)
        elif data.startswith(PNG):
            header = png_header(data)
        else:
            header = _opened_header(data)
    except ValueError as error:
        raise DecodeFailure(_reason(error)) from error
    if not 0 < header.width * header.height <= MAX_PIXELS:
        raise DecodeFailure(f"{header.width} x {header.height} pixels, at most {MAX_PIXELS:,} allowed")
    return header


def _opened_header(data: bytes) -> Header:
    with _opened(data) as image:
        _require_no_raw(image)
        width, height, orientation = image.width, image.height, 1
        if image.format in ("WEBP", "AVIF"):
            orientation = _exif_orientation(image)
        if image.format == "AVIF":
            # The container's own turn and mirror, which Pillow tells as an orientation.
            width, height = (height, width) if orientation >= 5 else (width, height)
            orientation = 1
        try:
            frames = int(getattr(image, "n_frames", 1))
        except _PILLOW_ERRORS:
            frames = 1  # a broken later frame decides nothing over the first
        return Header(
            image.format or "",
            image.mode,
            width,
            height,
            bits=_bits(image),
            orientation=orientation,
            frames=frames,
            has_transparency=has_transparency(image),
        )


def _require_no_raw(image: Image.Image) -> None:
    """Refuse a camera's raw file in a TIFF's clothes: its first image is a thumbnail."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or (_SUB_IFDS in tags and int(tags.get(_NEW_SUBFILE_TYPE, 0)) & 1):
        raise DecodeFailure("a camera's raw file, which is not read here; convert it to PNG")


def decode_carefully(data: bytes, rules: Rules = AS_STORED) -> np.ndarray:
    """Decode an image with Pillow.

    The first frame; palettes applied; transparency composited on the background; 16-bit grey scaled to 8, in either
    photometric order; of 16-bit colour the high byte; CMYK by Pillow's plain conversion; profiles ignored. Floating
    point, 32-bit and signed numbers have no stated range, and are refused.

    Args:
        data: the encoded file.
        rules: orientation and background.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DecodeFailure: truncated, broken, or without a stated range.
    """
    header = read_header(data)
    with _opened(_bare(data)) as image:
        try:
            with _quiet_pillow():
                image.load()
                if rules.number < 2:
                    return np.asarray(to_rgb_by_rules_1(image))
                rgb = to_rgb(image, rules.background, header.bits)
                # A TIFF was turned when it was loaded.
                orientation = _exif_orientation(image) if header.format == "AVIF" else header.orientation
                if header.format == "AVIF" or rules.orientation == "exif":
                    return turn(np.asarray(rgb), orientation)
                return np.asarray(rgb)
        except _PILLOW_ERRORS as error:
            raise DecodeFailure(_reason(error)) from error


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels as EXIF's orientation shows them.

    Args:
        pixels: (H, W, C).
        orientation: 1 to 8.

    Returns:
        (H, W, C), or (W, H, C) from 5 on.

    Source: EXIF 2.32, 4.6.4, tag 274: where the 0th row and the 0th column of what is stored are shown.
    """
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def _bare(data: bytes) -> bytes:
    """Return the file without what its pixels do not depend on, so that nothing of it can fail."""
    if data.startswith(JPEG):
        return jpeg_without_extras(data)
    return png_without_extras(data) if data.startswith(PNG) else data


def _opened(data: bytes) -> Image.Image:
    foreign = next((what for at, magic, what in _FOREIGN if data[at : at + len(magic)] == magic), None)
    if foreign is not None:
        raise DecodeFailure(f"{foreign}, which is not read here; convert it to PNG")
    is_heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    formats: tuple[str, ...] = FORMATS
    if is_heif and b"avif" not in data[:64]:
        _register_heif()
        formats = ("HEIF",)
    try:
        with _quiet_pillow():
            return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError as error:
        what = "a broken HEIC image" if formats != FORMATS else "not an image of a known format"
        raise DecodeFailure(what) from error
    except _PILLOW_ERRORS as error:
        raise DecodeFailure(_reason(error)) from error


def _register_heif() -> None:
    try:
        from pi_heif import register_heif_opener
    except ImportError as error:
        raise DecodeFailure(
            f"a HEIC image, which {_NEEDS_PACKAGE} pi-heif: pip install 'linprobe[heic]', or convert it"
        ) from error
    # A thumbnail or a depth map beside the image is not looked at.
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


def _exif_orientation(image: Image.Image) -> int:
    try:
        found: Any = image.getexif().get(0x0112, 1)
    except _PILLOW_ERRORS:
        return 1  # a broken block states nothing
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _bits(image: Image.Image) -> int:
    if image.mode.startswith("I;16"):
        return 16
    if image.mode in ("I", "F"):
        return 16 if image.format == "PPM" and image.mode == "I" else 32
    return 8


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    # Pillow puts the address of the buffer into some messages: a reason must repeat.
    return text.split("<_io.BytesIO")[0].strip() or type(error).__name__
