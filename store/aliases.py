"""What people call a set: (dataset, split, extractor) → set key, with its history.

aliases/<hash of the name>/<n>.json     the highest n is current
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from store.commit import list_folder, publish_new_file, sync_folder
from store.documents import digest, read_sealed, seal
from store.errors import DamagedStore

__all__ = ["Alias", "Aliases"]

_NAME = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(r"[1-9][0-9]*\.json")


@dataclass(frozen=True)
class Alias:
    """One naming of a set.

    Attributes:
        dataset: a name of the configuration, or the source as it was given.
        split: the base split.
        extractor: what the extractor is called.
        set_key: the set that answers to this name.
        created: UTC, ISO 8601 to the second.
    """

    dataset: str
    split: str
    extractor: str
    set_key: str
    created: str

    @property
    def name_digest(self) -> str:
        """The name's folder: names come from datasets and never become paths themselves."""
        return digest([self.dataset, self.split, self.extractor])


class Aliases:
    """The folder of aliases.

    Args:
        folder: `STORE/aliases`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, alias: Alias) -> None:
        """Make a name mean a set from now on; nothing is written if it does already."""
        folder = self.folder / alias.name_digest
        while True:
            numbers = self._numbers(alias.name_digest)
            if numbers and self._means(alias, numbers[-1]):
                sync_folder(folder)  # another writer's entry may not be durable yet
                return
            number = numbers[-1] + 1 if numbers else 1
            if publish_new_file(folder / f"{number}.json", seal(asdict(alias))):
                return

    def history(self, dataset: str, split: str, extractor: str) -> list[Alias]:
        """Return every set that a name has meant, the oldest first."""
        name = Alias(dataset, split, extractor, "", "").name_digest
        return [self._read(name, number) for number in self._numbers(name)]

    def newest(self, dataset: str, split: str, extractor: str) -> list[Alias]:
        """Return what a name means now, as a list of one; of none for a name never given."""
        name = Alias(dataset, split, extractor, "", "").name_digest
        return [self._read(name, number) for number in self._numbers(name)[-1:]]

    def current(self) -> Iterator[Alias]:
        """Yield what each name means now."""
        for name in filter(_NAME.fullmatch, list_folder(self.folder)):
            numbers = self._numbers(name)
            if numbers:
                yield self._read(name, numbers[-1])

    def _means(self, alias: Alias, number: int) -> bool:
        try:
            return self._read(alias.name_digest, number).set_key == alias.set_key
        except DamagedStore:
            return False  # the next number takes its place

    def _numbers(self, name: str) -> list[int]:
        return sorted(int(file[:-5]) for file in list_folder(self.folder / name) if _ENTRY.fullmatch(file))

    def _read(self, name: str, number: int) -> Alias:
        path = self.folder / name / f"{number}.json"
        alias = Alias(**read_sealed(path))
        if alias.name_digest != name:
            raise DamagedStore(f"{path}: an entry of the name {name} expected, one of {alias.name_digest} found.")
        return alias
