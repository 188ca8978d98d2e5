"""`npz:FILE`: images that are arrays already, as NumPy keeps them and MedMNIST publishes them.

images (N, H, W) or (N, H, W, 1 or 3) uint8, labels (N,) or (N, 1) integer     one base split, `all`
train_images, train_labels, val_images, …                                      `train`, `validation`, `test`

and perhaps class_names (K,), and for each part example_ids (N,) and groups (N,), named as its images are.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from extract.errors import BadData, SourceUnavailable, UnknownName
from extract.sources.array_hints import images_hint, labels_hint, names_hint
from extract.sources.example import Example
from extract.sources.image_files import SPLIT_NAMES
from extract.sources.lookalikes import unified
from extract.sources.reading import AS_IT_IS, Reading
from store.names import full_name
from store.npz import read_npz, texts_of

__all__ = ["ArraysSource"]

_IMAGES = "images"
# Without names, so many classes are made from the labels at most.
_UNNAMED_CLASSES = 10_000


class ArraysSource:
    """Images in the order of the arrays, held in memory; nothing pickled is ever loaded.

    Args:
        path: the npz file.
        reading: what the job says of it.

    Raises:
        SourceUnavailable: it is not there.
        BadData: it cannot be read, or its arrays are not what is expected.
    """

    version = ""
    orientation = "stored"
    origin: Mapping[str, Any] = {}
    left_out: Sequence[str] = ()

    def __init__(self, path: Path, reading: Reading = AS_IT_IS) -> None:
        self.path = path.absolute()
        self._reading = reading
        self.name = full_name(f"npz:{self.path}")
        if not self.path.is_file():
            raise SourceUnavailable(f"{self.path}: no such file; expected an npz file with images and labels.")
        try:
            self._names, self._arrays = read_npz(self.path, _is_known)
            prefixes = self._prefixes()
            self._parts = {split: self._part(prefix) for split, prefix in prefixes.items()}
            self.class_names = self._class_names(max(int(part.labels.max()) for part in self._parts.values()))
        except ValueError as error:
            raise BadData(f"{self.path}: {error}") from error
        self.splits = tuple(self._parts)

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the images of a base split."""
        part = self._of(split)
        rows = zip(part.ids, part.labels.tolist(), part.images, part.groups, strict=True)
        return (Example(example_id, label, image, group) for example_id, label, image, group in rows)

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the images of these ids."""
        return (example for example in self.examples(split) if example.example_id in example_ids)

    def count(self, split: str) -> int:
        """Return how many images a base split has."""
        return len(self._of(split).ids)

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: every row is an image."""
        self._of(split)
        return {}

    def _of(self, split: str) -> "_Part":
        if split not in self._parts:
            raise UnknownName(f"base split of {self.name}", split, self.splits)
        return self._parts[split]

    def _prefixes(self) -> dict[str, str]:
        """Return base splits, each with what stands before the names of its arrays."""
        if _IMAGES in self._names:
            return {"all": ""}
        found: dict[str, str] = {}
        for name, split in SPLIT_NAMES.items():
            if f"{name}_{_IMAGES}" in self._names:
                if split in found:
                    raise ValueError(f"{found[split]}{_IMAGES} and {name}_{_IMAGES} are both {split!r}; keep one.")
                found[split] = f"{name}_"
        if not found:
            hint = names_hint(self._names)
            if "features" in self._names:
                hint = " Features are imported by: linprobe store import."
            listed = ", ".join(self._names) or "nothing"
            raise ValueError(
                f"images and labels expected, or train_images, train_labels and so on; {listed} found.{hint}"
            )
        return found

    def _part(self, prefix: str) -> "_Part":
        given = self._array(f"{prefix}{_IMAGES}")
        images = given[..., np.newaxis] if given.ndim == 3 else given
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
            raise ValueError(
                f"{prefix}{_IMAGES}: uint8 (N, H, W) or (N, H, W, 1 or 3) expected, {images.dtype} {images.shape} "
                f"found.{images_hint(images.dtype, images.shape, 'images')}"
            )
        labels = self._array(f"{prefix}labels")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
            raise ValueError(
                f"{prefix}labels: one whole number for each of {len(images)} images expected, {labels.dtype} "
                f"{labels.shape} found.{labels_hint(labels)}"
            )
        if labels.min() < 0:
            raise ValueError(f"{prefix}labels: 0 and on expected, {labels.min()} found.")
        ids = self._texts(f"{prefix}example_ids", len(images)) or tuple(f"{at:07d}" for at in range(len(images)))
        if len(set(ids)) < len(ids):
            raise ValueError(f"{prefix}example_ids: {len(ids)} distinct ids expected, {len(set(ids))} found.")
        groups = self._texts(f"{prefix}groups", len(images)) or ("",) * len(images)
        return _Part(images, labels.astype(np.int64), ids, groups)

    def _class_names(self, highest: int) -> tuple[str, ...]:
        if "class_names" not in self._arrays:
            if highest >= _UNNAMED_CLASSES:
                raise ValueError(f"labels: {highest} found; give class_names if that is meant.")
            return tuple(map(str, range(highest + 1)))
        names = texts_of("class_names", self._arrays["class_names"])
        if highest >= len(names) or len(set(names)) < len(names):
            raise ValueError(f"class_names: {highest + 1} or more distinct names expected, {len(set(names))} found.")
        if not self._reading.is_lenient:
            # Two labels cannot be made one here: merge = true is for names, not for numbers.
            unified(Counter(names), f"{self.path}: class_names", merge=False)
        return names

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise ValueError(f"{name} expected, {', '.join(self._names)} found.")
        return self._arrays[name]

    def _texts(self, name: str, count: int) -> tuple[str, ...]:
        """Return an array of so many texts; none where there is no such array."""
        if name not in self._arrays:
            return ()
        texts = texts_of(name, self._arrays[name])
        if len(texts) != count or not all(texts):
            raise ValueError(f"{name}: {count} texts expected, {len(texts)} found, {sum(map(bool, texts))} not empty.")
        return texts


class _Part(NamedTuple):
    """A base split: images (N, H, W, 1 or 3), labels (N,), and N ids and groups."""

    images: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    groups: tuple[str, ...]


def _is_known(name: str) -> bool:
    return name == "class_names" or name.rpartition("_")[2] in ("images", "labels", "ids", "groups")
