"""JPEG files to extract from."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "write_images"]

CLASSES = ("a", "b")
# Files beyond so many show an image again, under other bytes.
_DISTINCT = 512


def write_images(folder: Path, count: int) -> None:
    """Write JPEG files of 500 x 375 pixels, cut from two real photographs; no two have the same bytes."""
    from sklearn.datasets import load_sample_images

    photographs = [np.asarray(image) for image in load_sample_images().images]
    generator = np.random.default_rng(0)
    drawn: list[bytes] = []
    for number in range(count):
        if number < _DISTINCT:
            photograph = photographs[number % 2]
            top = generator.integers(0, photograph.shape[0] - 375 + 1)
            left = generator.integers(0, photograph.shape[1] - 500 + 1)
            encoded = io.BytesIO()
            Image.fromarray(photograph[top : top + 375, left : left + 500]).save(encoded, "JPEG", quality=90)
            drawn.append(encoded.getvalue())
        target = folder / CLASSES[number % 2] / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two cuts may be one and the same: the comment alone tells them apart for certain.
        target.write_bytes(_commented(drawn[number % _DISTINCT], f"image {number}".encode()))


def _commented(jpeg: bytes, text: bytes) -> bytes:
    """Return a JPEG file with a comment, which no decoder draws."""
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]
