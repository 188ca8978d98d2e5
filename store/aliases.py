"""What people call a set: (dataset, split, extractor) → set key, with its history.

aliases/<hash of the name>/<n>.json     the highest n is current

An entry without a set key ends the name: what it meant before is history, and it means nothing now.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from store.commit import list_folder, publish_new_file
from store.documents import digest, read_sealed, seal
from store.errors import REPAIR, DamagedStore
from store.histories import append_entry, entry_numbers

__all__ = ["Alias", "Aliases"]

_NAME = re.compile(r"[0-9a-f]{64}")
_logger = logging.getLogger(__name__)
# FAT keeps times to two seconds.
_TICKS_NS = 4_000_000_000


@dataclass(frozen=True)
class Alias:
    """One naming of a set.

    Attributes:
        dataset: a name of the configuration, or the source as it was given.
        split: the base split.
        extractor: what the extractor is called.
        set_key: the set that answers to this name; empty where the name ends.
        created: UTC, ISO 8601 to the second.
        size: of the set, as `store.sizes.Size.document` gives it; None in entries of older stores, and of imports.
        accepted: the size that somebody agreed to last, or the largest since; None likewise, and where an end was
            agreed to.
    """

    dataset: str
    split: str
    extractor: str
    set_key: str
    created: str
    size: Mapping[str, Any] | None = None
    accepted: Mapping[str, Any] | None = None

    @property
    def name_digest(self) -> str:
        """The name's folder: names come from datasets and never become paths themselves."""
        return digest([self.dataset, self.split, self.extractor])

    @property
    def has_ended(self) -> bool:
        """Whether the name means nothing from this entry on."""
        return not self.set_key


@dataclass(frozen=True)
class _Index:
    """Whose the names are, so that a dataset's are found among thousands without looking at each.

    Attributes:
        listed: the names' digests.
        names: (dataset, extractor) → digests of its names.
        datasets: of all names.
        unknown: digests of which no entry tells whose they are.
    """

    listed: list[str] = field(default_factory=list)
    names: Mapping[tuple[str, str], list[str]] = field(default_factory=dict)
    datasets: frozenset[str] = frozenset()
    unknown: list[str] = field(default_factory=list)


