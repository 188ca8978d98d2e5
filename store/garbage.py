"""`gc`: what nothing needs any more leaves the store, and nothing else does.

A job may run beside it, on another machine too, and no lock is relied on. So what looks unneeded is
first set aside (renamed to `.gone-<name>`, its folder fsynced), then all references are read again,
and what is needed after all goes back. Whoever refers to a shard or a set publishes the reference
first and looks for what it refers to afterwards (`publish_set`, `name_set`). Of two that cross, one
sees the other: either the reference is found here, or the shard is missed there, and computed again.

A crash leaves `.gone-` names, about which the next `gc` decides in the same way. The referrer goes
first, durably: former namings before their set, sets before their shards, shards before their pool.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from store.canary import POOL_DOCUMENTS
from store.commit import DAMAGED_PREFIX, GONE_PREFIX, PUBLISHED, TEMP_PREFIX, list_folder, sync_folder
from store.references import References, set_references, shard_references
from store.shards import SHARD_NAME

__all__ = ["Garbage", "GarbageCollection", "GarbageRule", "collect_garbage"]


@dataclass(frozen=True)
class GarbageRule:
    """What may go.

    Attributes:
        grace_hours: how old temps, damaged leftovers, unreferenced shards and empty pools must be.
        keep_old_days: how long ago a set must have lost its last name, and have been made.
        follows_links: whether a folder of the store that is a link to another place is collected there.
    """

    grace_hours: float = 24.0
    keep_old_days: float = 30.0
    follows_links: bool = False


@dataclass(frozen=True)
class Garbage:
    """One thing that went, or would go.

    Attributes:
        kind: `temp`, `damaged`, `name`, `set`, `shard` or `pool`.
        path: relative to the store.
        bytes: what it took.
    """

    kind: str
    path: str
    bytes: int


@dataclass
class GarbageCollection:
    """What `collect_garbage` did, or would do.

    Attributes:
        removed: what went.
        restored: paths of what had been set aside and turned out to be needed.
        hindrances: why some of it had to stay: damaged files that may refer to it.
    """

    removed: list[Garbage] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    hindrances: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "bytes": sum(garbage.bytes for garbage in self.removed)}


def collect_garbage(
    root: Path, now: float, rule: GarbageRule = GarbageRule(), *, is_dry_run: bool = False
) -> GarbageCollection:
    """Remove what nothing needs.

    Args:
        root: the store.
        now: seconds since 1970.
        rule: what may go.
        is_dry_run: only say what would go.

    Raises:
        OSError: something could not be removed; what went until then is gone, and nothing is half there.
    """
    collector = _Collector(root, now, rule, is_dry_run=is_dry_run)
    collector.leftovers()
    links = [] if rule.follows_links else _folder_links(root)
    if links:
        collector.found.hindrances += [
            f"{link}: a link to {os.path.realpath(link)}, which may be others' too; nothing is removed through it. "
            "If it is this store's alone, say --follow-links."
            for link in links
        ]
    else:
        gone = collector.sets()
        collector.shards(gone)
        collector.pools(gone)
    found = collector.found
    found.hindrances = list(dict.fromkeys(found.hindrances))
    return found


def _folder_links(root: Path) -> list[Path]:
    """Return the folders of a store from which something might be removed and which are links."""
    pools = [root / "pools" / name for name in list_folder(root / "pools")]
    folders = [root / kind for kind in ("aliases", "answers", "nights", "pools", "runs", "sets")]
    folders += [folder for pool in pools for folder in (pool, pool / "shards")]
    return [folder for folder in folders if folder.is_symlink()]


class _Collector:
    def __init__(self, root: Path, now: float, rule: GarbageRule, *, is_dry_run: bool) -> None:
        self.found = GarbageCollection()
        self._root = root
        self._young = now - 3600 * rule.grace_hours
        self._recent = now - 86400 * rule.keep_old_days
        self._is_dry_run = is_dry_run

    def sets(self) -> set[str]:
        """Remove sets by the rule, and return their keys."""
        folder = self._root / "sets"
        references = set_references(self._root, self._recent)
        self.found.hindrances += references.unreadable
        published = [key for key in list_folder(folder) if PUBLISHED.fullmatch(key)]
        unneeded = [key for key in published if key not in references.kept and not references.unreadable]
        for entry in (entry for key in unneeded for entry in references.former.get(key, [])):
            self._remove("name", entry)
        self._set_aside([folder / key for key in unneeded])

        def is_needed(key: str, references: References) -> bool:
            return key in references.kept or bool(references.unreadable)

        again = references if self._is_dry_run else set_references(self._root, self._recent)
        return self._decide("set", [folder], lambda path, key: is_needed(key, again), unneeded=unneeded)

    def shards(self, gone_sets: set[str]) -> None:
        """Remove shards of which no set needs a row."""
        references = shard_references(self._root, gone_sets)
        folders = {pool: self._root / "pools" / pool / "shards" for pool in references}
        unneeded = []
        for pool, folder in folders.items():
            self.found.hindrances += references[pool].unreadable
            for name in filter(SHARD_NAME.fullmatch, list_folder(folder)):
                if not _is_needed(references[pool], name) and _newest(folder / name) < self._young:
                    unneeded.append(folder / name)
        self._set_aside(unneeded)
        again = references if self._is_dry_run else shard_references(self._root)

        def is_needed(path: Path, name: str) -> bool:
            return _is_needed(again.get(path.parent.parent.name, References()), name)

        self._decide("shard", list(folders.values()), is_needed, unneeded=[path.name for path in unneeded])

    def pools(self, gone_sets: set[str]) -> None:
        """Remove pools that hold no shard and that no set names."""
        folder = self._root / "pools"
        removed = {self._root / garbage.path for garbage in self.found.removed}
        references = shard_references(self._root, gone_sets)
        unneeded = []
        for key, refers in references.items():
            held = [path for path in _files(folder / key) if path.name not in POOL_DOCUMENTS and path not in removed]
            if not (held or refers.kept or refers.unreadable) and self._is_old_pool(folder / key):
                unneeded.append(key)
        self._set_aside([folder / key for key in unneeded])
        # A job that began to fill it in between left something there.
        self._decide("pool", [folder], lambda path, key: self._is_filled(path), unneeded=unneeded)

    def _is_old_pool(self, pool: Path) -> bool:
        document = pool / "pool.json"
        return (document if document.exists() else pool).stat().st_mtime < self._young

    def _is_filled(self, pool: Path) -> bool:
        return not self._is_dry_run and any(path.name not in POOL_DOCUMENTS for path in _files(pool))

    def leftovers(self) -> None:
        """Remove what killed writers left, and what was damaged and is replaced."""
        for path in _leftovers(self._root):
            kind = "temp" if path.name.startswith(TEMP_PREFIX) else "damaged"
            try:
                if _newest(path) < self._young:
                    self._remove(kind, path)
            except FileNotFoundError:
                continue  # its writer has finished

    def _set_aside(self, paths: list[Path]) -> None:
        if self._is_dry_run:
            return
        for path in paths:
            gone = path.with_name(GONE_PREFIX + path.name)
            # Left by a `gc` that crashed, and the same was made again since: no folder can be renamed onto it.
            _delete(gone)
            os.rename(path, gone)
        for folder in dict.fromkeys(path.parent for path in paths):
            sync_folder(folder)

    def _decide(
        self, kind: str, folders: list[Path], is_needed: Callable[[Path, str], bool], *, unneeded: list[str]
    ) -> set[str]:
        """Put back or delete what is set aside, by an earlier `gc` too; return the names of what went."""
        went = set()
        for folder in folders:
            gone = [name for name in list_folder(folder) if name.startswith(GONE_PREFIX)]
            if self._is_dry_run:
                gone += [name for name in unneeded if (folder / name).exists()]
            for path in (folder / name for name in gone):
                name = path.name.removeprefix(GONE_PREFIX)
                if is_needed(path, name):
                    self._put_back(path, folder / name)
                else:
                    self._remove(kind, path)
                    went.add(name)
        return went

    def _put_back(self, path: Path, place: Path) -> None:
        self.found.restored.append(place.relative_to(self._root).as_posix())
        if self._is_dry_run:
            return
        if place.exists():
            _delete(path)  # it was made again in the meantime
        else:
            os.rename(path, place)
        sync_folder(place.parent)

    def _remove(self, kind: str, path: Path) -> None:
        shown = path.with_name(path.name.removeprefix(GONE_PREFIX)).relative_to(self._root).as_posix()
        self.found.removed.append(Garbage(kind, shown, sum(file.lstat().st_size for file in _files(path))))
        if not self._is_dry_run:
            _delete(path)
            sync_folder(path.parent)


def _is_needed(references: References, shard: str) -> bool:
    return shard.removesuffix(".h5") in references.kept or bool(references.unreadable)


def _leftovers(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if name.startswith((TEMP_PREFIX, DAMAGED_PREFIX)):
                yield Path(folder, name)
        folders[:] = [name for name in folders if not name.startswith(".")]


def _files(path: Path) -> list[Path]:
    """Return the files at and below a path."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [found for found in path.rglob("*") if found.is_symlink() or not found.is_dir()]


def _newest(path: Path) -> float:
    return max(found.lstat().st_mtime for found in (path, *_files(path)))


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)
