"""Images that a program holds: arrays of pixels, encoded bytes, or paths of files, with their labels."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from extract.errors import BadData, UnknownName
from extract.sources.array_hints import images_hint
from extract.sources.example import Example
from extract.sources.image_files import SPLIT_NAMES, open_image

__all__ = ["MEMORY_SCHEME", "MemorySource"]

MEMORY_SCHEME = "memory"


class MemorySource:
    """Images in the order in which they were given, held by this process: no other process can open them.

    Args:
        name: what the dataset is called.
        images: N images: (H, W), (H, W, 1) or (H, W, 3) uint8 pixels of any size, encoded bytes, or paths of files.
        labels: N numbers of classes.
        class_names: the K classes, in label order.
        example_ids: N ids, distinct in their base split.
        groups: N groups that never part, empty texts for none.
        splits: N base splits; all are `all` without.

    Raises:
        BadData: an image is none, a label has no class, an id is duplicated, or the lengths differ.
    """

    version = ""
    origin: Mapping[str, Any] = {}
    left_out: Sequence[str] = ()

    def __init__(
        self,
        name: str,
        images: Sequence[Any],
        labels: Sequence[int],
        *,
        class_names: Sequence[str],
        example_ids: Sequence[str],
        groups: Sequence[str] = (),
        splits: Sequence[str] = (),
    ) -> None:
        self.name = f"{MEMORY_SCHEME}:{name}"
        self.class_names = tuple(class_names)
        count = len(images)
        if not count:
            raise BadData(f"{name}: at least one image expected, none given.")
        columns: dict[str, Sequence[Any]] = {
            "labels": labels, "example_ids": example_ids,
            "groups": groups or ("",) * count, "splits": splits or ("all",) * count,
        }  # fmt: skip
        for what, column in columns.items():
            if len(column) != count:
                raise BadData(f"{name}: {what}: one for each of {count} images expected, {len(column)} found.")
        names = [SPLIT_NAMES.get(str(split).lower(), str(split)) for split in columns["splits"]]
        # Train, validation, test, then what else there is: as a table's.
        order = [split for split in SPLIT_NAMES.values() if split in names] + sorted(set(names))
        self._rows: dict[str, list[_Row]] = {split: [] for split in dict.fromkeys(order)}
        for at, split in enumerate(names):
            where = f"{name}: image {at}"
            label = int(labels[at])
            if not 0 <= label < len(self.class_names):
                raise BadData(f"{where}: a label from 0 to {len(self.class_names) - 1} expected, {label} found.")
            row = _Row(str(example_ids[at]), _image(where, images[at]), label, str(columns["groups"][at]))
            self._rows[split].append(row)
        for split, rows in self._rows.items():
            ids = [row.example_id for row in rows]
            if len(set(ids)) < len(ids):
                twice = next(example_id for example_id in ids if ids.count(example_id) > 1)
                raise BadData(f"{name}: the id {twice!r} is duplicated in the base split {split!r}; give example ids.")
        self.splits = tuple(self._rows)
        # As files are shown, where there are any; arrays state no orientation.
        are_arrays = all(isinstance(row.image, np.ndarray) for rows in self._rows.values() for row in rows)
        self.orientation = "stored" if are_arrays else "exif"

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the images of a base split, in the order in which they were given."""
        return (_example(row) for row in self._of(split))

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the images of these ids; no other file is read."""
        return (_example(row) for row in self._of(split) if row.example_id in example_ids)

    def count(self, split: str) -> int:
        """Return how many images a base split has."""
        return len(self._of(split))

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: all that was given is an image."""
        self._of(split)
        return {}

    def _of(self, split: str) -> "list[_Row]":
        if split not in self._rows:
            raise UnknownName(f"base split of {self.name}", split, self.splits)
        return self._rows[split]


class _Row(NamedTuple):
    example_id: str
    image: np.ndarray | bytes | Path
    label: int
    group: str


def _example(row: _Row) -> Example:
    if isinstance(row.image, Path):
        return open_image(str(row.image), row.example_id, row.label, index=None, group=row.group)
    return Example(row.example_id, row.label, row.image, row.group)


def _image(where: str, given: Any) -> np.ndarray | bytes | Path:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str | Path):
        return Path(given).expanduser().absolute()
    pixels = np.asarray(given)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise BadData(
            f"{where}: a path, or (H, W), (H, W, 1) or (H, W, 3) uint8 expected, {pixels.dtype} {pixels.shape} found."
            f"{images_hint(pixels.dtype, pixels.shape)}"
        )
    return pixels
