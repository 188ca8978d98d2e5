"""Where images come from."""

from pathlib import Path

from extract.errors import UnknownName
from extract.sources.arrays import ArraysSource
from extract.sources.bundled import BUNDLED, BundledDigits, open_bundled
from extract.sources.example import DatasetSource, Example
from extract.sources.folder import FolderSource
from extract.sources.stat_index import StatIndex
from extract.sources.table import TableSource
from store.documents import digest

__all__ = [
    "SOURCE_SCHEMES",
    "ArraysSource",
    "BundledDigits",
    "DatasetSource",
    "Example",
    "FolderSource",
    "TableSource",
    "open_source",
]

SOURCE_SCHEMES = ("bundled", "folder", "npz", "table", "tfds")


def open_source(
    source: str, tfds_data_dir: Path | None = None, stat_cache: tuple[Path, int] | None = None
) -> DatasetSource:
    """Open a source by its name.

    Args:
        source: `bundled:digits`, `folder:PATH`, `npz:FILE`, `table:FILE` or `tfds:NAME[/CONFIG][:VERSION]`.
        tfds_data_dir: where TFDS keeps its data; without it, TFDS's own default.
        stat_cache: a folder for what is known of unchanged files, and the time in nanoseconds since
            1970; without it, every file is read.

    Raises:
        UnknownName, SourceUnavailable, BadData: as the sources say.
    """
    scheme, _, rest = source.partition(":")
    if not rest or scheme not in SOURCE_SCHEMES:
        known = [f"bundled:{name}" for name in BUNDLED] + ["folder:PATH", "npz:FILE", "table:FILE", "tfds:NAME"]
        raise UnknownName("dataset source", source, known)
    if scheme == "bundled":
        return open_bundled(rest)
    path = Path(rest).expanduser()
    if scheme == "npz":
        return ArraysSource(path)
    if scheme in ("folder", "table"):
        index = None
        if stat_cache is not None:
            folder, now_ns = stat_cache
            index = StatIndex(folder / f"{digest(str(path.absolute()))}.index", now_ns)
        return FolderSource(path, index) if scheme == "folder" else TableSource(path, index)
    from extract.sources.tfds import TfdsSource

    return TfdsSource(rest, tfds_data_dir)
