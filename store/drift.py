"""Golden vectors: a few stored rows, computed again from their images, show whether the numbers still come out.

This package knows no extractor: whoever does hands in the function that computes.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from store.errors import RowsUnavailable
from store.sets import FeatureSet
from store.writer_drift import TOLERANCE, relative_differences

__all__ = ["Drift", "Recompute", "drift_of"]

# Given a set and some of its example ids: the example ids whose images are still the same → their
# rows, (D,) float32, computed now. Raises RowsUnavailable, with the reason, if none can be computed.
Recompute = Callable[[FeatureSet, Sequence[str]], Mapping[str, np.ndarray]]

_GOLDEN_ROWS = 4


@dataclass(frozen=True)
class Drift:
    """How far rows that are computed now lie from the stored ones.

    Attributes:
        differences: example id → L2 norm of the difference, divided by that of the stored row.
        tolerance: what counts as equal.
    """

    differences: Mapping[str, float]
    tolerance: float

    @property
    def rows(self) -> int:
        """How many rows were computed again."""
        return len(self.differences)

    def sentences(self) -> Iterator[str]:
        """Yield a sentence per row that has drifted."""
        for example_id, difference in self.differences.items():
            # Not "greater": NaN has drifted too.
            if not difference <= self.tolerance:
                yield (
                    f"{example_id}: a relative L2 difference of at most {self.tolerance:g} from the stored row "
                    f"expected, {difference:.3g} found by the extractor at hand; compare 'linprobe doctor' with the "
                    "versions in provenance.json, and extract into another store before trusting either."
                )


def drift_of(features: FeatureSet, recompute: Recompute) -> Drift:
    """Compute the rows of the images with the smallest content hashes again, and compare.

    Raises:
        RowsUnavailable: extractor or images are not at hand.
    """
    contents = features.content_sha256
    chosen = heapq.nsmallest(_GOLDEN_ROWS, range(len(contents)), key=lambda row: (contents[row].tobytes(), row))
    rows = {str(features.example_ids[row]): row for row in chosen}
    found = recompute(features, list(rows))
    if not found:
        raise RowsUnavailable("its images are gone or have changed.")
    differences = {}
    for example_id, computed in found.items():
        stored = features.features[rows[example_id]]
        is_comparable = computed.shape == stored.shape
        differences[example_id] = (
            float(relative_differences(stored[None], computed[None])[0]) if is_comparable else float("inf")
        )
    return Drift(differences, TOLERANCE[str(features.features.dtype)])
