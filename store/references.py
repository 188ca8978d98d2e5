"""Who refers to what: names and runs to sets, sets to shards. What nothing refers to may go."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from store.aliases import Aliases
from store.commit import PUBLISHED, list_folder
from store.errors import DamagedStore
from store.moments import parse_moment
from store.results import RunFolder
from store.sets import FeatureSet

__all__ = ["References", "SetReferences", "set_references", "shard_references"]


@dataclass
class References:
    """What is referred to, as far as it can be read.

    Attributes:
        kept: names of what must stay.
        unreadable: why that list may lack something; then nothing of the kind may go.
    """

    kept: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)


@dataclass
class SetReferences(References):
    """Which sets must stay, and which former namings are older than the period.

    Attributes:
        former: set key → the alias entries by which names meant it once, and no more.
    """

    former: dict[str, list[Path]] = field(default_factory=dict)


def set_references(root: Path, since: float) -> SetReferences:
    """Return which sets must stay.

    Those that a name means now or meant at any time since a moment, those that a run used, and
    those that were made since (they may get their name yet).

    Args:
        root: the store.
        since: seconds since 1970.
    """
    found = SetReferences()
    _follow_names(root, since, found)
    for run_id in _published(root / "runs"):
        try:
            found.kept.update(RunFolder(root / "runs" / run_id).sets())
        except DamagedStore as error:
            found.unreadable.append(str(error))
    for key in _published(root / "sets"):
        if key not in found.kept and _made(root / "sets" / key) >= since:
            found.kept.add(key)
    return found


def _made(folder: Path) -> float:
    """Return when a set was made, the later of what it says and what the disk says."""
    try:
        created = _seconds(FeatureSet(folder).provenance.created)
        return max(created, (folder / "manifest.json").stat().st_mtime)
    except DamagedStore:
        return float("inf")  # nobody can tell, and it may be all there is: it stays until it is fixed


def _follow_names(root: Path, since: float, found: SetReferences) -> None:
    aliases = Aliases(root / "aliases")
    for name in _published(aliases.folder):
        numbers = aliases.numbers(name)
        until = float("inf")  # when the next entry took the name over
        for number in reversed(numbers):
            try:
                alias = aliases.read(name, number)
            except DamagedStore as error:
                found.unreadable.append(str(error))
                continue
            if alias.has_ended:
                pass  # it means no set, and is when the one before it lost the name
            elif until >= since:
                found.kept.add(alias.set_key)
            else:
                found.former.setdefault(alias.set_key, []).append(aliases.folder / name / f"{number}.json")
            until = _seconds(alias.created)


def shard_references(root: Path, without: Collection[str] = ()) -> dict[str, References]:
    """Return for each pool which shards its sets refer to.

    A set whose manifest cannot be read keeps every shard of every pool.

    Args:
        root: the store.
        without: keys of sets that do not count.
    """
    found: dict[str, References] = {pool: References() for pool in _published(root / "pools")}
    for key in (key for key in _published(root / "sets") if key not in without):
        try:
            manifest = FeatureSet(root / "sets" / key).manifest
        except DamagedStore as error:
            for references in found.values():
                references.unreadable.append(str(error))
            continue
        if manifest["pool"] in found:
            found[manifest["pool"]].kept.update(shard for shard, _, _ in manifest["segments"])
    return found


def _published(folder: Path) -> Iterator[str]:
    return filter(PUBLISHED.fullmatch, list_folder(folder))


def _seconds(moment: str) -> float:
    return parse_moment(moment).timestamp()
