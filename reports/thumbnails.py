"""Pictures for the grids, as files named by their own bytes.

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

__all__ = ["PictureLookup", "Thumbnail", "Thumbnails"]

PictureLookup: TypeAlias = Callable[[ProbeResult, Sequence[str]], Mapping[str, bytes]]
"""Finds pictures: (run, example ids) to example id → PNG bytes; ids not at hand are left out."""

_LONGEST = 224
_TINY = 64
_RESIZABLE = frozenset({"L", "LA", "RGB", "RGBA"})


@dataclass(frozen=True)
class Thumbnail:
    """A picture of a site.

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
    """Writes pictures into one folder, each only once.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Thumbnail | None] = {}

    def add(self, picture: bytes) -> Thumbnail | None:
        """Write a picture, reduced to at most 224 pixels a side.

        Args:
            picture: PNG bytes.

        Returns:
            The thumbnail, or None if the bytes are no PNG picture that can be decoded.
        """
        name = hashlib.sha256(picture).hexdigest()
        if name not in self._known:
            self._known[name] = self._write(name, picture)
        return self._known[name]

    def _write(self, name: str, picture: bytes) -> Thumbnail | None:
        try:
            # A picture past Pillow's limit of pixels is not worth a thumbnail either.
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
                    image.load()
                    data, (width, height) = _reduced(image, picture)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            return None
        file = f"{name[:32]}.png"
        (self._folder / file).write_bytes(data)
        return Thumbnail(file, width, height, is_tiny=max(width, height) <= _TINY)


def _reduced(image: Image.Image, picture: bytes) -> tuple[bytes, tuple[int, int]]:
    # Modes that resizing would distort (palettes, 16 bits) keep their bytes: browsers show them.
    if max(image.size) <= _LONGEST or image.mode not in _RESIZABLE:
        return picture, image.size
    small = image.copy()
    small.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue(), small.size
