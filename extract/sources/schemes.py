"""The kinds of sources, each declared once: parsing, help, hints and names follow from this table.

A new source is a module beside this one with a class that is a `DatasetSource`, and an entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extract.errors import UnknownName
from extract.sources.reading import AS_IT_IS, Reading
from extract.sources.suffixes import ARRAY_SUFFIXES, TABLE_SUFFIXES

if TYPE_CHECKING:
    from extract.sources.example import DatasetSource
    from extract.sources.stat_index import StatIndex

__all__ = ["NO_CACHES", "SCHEMES", "Scheme", "SourceCaches", "guess_scheme", "has_path", "open_source", "source_forms"]


@dataclass(frozen=True, kw_only=True)
class SourceCaches:
    """Where sources find what was kept of them.

    Attributes:
        tfds_data_dir: where TFDS keeps its data; without it, TFDS's own default.
        stamps: where the photographs of `bundled:stamps` are unpacked.
        stat_cache: a folder for what is known of unchanged files, and the time in nanoseconds since 1970; without it,
            every file is read.
    """

    tfds_data_dir: Path | None = None
    stamps: Path | None = None
    stat_cache: tuple[Path, int] | None = None

    def index_of(self, path: Path | str) -> "StatIndex | None":
        """Return what is known of the files that a source on this path names."""
        if self.stat_cache is None:
            return None
        from extract.sources.stat_index import StatIndex
        from store.documents import digest
        from store.names import is_url

        folder, now_ns = self.stat_cache
        name = str(path) if is_url(str(path)) else str(Path(path).absolute())
        return StatIndex(folder / f"{digest(name)}.index", now_ns)


NO_CACHES = SourceCaches()


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One kind of source, `SCHEME:REST`.

    Attributes:
        open: of REST, the caches and what a job says of it, the source; imports what it needs.
        takes: what REST is, for help and messages; choices where only these are there.
        names_path: whether REST is a path, which is made absolute before it names a dataset.
        suffixes: of files that are most likely meant where somebody leaves the scheme out.
        is_folder: whether a folder is.
    """

    open: Callable[[str, SourceCaches, Reading], "DatasetSource"]
    takes: str
    names_path: bool = False
    suffixes: tuple[str, ...] = ()
    is_folder: bool = False


def _open_bundled(rest: str, caches: SourceCaches, reading: Reading) -> "DatasetSource":
    from extract.sources.bundled import open_bundled

    return open_bundled(rest, caches.stamps, caches.index_of(caches.stamps) if caches.stamps else None)


def _open_folder(rest: str, caches: SourceCaches, reading: Reading) -> "DatasetSource":
    from extract.sources.folder import FolderSource
    from extract.sources.places import place_of

    place = place_of(rest)
    return FolderSource(place, caches.index_of(place.name), reading)


def _open_npz(rest: str, caches: SourceCaches, reading: Reading) -> "DatasetSource":
    from extract.sources.arrays import ArraysSource

    return ArraysSource(Path(rest).expanduser(), reading)


def _open_table(rest: str, caches: SourceCaches, reading: Reading) -> "DatasetSource":
    from extract.sources.table import TableSource
    from store.names import is_url

    path = rest if is_url(rest) else Path(rest).expanduser()
    return TableSource(path, caches.index_of(path), reading)


def _open_tfds(rest: str, caches: SourceCaches, reading: Reading) -> "DatasetSource":
    from extract.sources.tfds import TfdsSource

    return TfdsSource(rest, caches.tfds_data_dir)


def _open_hugging_face(rest: str, caches: SourceCaches, reading: Reading) -> "DatasetSource":
    from extract.sources.hugging_face import HuggingFaceSource

    return HuggingFaceSource(rest, reading)


SCHEMES = {
    "folder": Scheme(open=_open_folder, takes="PATH", names_path=True, is_folder=True),
    "table": Scheme(
        open=_open_table,
        takes="FILE",
        names_path=True,
        suffixes=TABLE_SUFFIXES,
    ),
    "npz": Scheme(
        open=_open_npz,
        takes="FILE",
        names_path=True,
        suffixes=ARRAY_SUFFIXES,
    ),
    "tfds": Scheme(open=_open_tfds, takes="NAME[/CONFIG][:VERSION]"),
    "hf": Scheme(open=_open_hugging_face, takes="NAME[/CONFIG][@REVISION]"),
    "bundled": Scheme(open=_open_bundled, takes="digits|stamps"),
}


def open_source(source: str, caches: SourceCaches = NO_CACHES, *, reading: Reading = AS_IT_IS) -> "DatasetSource":
    """Open a source by its name.

    Args:
        source: `SCHEME:REST`, of a scheme in `SCHEMES`, such as `folder:flowers`.
        caches: where sources find what was kept of them.
        reading: what the job says of it.

    Raises:
        UnknownName, SourceUnavailable, BadData: as the sources say.
    """
    name, _, rest = source.partition(":")
    if not rest or name not in SCHEMES:
        raise UnknownName("dataset source", source, source_forms())
    return SCHEMES[name].open(rest, caches, reading)


def source_forms() -> list[str]:
    """Return what a source looks like, of each scheme: `folder:PATH`, …, without parts that may be left out."""
    return [f"{name}:{one}" for name, scheme in SCHEMES.items() for one in scheme.takes.partition("[")[0].split("|")]


def has_path(source: str) -> bool:
    """Tell whether a source names a path."""
    name, _, rest = source.partition(":")
    return bool(rest) and name in SCHEMES and SCHEMES[name].names_path


def guess_scheme(path: Path) -> str | None:
    """Return the scheme that is most likely meant by a path without one; None where nothing lies there."""
    if path.is_dir():
        return next(name for name, scheme in SCHEMES.items() if scheme.is_folder)
    suffix = path.suffix.lower()
    known = (name for name, scheme in SCHEMES.items() if suffix in scheme.suffixes)
    return next(known, None) if path.is_file() else None