class Aliases:
    """The folder of aliases.

    Args:
        folder: `STORE/aliases`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A folder is named by the digest of what it names: what was read of that once is true for ever.
        self._identities: dict[str, tuple[str, str, str]] = {}
        self._listed: tuple[int, list[str]] = (-1, [])
        self._index = _Index()

    def put(self, alias: Alias) -> None:
        """Make a name mean a set from now on; nothing is written if it does already."""
        append_entry(
            self.folder / alias.name_digest,
            lambda: seal(asdict(alias)),
            says_so=lambda number: self._means(alias, number),
        )

    def end(
        self, dataset: str, split: str, extractor: str, *, created: str, accepted: Mapping[str, Any] | None = None
    ) -> bool:
        """Let a name mean nothing from now on.

        Args:
            dataset, split, extractor: the name.
            created: UTC, ISO 8601 to the second.
            accepted: the size that it had, where nobody has agreed that it is gone.

        Returns:
            False if it means nothing already, or has been given a new meaning at this very moment:
            then that is newer than what our caller knew.
        """
        ended = Alias(dataset, split, extractor, "", created, accepted=accepted)
        numbers = self.numbers(ended.name_digest)
        if not numbers or self._means(ended, numbers[-1]):
            return False
        # Only the number after the one that was looked at, and no other: of two writers one wins.
        return publish_new_file(self.folder / ended.name_digest / f"{numbers[-1] + 1}.json", seal(asdict(ended)))

    def history(self, dataset: str, split: str, extractor: str) -> list[Alias]:
        """Return everything that a name has meant, the oldest first."""
        name = Alias(dataset, split, extractor, "", "").name_digest
        return [self.read(name, number) for number in self.numbers(name)]

    def newest(self, dataset: str, split: str, extractor: str) -> list[Alias]:
        """Return the newest entry of a name, as a list of one; of none for a name never given."""
        name = Alias(dataset, split, extractor, "", "").name_digest
        return self._last(name)

    def current(self) -> Iterator[Alias]:
        """Yield what each name means now, if anything; one whose newest entry is damaged is left out and logged."""
        for name in self._names():
            try:
                yield from (alias for alias in self._last(name) if not alias.has_ended)
            except DamagedStore as error:
                _logger.warning("%s The name is left out.", error)

    def datasets(self) -> frozenset[str]:
        """Return the datasets of all names, those that have ended too; a damaged entry is left out and logged."""
        index = self._indexed()
        for name in index.unknown:
            try:
                self._identity(name)
            except DamagedStore as error:
                _logger.warning("%s The name is left out.", error)
        return index.datasets

    def splits(self, dataset: str, extractor: str) -> list[str]:
        """Return the base splits under which a dataset has sets of an extractor, sorted.

        Raises:
            DamagedStore: an entry that may be one of them is damaged: a test split that is left out
                would change what is trained on.
        """
        found = []
        for name in self._names_of(dataset, extractor):
            found += [alias.split for alias in self._last(name) if not alias.has_ended]
        return sorted(found)

    def named(self, dataset: str, extractor: str) -> list[Alias]:
        """Return the newest sound entry of each base split that a dataset's name has not ended for, by split.

        Where the newest entry is damaged, an older one tells whose it is: whoever ends or renews
        that name puts a sound entry in its place.
        """
        found = []
        for name in self._names_of(dataset, extractor):
            try:
                found += [alias for alias in self._last(name) if not alias.has_ended]
            except DamagedStore:
                found += self._any(name)
        return sorted(found, key=lambda alias: alias.split)

    def _names_of(self, dataset: str, extractor: str) -> list[str]:
        """Return the names of a dataset for an extractor, without looking at those of others.

        Raises:
            DamagedStore: there is a name of which no entry tells whose it is, so it may be one of them.
        """
        index = self._indexed()
        for name in index.unknown:
            if self.numbers(name):
                self._identity(name)
        return index.names.get((dataset, extractor), [])

    def _indexed(self) -> "_Index":
        """Return whose each name is; made anew where there are other names, or one could not be read."""
        names = self._names()
        if names != self._index.listed or self._index.unknown:
            of: dict[tuple[str, str], list[str]] = {}
            unknown = []
            for name in names:
                try:
                    dataset, _, extractor = self._identity(name)
                except DamagedStore:
                    unknown.append(name)
                else:
                    of.setdefault((dataset, extractor), []).append(name)
            self._index = _Index(names, of, frozenset(dataset for dataset, _ in of), unknown)
        return self._index

    def _identity(self, name: str) -> tuple[str, str, str]:
        """Return dataset, split and extractor of a name, which any sound entry of it tells.

        Raises:
            DamagedStore: there is none.
        """
        if name not in self._identities:
            # Where none can be read, the newest says what is wrong.
            entries = self._any(name) or self._last(name)
            if not entries:
                raise DamagedStore(f"{self.folder / name}: an entry expected, none found; {REPAIR}.")
            self._identities[name] = (entries[0].dataset, entries[0].split, entries[0].extractor)
        return self._identities[name]

    def _names(self) -> list[str]:
        """Return the names' digests; the folder is listed again only where it may have changed."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            return list(filter(_NAME.fullmatch, list_folder(self.folder)))
        # Within two ticks of the coarsest clock a change may leave no trace in the folder's time.
        if self._listed[0] != changed or time.time_ns() - changed < _TICKS_NS:
            self._listed = changed, list(filter(_NAME.fullmatch, list_folder(self.folder)))
        return self._listed[1]

    def _last(self, name: str) -> list[Alias]:
        return [self.read(name, number) for number in self.numbers(name)[-1:]]

    def _any(self, name: str) -> list[Alias]:
        for number in self.numbers(name):
            try:
                return [self.read(name, number)]
            except DamagedStore:
                continue
        return []

    def _means(self, alias: Alias, number: int) -> bool:
        try:
            entry = self.read(alias.name_digest, number)
        except DamagedStore:
            return False  # the next number takes its place
        # Where an older entry says nothing of sizes, that of its set was accepted.
        is_accepted = entry.accepted == alias.accepted or (entry.accepted is None and alias.accepted == alias.size)
        return entry.set_key == alias.set_key and is_accepted

    def last_sound(self, dataset: str, split: str, extractor: str) -> Alias | None:
        """Return the newest entry of a name that can be read; None of a name never given."""
        name = Alias(dataset, split, extractor, "", "").name_digest
        for number in reversed(self.numbers(name)):
            try:
                return self.read(name, number)
            except DamagedStore:
                continue
        return None

    def extractors_of(self, dataset: str) -> list[str]:
        """Return the extractors by which a dataset has had names."""
        return sorted({extractor for named, extractor in self._indexed().names if named == dataset})

    def ended(self, dataset: str, extractor: str) -> list[Alias]:
        """Return the newest entry of each base split that a dataset's name has ended for, by split."""
        found = [alias for name in self._names_of(dataset, extractor) for alias in self._last(name) if alias.has_ended]
        return sorted(found, key=lambda alias: alias.split)

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of a name's entries, rising; the name as its digest."""
        return entry_numbers(self.folder / name)

    def read(self, name: str, number: int) -> Alias:
        """Return one entry of a name.

        Raises:
            DamagedStore: it is not what was written, or stands under another name.
        """
        path = self.folder / name / f"{number}.json"
        alias = Alias(**read_sealed(path))
        if alias.name_digest != name:
            raise DamagedStore(f"{path}: an entry of the name {name} expected, one of {alias.name_digest} found.")
        return alias
