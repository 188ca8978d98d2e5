"""What a source delivers, and what a source is."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["DatasetSource", "Example"]


@dataclass(frozen=True)
class Example:
    """One picture of a dataset.

    Attributes:
        example_id: unique in its base split, relative to the source, stable over time.
        label: index into the source's class names.
        data: the encoded file's bytes, or (H, W, 1 or 3) uint8 pixels.
        group: examples of one group never part (patient, burst, video); empty for none.
    """

    example_id: str
    label: int
    data: bytes | np.ndarray
    group: str = ""

    def content_sha256(self) -> bytes:
        """Return the 32 bytes by which the pool finds this picture's row."""
        if isinstance(self.data, bytes):
            return hashlib.sha256(self.data).digest()
        height, width, channels = self.data.shape
        header = f"pixels uint8 {height} {width} {channels}\n".encode()
        return hashlib.sha256(header + self.data.tobytes()).digest()


class DatasetSource(Protocol):
    """An ordered, repeatable stream of examples for each base split."""

    @property
    def name(self) -> str:
        """The source as it was asked for, such as `folder:/data/flowers`."""

    @property
    def version(self) -> str:
        """The version of the data, or empty."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """What names the data beyond its content; part of a set's identity."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in label order."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The base splits that can be asked for."""

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a base split, in the same order every time."""

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield those of the examples that are still there, in the base split's order."""

    def count(self, split: str) -> int | None:
        """Return how many examples a base split has, or None where only reading tells."""

    def ignored(self, split: str) -> int:
        """Return how many files of a base split are no pictures."""
