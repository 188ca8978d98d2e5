"""What was done to images beyond decoding them, and what was left out: counted, to be told."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from extract.header import Header, Rules

__all__ = ["Degenerate", "Handling", "degenerate_of", "handling_of", "ledger_entry"]

# As many rows are compared at a time: 20 MB of 1,280 numbers.
_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class Handling:
    """How many images were treated how.

    Attributes:
        rotated: turned as EXIF says.
        rotation_ignored: EXIF would turn them, and they were taken as stored.
        frames_dropped: images with more than one frame, of which the first counts.
        composited: images that can be transparent, on the background.
        converted: colour layout → images that were brought to 8-bit RGB from it.
    """

    rotated: int = 0
    rotation_ignored: int = 0
    frames_dropped: int = 0
    composited: int = 0
    converted: Mapping[str, int] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Return what people are told; nothing where nothing was done."""
        counts = (
            (self.rotated, "turned as EXIF says"),
            (self.rotation_ignored, "NOT turned as EXIF says (orientation = stored)"),
            (self.frames_dropped, "with more frames than the first, which alone counts"),
            (self.composited, "with transparency, composited on the background"),
        )
        told = [f"{count:,} {what}" for count, what in counts if count]
        return told + [f"{count:,} {layout} brought to 8-bit RGB" for layout, count in sorted(self.converted.items())]


@dataclass(frozen=True, kw_only=True)
class Degenerate:
    """What features look like that no head can learn from, or that show a fault of the images.

    Attributes:
        images: distinct images, by content.
        rows: distinct rows.
        constant: images whose row is one number over and over.
        uniform_classes: classes of two or more distinct images whose rows are all equal.
    """

    images: int
    rows: int
    constant: int = 0
    uniform_classes: Sequence[str] = ()

    def sentences(self) -> list[str]:
        """Return what people are told; nothing where all is well."""
        told = []
        if self.rows < self.images:
            told.append(f"{self.images:,} different images give {self.rows:,} different rows")
        if self.constant:
            told.append(f"{self.constant:,} images have a row of one number alone")
        if self.uniform_classes:
            shown = ", ".join(map(repr, self.uniform_classes[:3]))
            more = f" and {len(self.uniform_classes) - 3} more" if len(self.uniform_classes) > 3 else ""
            told.append(f"all images of {shown}{more} have the same row")
        return told


def handling_of(headers: Iterable[Header], rules: Rules) -> Handling:
    """Count what rules do to images."""
    counts: Counter[str] = Counter()
    converted: Counter[str] = Counter()
    for header in headers:
        if header.orientation != 1:
            counts["rotated" if rules.orientation == "exif" else "rotation_ignored"] += 1
        counts["frames_dropped"] += header.frames > 1
        counts["composited"] += header.has_transparency
        layout = _converted(header)
        if layout:
            converted[layout] += 1
    return Handling(**counts, converted=dict(converted))


def ledger_entry(header: Header, rules: Rules) -> tuple[int, int, str, str]:
    """Return a candidate's orientation, frames, background and conversion, as the ledger keeps them."""
    background = rules.background if header.has_transparency else ""
    return header.orientation, header.frames, background, _converted(header)


def _converted(header: Header) -> str:
    if header.bits > 8:
        return f"{header.bits}-bit {'grey' if header.mode.startswith('I') else header.mode}"
    return header.mode if header.mode in ("CMYK", "YCbCr", "LAB", "HSV") else ""


def degenerate_of(features: Any, contents: np.ndarray, *, labels: np.ndarray, class_names: Sequence[str]) -> Degenerate:
    """Look for rows that are equal though their images are not.

    Args:
        features: (N, D) array-like.
        contents: (N, 32) uint8.
        labels: (N,) int.
        class_names: K names.
    """
    _, first, image_of = np.unique(contents.view("V32").ravel(), return_index=True, return_inverse=True)
    rows: dict[bytes, int] = {}
    row_of = np.empty(len(first), np.int64)
    is_constant = np.zeros(len(first), bool)
    for at in range(0, len(first), _ROWS):
        block = np.ascontiguousarray(np.stack([features[int(row)] for row in first[at : at + _ROWS]]))
        is_constant[at : at + _ROWS] = (block == block[:, :1]).all(axis=1)
        for offset, row in enumerate(block):
            row_of[at + offset] = rows.setdefault(row.tobytes(), len(rows))
    uniform = []
    images_of = image_of.ravel()
    for label in np.unique(labels):
        images = np.unique(images_of[labels == label])
        if len(images) > 1 and len(np.unique(row_of[images])) == 1:
            uniform.append(class_names[label])
    constant = int(is_constant.sum())
    return Degenerate(images=len(first), rows=len(rows), constant=constant, uniform_classes=tuple(uniform))
