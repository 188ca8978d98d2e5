"""`folder:PATH`: images in class folders.

PATH/daisy/a.jpg          one base split, `all`
     roses/2019/b.jpg     recursive below a class

PATH/train/daisy/a.jpg    base splits `train`, `validation`, `test`, as far as they are there
     test/roses/b.jpg
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from extract.errors import BadData, SourceUnavailable, UnknownName
from extract.sources.example import Example
from extract.sources.image_files import SPLIT_NAMES, open_image
from extract.sources.stat_index import StatIndex
from store.names import full_name

__all__ = ["IMAGE_SUFFIXES", "FolderSource"]

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip


class FolderSource:
    """Class folders of images, read in the order of their sorted relative paths.

    Hidden files, files in hidden folders, files without an image's suffix and, below a class, links
    to folders are ignored, and counted.

    Args:
        path: the folder.
        index: what is known of files that have not changed; without it, every file is read.

    Raises:
        SourceUnavailable: the folder is not there.
        BadData: it has no class folders, a class has no image, or a name is not UTF-8.
    """

    version = ""
    orientation = "exif"
    origin: Mapping[str, Any] = {}

    def __init__(self, path: Path, index: StatIndex | None = None) -> None:
        self.path = path.absolute()
        self.name = full_name(f"folder:{self.path}")
        self._index = index
        if not self.path.is_dir():
            raise SourceUnavailable(f"{self.path}: no such folder; expected PATH/CLASS/image.jpg.")
        self._roots = self._split_roots()
        self.splits = tuple(self._roots)
        self.class_names = tuple(sorted({name for root in self._roots.values() for name in _folders(root)}))
        self._labels = {name: label for label, name in enumerate(self.class_names)}
        if not self.class_names:
            found = "it is empty" if not any(self.path.iterdir()) else "it holds no folders"
            raise BadData(f"{self.path}: class folders expected (PATH/CLASS/image.jpg), but {found}.")

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the images of a base split, in the order of their relative paths."""
        return (example for _, example in self.numbered_examples(split, lambda ordinal: True))

    def numbered_examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        """Yield the images whose place is wanted, each with its place; no other file is read."""
        self._root(split)
        return self._examples(split, is_wanted)

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the images of these ids; no other file is read, and none outside the folder."""
        self._root(split)
        for name, label in self._files[split].images:
            if name in example_ids:
                yield Example(name, label, (self.path / name).read_bytes())

    def _examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        # Paths as text: pathlib would take longer over a large folder than all the rest.
        folder = f"{self.path}{os.sep}"
        for ordinal, (name, label) in enumerate(self._files[split].images):
            if not is_wanted(ordinal):
                continue
            yield ordinal, open_image(folder + name, name, label, index=self._index)
        if self._index is not None:
            self._index.save()

    def count(self, split: str) -> int:
        """Return how many images a base split has."""
        self._root(split)
        return len(self._files[split].images)

    def ignored(self, split: str) -> int:
        """Return how many files below a base split are no images by their name."""
        self._root(split)
        return self._files[split].ignored

    def _split_roots(self) -> dict[str, Path]:
        folders = _folders(self.path)
        others = [name for name in folders if name.lower() not in SPLIT_NAMES]
        if others or not folders:
            self._refuse_half_split(folders, others)
            return {"all": self.path}
        roots: dict[str, Path] = {}
        for name in folders:
            split = SPLIT_NAMES[name.lower()]
            if split in roots:
                raise BadData(f"{self.path}: {roots[split].name} and {name} both name the split {split!r}; keep one.")
            roots[split] = self.path / name
        return {split: roots[split] for split in ("train", "validation", "test") if split in roots}

    def _refuse_half_split(self, folders: Sequence[str], others: Sequence[str]) -> None:
        """Refuse a folder that is split but for a misspelt name: its parts would silently become the classes.

        A class may be called `train`; but then there are images in it, and not classes alone.
        """
        if len(others) == len(folders) or not all(_holds_folders_alone(self.path / name) for name in folders):
            return
        parts = ", ".join(name for name in folders if name not in others)
        raise BadData(
            f"{self.path}: {parts} by its name is a part of a dataset, {', '.join(others)} is none; call every part "
            f"one of {', '.join(SPLIT_NAMES)}, or move the classes up, to PATH/CLASS."
        )

    def _root(self, split: str) -> Path:
        if split not in self._roots:
            raise UnknownName(f"base split of {self.name}", split, self.splits)
        return self._roots[split]

    @cached_property
    def _files(self) -> dict[str, "_Files"]:
        return {split: self._walk(root) for split, root in self._roots.items()}

    def _walk(self, root: Path) -> "_Files":
        prefix = "" if root == self.path else f"{root.name}/"
        images: list[tuple[str, int]] = []
        ignored = sum(1 for entry in root.iterdir() if not entry.is_dir())
        for class_name in _folders(root):
            found, others = _images_below(root / class_name)
            ignored += others
            if not found:
                raise BadData(
                    f"{root / class_name}: a class with no image; add some ({', '.join(IMAGE_SUFFIXES)}) "
                    "or remove the folder."
                )
            label = self._labels[class_name]
            images += [(f"{prefix}{class_name}/{name}", label) for name in found]
        return _Files(sorted(images), ignored)


class _Files(NamedTuple):
    """What a base split holds: relative paths with their labels, sorted, and how many files are none of them."""

    images: list[tuple[str, int]]
    ignored: int


def _images_below(root: Path) -> tuple[list[str], int]:
    """Return the paths of the images below a class, relative to it, and how many other files there are."""
    images: list[str] = []
    ignored = 0
    for folder, folders, names in os.walk(root, onerror=_raise):
        # A link to a folder is not followed, for it may lead back here.
        ignored += sum(1 for name in folders if os.path.islink(os.path.join(folder, name)))
        below = folder[len(str(root)) + 1 :]
        if any(part.startswith(".") for part in below.split(os.sep)):
            ignored += len(names)
            continue
        begin = f"{below}/" if below else ""
        found = [name for name in names if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)]
        ignored += len(names) - len(found)
        images += [begin + name for name in found]
    _require_utf8(root, images)
    return images, ignored


def _holds_folders_alone(root: Path) -> bool:
    entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
    return bool(entries) and all(entry.is_dir() for entry in entries)


def _folders(root: Path) -> list[str]:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    _require_utf8(root, names)
    return names


def _require_utf8(root: Path, names: Sequence[str]) -> None:
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadData(f"{os.fsencode(root / name)!r}: the name is not UTF-8; rename it.") from error


def _raise(error: OSError) -> None:
    raise error
