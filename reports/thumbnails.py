"""Images for the grids, as files named by their own bytes.

Nothing that a dataset calls its examples ever becomes part of a path.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from store import ProbeResult

__all__ = ["ImageLookup", "Thumbnail", "Thumbnails"]

ImageLookup: TypeAlias = Callable[[ProbeResult, Sequence[str]], Mapping[str, bytes]]
"""Finds images: (run, example ids) to example id → PNG bytes; ids not at hand are left out."""

_LONGEST = 224
_TINY = 64
_RESIZABLE = frozenset({"L", "LA", "RGB", "RGBA"})


@dataclass(frozen=True)
class Thumbnail:
    """An image of a site.

    Attributes:
        file: its name in the site's folder of thumbnails.
        width: in pixels.
        height: in pixels.
        is_tiny: whether a page should enlarge it without smoothing.
    """

    file: str
    width: int
    height: int
    is_tiny: bool


class Thumbnails:
    """Writes images into one folder, each only once.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Thumbnail | None] = {}

    def add(self, image: bytes) -> Thumbnail | None:
        """Write an image, reduced to at most 224 pixels a side.

        Args:
            image: PNG bytes.

        Returns:
            The thumbnail, or None if the bytes are no PNG image that can be decoded.
        """
        name = hashlib.sha256(image).hexdigest()
        if name not in self._known:
            self._known[name] = self._write(name, image)
        return self._known[name]

    def _write(self, name: str, image: bytes) -> Thumbnail | None:
        try:
            # An image past Pillow's limit of pixels is not worth a thumbnail either.
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(image), formats=["PNG"]) as opened:
                    opened.load()
                    data, (width, height) = _reduced(opened, image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            return None
        file = f"{name[:32]}.png"
        (self._folder / file).write_bytes(data)
        return Thumbnail(file, width, height, is_tiny=max(width, height) <= _TINY)


def _reduced(opened: Image.Image, image: bytes) -> tuple[bytes, tuple[int, int]]:
    # Modes that resizing would distort (palettes, 16 bits) keep their bytes: browsers show them.
    if max(opened.size) <= _LONGEST or opened.mode not in _RESIZABLE:
        return image, opened.size
    small = opened.copy()
    small.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue(), small.size
