"""Rows that two writers made of one image: equal within a tolerance, or drift."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["TOLERANCE", "WriterDrift", "compare_writers", "relative_differences"]

# Of one extractor's engines on one another, relative L2; half precision rounds to 11 bits besides.
TOLERANCE = {"float32": 1e-5, "float16": 1e-3}
# Rows compared together, so that two shards of any size are compared in little memory.
_ROWS = 4096


@dataclass(frozen=True)
class WriterDrift:
    """Two shards whose rows for the same images differ beyond the tolerance.

    Attributes:
        first: name of the shard whose rows count, the first by name.
        second: name of the other.
        images: how many of their common images have rows beyond the tolerance.
        common: how many images have a row in both.
        content: the image with the largest difference, its SHA-256 in hexadecimal.
        difference: that image's, L2 norm of the difference, divided by that of the first row.
        tolerance: what counts as equal.
    """

    first: str
    second: str
    images: int
    common: int
    content: str
    difference: float
    tolerance: float

    def sentence(self) -> str:
        """Say which, expected, found and what to do."""
        return (
            f"shards {self.first} and {self.second} hold rows of {self.common:,} same images: a relative L2 "
            f"difference of at most {self.tolerance:g} expected, {self.difference:.3g} found for image {self.content}"
            f" (beyond it: {self.images:,}). Two machines or versions computed different numbers; the rows of "
            f"{self.first[:12]} count. Compare the 'provenance' of the sets ('linprobe store show KEY') and 'linprobe "
            "doctor' on the machines that wrote them, and extract into another store before trusting either."
        )


def relative_differences(stored: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the L2 norm of each row's difference, divided by that of the stored row.

    Args:
        stored: (n, D) float.
        others: (n, D) float.

    Returns:
        (n,) float64; NaN where a row holds one.
    """
    stored, others = stored.astype(np.float64), others.astype(np.float64)
    # Below half precision's smallest numbers a share of the norm would be a share of nothing.
    norms = np.maximum(np.linalg.norm(stored, axis=1), 1e-6)
    differences: np.ndarray = np.linalg.norm(others - stored, axis=1) / norms
    return differences


def compare_writers(
    names: tuple[str, str], rows: Sequence[tuple[bytes, int, int]], open_features: Callable[[str], np.ndarray]
) -> WriterDrift | None:
    """Compare the rows of two shards for the images that both have.

    Args:
        names: of two shards, in either order.
        rows: content, row in the first named shard, row in the second; one at least.
        open_features: shard name → (n, D) features.

    Returns:
        The drift, or None if every row agrees within the tolerance.
    """
    if names[0] > names[1]:
        names, rows = (names[1], names[0]), [(content, other, row) for content, row, other in rows]
    first, second = (open_features(name) for name in names)
    tolerance = TOLERANCE[str(first.dtype)]
    if first.shape[1:] != second.shape[1:]:
        return WriterDrift(*names, len(rows), len(rows), rows[0][0].hex(), float("inf"), tolerance)
    ours, theirs = np.array([row for _, row, _ in rows]), np.array([row for _, _, row in rows])
    differences = np.concatenate(
        [
            relative_differences(first[ours[at : at + _ROWS]], second[theirs[at : at + _ROWS]])
            for at in range(0, len(rows), _ROWS)
        ]
    )
    # Not "greater": NaN has drifted too.
    beyond = ~(differences <= tolerance)
    if not beyond.any():
        return None
    worst = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    content = rows[worst][0].hex()
    return WriterDrift(*names, int(beyond.sum()), len(rows), content, float(differences[worst]), tolerance)
