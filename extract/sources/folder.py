"""`folder:PATH`: images in class folders.

PATH/daisy/a.jpg          one base split, `all`
     roses/2019/b.jpg     recursive below a class

PATH/train/daisy/a.jpg    base splits `train`, `validation`, `test`, as far as they are there
     test/roses/b.jpg
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from extract.errors import BadData, SourceUnavailable, UnknownName
from extract.sources.example import Example
from extract.sources.image_files import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    is_left_by_a_machine,
    looks_like_image,
    open_image,
    part_of,
)
from extract.sources.lookalikes import class_order, unified
from extract.sources.reading import AS_IT_IS, Reading
from extract.sources.stat_index import StatIndex
from store.names import full_name

__all__ = ["IMAGE_SUFFIXES", "FolderSource"]

_SHOWN = 6
_HIDDEN = "hidden"


class FolderSource:
    """Class folders of images, read in the order of their sorted relative paths.

    A candidate is a visible file below a class that is a raster image by its suffix or its first bytes, readable here
    or not. All else is ignored, and counted by what it is: files of other kinds, hidden ones, what operating systems
    leave, links to folders below a class, folders without an image.

    Args:
        path: the folder.
        index: what is known of files that have not changed; without it, every file is read.
        reading: what the job says of it.

    Raises:
        SourceUnavailable: the folder is not there.
        BadData: it has no class folders with images, can be read in two ways, holds names that look alike, or a class
            is a link to a folder above.
    """

    version = ""
    orientation = "exif"
    origin: Mapping[str, Any] = {}
    left_out: Sequence[str] = ()

    def __init__(self, path: Path, index: StatIndex | None = None, reading: Reading = AS_IT_IS) -> None:
        self.path = path.absolute()
        self.name = full_name(f"folder:{self.path}")
        self._index = index
        self._reading = reading
        if not self.path.is_dir():
            raise SourceUnavailable(f"{self.path}: no such folder; expected PATH/CLASS/image.jpg.")
        self._roots = self._split_roots()
        self.splits = tuple(self._roots)
        walked = {split: self._walk(root) for split, root in self._roots.items()}
        images: Counter[str] = Counter()
        for part in walked.values():
            images.update({_readable(name): len(found) for name, found in part.classes.items()})
        spelt = unified(images, f"{self.path}: class folders", merge=reading.merge)
        names = set(spelt.values())
        self.class_names = tuple(sorted(names, key=class_order(names)))
        if not self.class_names:
            raise BadData(f"{self.path}: class folders expected (PATH/CLASS/image.jpg), but {self._what_is_there()}.")
        numbers = {name: label for label, name in enumerate(self.class_names)}
        self._files = {
            split: part.labelled(lambda name: numbers[spelt[_readable(name)]]) for split, part in walked.items()
        }

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
            if _readable(name) in example_ids:
                yield Example(_readable(name), label, (self.path / name).read_bytes(), self._reading.group_of(name))

    def _examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        # Paths as text: pathlib would take longer over a large folder than all the rest.
        folder = f"{self.path}{os.sep}"
        group_of = self._reading.group_of
        for ordinal, (name, label) in enumerate(self._files[split].images):
            if not is_wanted(ordinal):
                continue
            example_id = _readable(name)
            yield ordinal, open_image(folder + name, example_id, label, index=self._index, group=group_of(example_id))
        if self._index is not None:
            self._index.save()

    def count(self, split: str) -> int:
        """Return how many images a base split has."""
        self._root(split)
        return len(self._files[split].images)

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return what lies below a base split and is no candidate: kind → how many."""
        self._root(split)
        return self._files[split].ignored

    def _split_roots(self) -> dict[str, Path]:
        folders = _folders(self.path)
        others = [name for name in folders if name.lower() not in SPLIT_NAMES]
        if self._reading.layout != "classes" and folders and (not others or self._are_parts(folders)):
            return self._part_roots(folders)
        if self._reading.layout is None and not self._reading.is_lenient:
            self._refuse_half_split(folders, others)
            self._refuse_two_levels(folders)
        return {"all": self.path}

    def _part_roots(self, folders: Sequence[str]) -> dict[str, Path]:
        roots: dict[str, Path] = {}
        for name in folders:
            split = part_of(name)
            if split is None:
                raise BadData(
                    f'{self.path}: layout = "parts" expects folders that are called train, validation and test, in a '
                    f"usual spelling; {name} found."
                )
            if split in roots:
                raise BadData(f"{self.path}: {roots[split].name} and {name} both name the split {split!r}; keep one.")
            roots[split] = self.path / name
        return {split: roots[split] for split in ("train", "validation", "test") if split in roots}

    def _are_parts(self, folders: Sequence[str]) -> bool:
        """Tell whether folders are parts: somebody says so, or they are called so and hold folders alone."""
        if self._reading.layout == "parts":
            return True
        return all(map(part_of, folders)) and all(_holds_folders_alone(self.path / name) for name in folders)

    def _refuse_half_split(self, folders: Sequence[str], others: Sequence[str]) -> None:
        """Refuse a folder that is split but for a misspelt name: its parts would silently become the classes."""
        if len(others) == len(folders) or not all(_holds_folders_alone(self.path / name) for name in folders):
            return
        parts = ", ".join(name for name in folders if name not in others)
        raise BadData(
            f"{self.path}: {parts} by its name is a part of a dataset, {', '.join(others)} is none; call every part "
            f"one of {', '.join(SPLIT_NAMES)}, or move the classes up, to PATH/CLASS."
        )

    def _refuse_two_levels(self, folders: Sequence[str]) -> None:
        """Refuse folders that hold the same folders each, and nothing else: they may be parts, or classes."""
        if len(folders) < 2 or not all(_holds_folders_alone(self.path / name) for name in folders):
            return
        inner = {frozenset(_folders(self.path / name)) for name in folders}
        if len(inner) != 1:
            return
        below = sorted(next(iter(inner)))
        tree = "; ".join(f"{name}/{{{_listed(below)}}}" for name in folders[:_SHOWN])
        raise BadData(
            f"{self.path}: can be read in two ways, since each folder holds the same folders alone: {tree}. "
            f'Say layout = "classes" for this dataset in the job file if {_listed(folders)} are the classes; or call '
            "the folders train, validation and test if they are parts of a dataset."
        )

    def _what_is_there(self) -> str:
        if not any(self.path.iterdir()):
            return "it is empty"
        return "no image lies below its folders" if _folders(self.path) else "it holds no folders"

    def _root(self, split: str) -> Path:
        if split not in self._roots:
            raise UnknownName(f"base split of {self.name}", split, self.splits)
        return self._roots[split]

    def _walk(self, root: Path) -> "_Walked":
        prefix = "" if root == self.path else f"{root.name}/"
        ignored = _ignored_beside(root)
        classes: dict[str, list[str]] = {}
        for name in _folders(root):
            _require_not_above(root / name, self.path)
            found = [f"{prefix}{name}/{image}" for image in _candidates(root / name, ignored)]
            if found:
                classes[name] = found
            else:
                ignored[f"{name}/ without an image"] += 1
        return _Walked(classes, ignored)


