"""`bundled:stamps`: photographs of ten topics that Debian packages for Tux Paint: animals, flowers, fruit, tools, …

Not bundled in the narrow sense: 161 MB under the GPL-2 that `make stamps` brings, or the package itself if it is
installed (tuxpaint-stamps-default).
"""

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from extract.errors import SourceUnavailable, UnknownName
from extract.sources.example import Example
from extract.sources.image_files import open_image
from extract.sources.stat_index import StatIndex

__all__ = ["INSTALLED_STAMPS", "BundledStamps"]

# Where the package puts them.
INSTALLED_STAMPS = Path("/usr/share/tuxpaint/stamps")

# Class → its folder: the topics of at least 12 photographs; symbols, which are drawn, left out.
_TOPICS = {
    "birds": "animals/birds",
    "christmas": "seasonal/christmas",
    "clothes": "clothes",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "halloween": "seasonal/halloween",
    "mammals": "animals/mammals",
    "road signs": "town/roadsigns",
    "tools": "household/tools",
    "vegetables": "food/vegetables",
}
_TEST_SHARE = 0.4
# Folders of drawings.
_DRAWN = "cartoon"


class BundledStamps:
    """Some 250 photographs of ten topics on transparent ground.

    Pictures of one motif are one group: those of a folder below a topic (`mammals/cats`), else those whose names begin
    with the same word (`apple_red`, `apple_core`). Base splits `train` and `test` are fixed and stratified: of each
    topic two fifths are tested, motif by motif in the order of the SHA-256 of their names, so that what is tested has
    not been seen in another pose.

    Args:
        folder: where the stamps are unpacked; the package's own folder if they are not.
        index: what is known of files that have not changed.

    Raises:
        SourceUnavailable: they are in neither place.
    """

    name = "bundled:stamps"
    orientation = "exif"
    version = ""
    origin: Mapping[str, Any] = {}
    left_out: Sequence[str] = ()
    class_names = tuple(_TOPICS)
    splits = ("train", "test")

    def __init__(self, folder: Path | None, index: StatIndex | None = None) -> None:
        places = [place for place in (folder, INSTALLED_STAMPS) if place is not None]
        found = [place for place in places if (place / _TOPICS["birds"]).is_dir()]
        if not found:
            raise SourceUnavailable(
                f"bundled:stamps: {' or '.join(map(str, places))} expected, not found; 'make stamps' brings them, or "
                "install Debian's package tuxpaint-stamps-default."
            )
        self._folder, self._index = found[0], index
        self._files: dict[str, list[tuple[str, int]]] = {split: [] for split in self.splits}
        for label, topic in enumerate(_TOPICS.values()):
            names = [
                path.relative_to(self._folder).as_posix()
                for path in (self._folder / topic).rglob("*.png")
                if _DRAWN not in path.parts
            ]
            tested = _tested(names, topic)
            for name in names:
                self._files["test" if name in tested else "train"].append((name, label))
        for files in self._files.values():
            files.sort()

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the photographs in the order of their relative paths."""
        return (example for _, example in self.numbered_examples(split, lambda ordinal: True))

    def numbered_examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        """Yield the photographs whose place is wanted, each with its place; no other file is read."""
        self._require(split)
        return self._wanted(split, is_wanted)

    def _wanted(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        for at, (name, label) in enumerate(self._files[split]):
            if is_wanted(at):
                yield at, self._open(name, label)
        if self._index is not None:
            self._index.save()

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield the photographs of these ids."""
        self._require(split)
        return (self._open(name, label) for name, label in self._files[split] if name in example_ids)

    def count(self, split: str) -> int:
        """Return how many photographs there are."""
        self._require(split)
        return len(self._files[split])

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return nothing: other topics, drawings, sounds and texts are no candidates."""
        self._require(split)
        return {}

    def _open(self, name: str, label: int) -> Example:
        topic = _TOPICS[self.class_names[label]]
        return open_image(os.fspath(self._folder / name), name, label, index=self._index, group=_motif(name, topic))

    def _require(self, split: str) -> None:
        if split not in self.splits:
            raise UnknownName(f"base split of {self.name}", split, self.splits)


def _tested(names: Sequence[str], topic: str) -> set[str]:
    motifs: dict[str, list[str]] = {}
    for name in names:
        motifs.setdefault(_motif(name, topic), []).append(name)
    found: set[str] = set()
    for motif in sorted(motifs, key=lambda motif: hashlib.sha256(motif.encode()).digest()):
        if len(found) + len(motifs[motif]) <= round(len(names) * _TEST_SHARE):
            found.update(motifs[motif])
    return found


def _motif(name: str, topic: str) -> str:
    """Return what a photograph shows: the folder below its topic, else the first word of its name."""
    below, _, file = name.removeprefix(f"{topic}/").rpartition("/")
    return f"{topic}/{below or re.split('[^a-z]', file.lower(), maxsplit=1)[0]}"
