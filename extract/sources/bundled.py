"""`bundled:NAME`: `stamps`, and `digits`, the real 8 by 8 digits that scikit-learn ships, which need no network."""

import hashlib
import importlib.util
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from extract.errors import SourceUnavailable, UnknownName
from extract.sources.example import DatasetSource, Example
from extract.sources.stamps import BundledStamps
from extract.sources.stat_index import StatIndex

__all__ = ["BUNDLED", "BundledDigits", "open_bundled"]

BUNDLED = ("digits", "stamps")
_TEST_EXAMPLES = 360


def open_bundled(name: str, stamps: Path | None = None, index: StatIndex | None = None) -> DatasetSource:
    """Return the bundled dataset of this name.

    Args:
        name: one of `BUNDLED`.
        stamps: where the stamps are unpacked.
        index: what is known of files that have not changed.

    Raises:
        UnknownName: there is none of this name.
        SourceUnavailable: its files are not here.
    """
    if name not in BUNDLED:
        raise UnknownName("bundled dataset", name, BUNDLED)
    return BundledStamps(stamps, index) if name == "stamps" else BundledDigits()


def _digits_file() -> Path:
    """Return where scikit-learn keeps the digits.

    Raises:
        SourceUnavailable: it is not installed, or keeps them elsewhere.
    """
    spec = importlib.util.find_spec("sklearn")
    path = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else None
    if path is None or not path.is_file():
        raise SourceUnavailable(f"bundled:digits: {path or 'scikit-learn'} expected, not found; install scikit-learn.")
    return path


class BundledDigits:
    """1,797 handwritten digits, 8 by 8 grey pixels, 10 classes.

    Base splits `train` (1,437) and `test` (360) are fixed and stratified: of each class, its share
    of the test split are the images with the smallest SHA-256, which neither depends on a
    library's random numbers nor parts equal images.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998, as
    in `sklearn.datasets.load_digits`.
    """

    name = "bundled:digits"
    orientation = "stored"
    version = "1"
    origin: Mapping[str, Any] = {}
    left_out: Sequence[str] = ()
    class_names = tuple("0123456789")
    splits = ("train", "test")

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a base split in the order of scikit-learn's file."""
        self._require(split)
        wanted = self._is_test if split == "test" else ~self._is_test
        pixels, labels = self._data
        for row in np.flatnonzero(wanted):
            yield Example(f"digits/{row:04d}", int(labels[row]), pixels[row])

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the examples of these ids."""
        return (example for example in self.examples(split) if example.example_id in example_ids)

    def count(self, split: str) -> int:
        """Return how many examples a base split has."""
        self._require(split)
        return int(np.sum(self._is_test == (split == "test")))

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: there are no other files."""
        self._require(split)
        return {}

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise UnknownName(f"base split of {self.name}", split, self.splits)

    @cached_property
    def _data(self) -> tuple[np.ndarray, np.ndarray]:
        # As `sklearn.datasets.load_digits` reads it, without the seconds that importing scikit-learn costs.
        table = np.loadtxt(_digits_file(), delimiter=",", dtype=np.int64)
        images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
        # The file counts inked pixels of 4 by 4 blocks, 0 to 16.
        return np.round(images * (255 / 16)).astype(np.uint8)[..., np.newaxis], labels

    @cached_property
    def _is_test(self) -> np.ndarray:
        pixels, labels = self._data
        share = np.bincount(labels) * _TEST_EXAMPLES / len(labels)
        quota = np.floor(share).astype(int)
        # Largest remainders first, so that the quotas add up.
        quota[np.argsort(quota - share, kind="stable")[: _TEST_EXAMPLES - quota.sum()]] += 1
        order = np.argsort([hashlib.sha256(image.tobytes()).hexdigest() for image in pixels], kind="stable")
        is_test = np.zeros(len(labels), bool)
        for label in range(len(self.class_names)):
            is_test[order[labels[order] == label][: quota[label]]] = True
        return is_test
