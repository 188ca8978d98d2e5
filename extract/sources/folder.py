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
    part_of,
)
from extract.sources.lookalikes import class_order, unified
from extract.sources.places import LocalPlace, Place
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
        place: the folder; a path is one of this machine.
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

    def __init__(self, place: Path | Place, index: StatIndex | None = None, reading: Reading = AS_IT_IS) -> None:
        self._place = LocalPlace(place) if isinstance(place, Path) else place
        # For messages.
        self.path = self._place.name
        self.name = full_name(f"folder:{self.path}")
        self._index = index
        self._reading = reading
        if not self._place.exists():
            raise SourceUnavailable(f"{self.path}: no such folder; expected PATH/CLASS/image.jpg.")
        self._roots = self._split_roots()
        self.splits = tuple(self._roots)
        walked = {split: self._walk(folder) for split, folder in self._roots.items()}
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
                yield Example(_readable(name), label, self._place.read(name), self._reading.group_of(name))

    def _examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        group_of = self._reading.group_of
        for ordinal, (name, label) in enumerate(self._files[split].images):
            if not is_wanted(ordinal):
                continue
            example_id = _readable(name)
            yield ordinal, self._place.open(name, example_id, label, index=self._index, group=group_of(example_id))
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

    def _split_roots(self) -> dict[str, str]:
        """Return base split → its folder, relative to the dataset's, which is empty where that is the only one."""
        folders = self._folders()
        others = [name for name in folders if name.lower() not in SPLIT_NAMES]
        if self._reading.layout != "classes" and folders and (not others or self._are_parts(folders)):
            return self._part_roots(folders)
        if self._reading.layout is None and not self._reading.is_lenient:
            self._refuse_half_split(folders, others)
            self._refuse_two_levels(folders)
        return {"all": ""}

    def _part_roots(self, folders: Sequence[str]) -> dict[str, str]:
        roots: dict[str, str] = {}
        for name in folders:
            split = part_of(name)
            if split is None:
                raise BadData(
                    f'{self.path}: layout = "parts" expects folders that are called train, validation and test, in a '
                    f"usual spelling; {name} found."
                )
            if split in roots:
                raise BadData(f"{self.path}: {roots[split]} and {name} both name the split {split!r}; keep one.")
            roots[split] = name
        return {split: roots[split] for split in ("train", "validation", "test") if split in roots}

    def _are_parts(self, folders: Sequence[str]) -> bool:
        """Tell whether folders are parts: somebody says so, or they are called so and hold folders alone."""
        if self._reading.layout == "parts":
            return True
        return all(map(part_of, folders)) and all(self._holds_folders_alone(name) for name in folders)

    def _refuse_half_split(self, folders: Sequence[str], others: Sequence[str]) -> None:
        """Refuse a folder that is split but for a misspelt name: its parts would silently become the classes."""
        if len(others) == len(folders) or not all(self._holds_folders_alone(name) for name in folders):
            return
        parts = ", ".join(name for name in folders if name not in others)
        raise BadData(
            f"{self.path}: {parts} by its name is a part of a dataset, {', '.join(others)} is none; call every part "
            f"one of {', '.join(SPLIT_NAMES)}, or move the classes up, to PATH/CLASS."
        )

    def _refuse_two_levels(self, folders: Sequence[str]) -> None:
        """Refuse folders that hold the same folders each, and nothing else: they may be parts, or classes."""
        if len(folders) < 2 or not all(self._holds_folders_alone(name) for name in folders):
            return
        inner = {frozenset(self._folders(name)) for name in folders}
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
        if not self._place.entries():
            return "it is empty"
        return "no image lies below its folders" if self._folders() else "it holds no folders"

    def _root(self, split: str) -> str:
        if split not in self._roots:
            raise UnknownName(f"base split of {self.name}", split, self.splits)
        return self._roots[split]

    def _folders(self, folder: str = "") -> list[str]:
        entries = self._place.entries(folder)
        return sorted(entry.name for entry in entries if entry.is_folder and _passed_over(entry.name) is None)

    def _holds_folders_alone(self, folder: str) -> bool:
        entries = [entry for entry in self._place.entries(folder) if _passed_over(entry.name) is None]
        return bool(entries) and all(entry.is_folder for entry in entries)

    def _walk(self, root: str) -> "_Walked":
        prefix = f"{root}/" if root else ""
        ignored = self._ignored_beside(root, prefix)
        classes: dict[str, list[str]] = {}
        for name in self._folders(root):
            self._place.require_not_above(f"{prefix}{name}")
            found = [f"{prefix}{name}/{image}" for image in self._candidates(f"{prefix}{name}", ignored)]
            if found:
                classes[name] = found
            else:
                ignored[f"{name}/ without an image"] += 1
        return _Walked(classes, ignored)

    def _candidates(self, root: str, ignored: "Counter[str]") -> Iterator[str]:
        """Yield the paths of the candidates below a class, relative to it; count what is none."""
        for below, folders, names in self._place.walk(root, _pass_over(ignored)):
            begin = f"{below}/" if below else ""
            for name in list(folders):
                path = f"{root}/{begin}{name}"
                kind = _passed_over(name)
                if kind is not None:
                    folders.remove(name)
                    ignored[kind if kind == _HIDDEN else f"{name}/"] += self._count_files(path)
                elif self._place.is_link(path):
                    # Not followed, for it may lead back here.
                    ignored["links to folders"] += 1
            for name in names:
                kind = _passed_over(name)
                if kind is None and self._place.looks_like_image(f"{root}/{begin}{name}"):
                    yield begin + name
                else:
                    ignored[kind or _kind_of(name)] += 1

    def _ignored_beside(self, root: str, prefix: str) -> "Counter[str]":
        """Count what lies beside the classes."""
        ignored: Counter[str] = Counter()
        for entry in self._place.entries(root):
            kind = _passed_over(entry.name)
            if not entry.is_folder:
                ignored[kind or _kind_of(entry.name)] += 1
            elif kind is not None:
                ignored[kind if kind == _HIDDEN else f"{entry.name}/"] += self._count_files(f"{prefix}{entry.name}")
        return +ignored

    def _count_files(self, folder: str) -> int:
        return sum(len(files) for _, _, files in self._place.walk(folder, lambda error: None))


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


def _passed_over(name: str) -> str | None:
    """Return as what a file or folder is counted that nobody looks at; None for one that somebody put there."""
    if is_left_by_a_machine(name):
        return "._*" if name.startswith("._") else name
    return _HIDDEN if name.startswith(".") else None


def _kind_of(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return _readable(suffix) or "without suffix"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_readable, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


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
