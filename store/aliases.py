"""What people call a set: (dataset, split, extractor) → set key, with its history.

aliases/<hash of the name>/<n>.json     the highest n is current
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from store.commit import publish_new_file
from store.documents import digest, read_sealed, seal

__all__ = ["Alias", "Aliases"]


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
        while True:
            history = self._numbers(alias.name_digest)
            if history and self._read(alias.name_digest, history[-1]).set_key == alias.set_key:
                return
            number = history[-1] + 1 if history else 1
            if publish_new_file(self.folder / alias.name_digest / f"{number}.json", seal(asdict(alias))):
                return

    def history(self, dataset: str, split: str, extractor: str) -> list[Alias]:
        """Return every set that a name has meant, the oldest first."""
        name = Alias(dataset, split, extractor, "", "").name_digest
        return [self._read(name, number) for number in self._numbers(name)]

    def current(self) -> Iterator[Alias]:
        """Yield what each name means now."""
        for folder in sorted(self.folder.glob("*/")):
            numbers = self._numbers(folder.name)
            if numbers:
                yield self._read(folder.name, numbers[-1])

    def _numbers(self, name: str) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / name).glob("[0-9]*.json"))

    def _read(self, name: str, number: int) -> Alias:
        return Alias(**read_sealed(self.folder / name / f"{number}.json"))