class _Files(NamedTuple):
    """What a base split holds: relative paths with their labels, sorted, and what else lies there."""

    images: list[tuple[str, int]]
    ignored: Mapping[str, int]


class _Walked(NamedTuple):
    """What lies below the folder of a base split: class folder → relative paths of its images, and what else."""

    classes: Mapping[str, list[str]]
    ignored: Mapping[str, int]

    def labelled(self, label_of: Callable[[str], int]) -> _Files:
        """Return the images with labels, by the name of their class folder."""
        return _Files(
            sorted((path, label_of(name)) for name, found in self.classes.items() for path in found), self.ignored
        )


def _candidates(root: Path, ignored: "Counter[str]") -> Iterator[str]:
    """Yield the paths of the candidates below a class, relative to it; count what is none."""
    for folder, folders, names in os.walk(root, onerror=_pass_over(ignored)):
        below = folder[len(str(root)) + 1 :]
        begin = f"{below}/" if below else ""
        for name in list(folders):
            kind = _passed_over(name)
            if kind is not None:
                folders.remove(name)
                ignored[kind if kind == _HIDDEN else f"{name}/"] += _count_files(os.path.join(folder, name))
            elif os.path.islink(os.path.join(folder, name)):
                # Not followed, for it may lead back here.
                ignored["links to folders"] += 1
        for name in names:
            kind = _passed_over(name)
            if kind is None and looks_like_image(os.path.join(folder, name), name):
                yield begin + name
            else:
                ignored[kind or _kind_of(name)] += 1


def _ignored_beside(root: Path) -> "Counter[str]":
    """Count what lies beside the classes."""
    ignored: Counter[str] = Counter()
    for entry in root.iterdir():
        kind = _passed_over(entry.name)
        if not entry.is_dir():
            ignored[kind or _kind_of(entry.name)] += 1
        elif kind is not None:
            ignored[kind if kind == _HIDDEN else f"{entry.name}/"] += _count_files(entry)
    return +ignored


def _passed_over(name: str) -> str | None:
    """Return as what a file or folder is counted that nobody looks at; None for one that somebody put there."""
    if is_left_by_a_machine(name):
        return "._*" if name.startswith("._") else name
    return _HIDDEN if name.startswith(".") else None


def _count_files(folder: "str | Path") -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _kind_of(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return _readable(suffix) or "without suffix"


def _holds_folders_alone(root: Path) -> bool:
    entries = [entry for entry in root.iterdir() if _passed_over(entry.name) is None]
    return bool(entries) and all(entry.is_dir() for entry in entries)


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and _passed_over(entry.name) is None)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_readable, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _require_not_above(folder: Path, root: Path) -> None:
    """Refuse a class that is a link to the dataset's folder or to one above: it holds itself."""
    if folder.is_symlink():
        target, whole = folder.resolve(), root.resolve()
        if target == whole or target in whole.parents:
            raise BadData(f"{folder}: a class that is a link to {target}, which holds the dataset itself; remove it.")


def _readable(name: str) -> str:
    """Return a name as a text that can be stored: bytes that are not UTF-8 as \\xNN."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode(errors="backslashreplace")
    return name


def _pass_over(ignored: "Counter[str]") -> Callable[[OSError], None]:
    def handle(error: OSError) -> None:
        # Other errors are the disk's, and say nothing of the folder.
        if error.errno != errno.ENAMETOOLONG:
            raise error
        ignored["paths too long"] += 1

    return handle
