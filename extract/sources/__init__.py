"""Where pictures come from."""

from pathlib import Path

from extract.errors import UnknownName
from extract.sources.bundled import BUNDLED, BundledDigits, open_bundled
from extract.sources.example import DatasetSource, Example
from extract.sources.folder import FolderSource
from extract.sources.stat_index import StatIndex
from store.documents import digest

__all__ = ["SOURCE_SCHEMES", "BundledDigits", "DatasetSource", "Example", "FolderSource", "open_source"]

SOURCE_SCHEMES = ("bundled", "folder", "tfds")


def open_source(
    source: str, tfds_data_dir: Path | None = None, stat_cache: tuple[Path, int] | None = None
) -> DatasetSource:
    """Open a source by its name.

    Args:
        source: `bundled:digits`, `folder:PATH` or `tfds:NAME[/CONFIG][:VERSION]`.
        tfds_data_dir: where TFDS keeps its data; without it, TFDS's own default.
        stat_cache: a folder for what is known of unchanged files, and the time in nanoseconds since
            1970; without it, every file is read.

    Raises:
        UnknownName, SourceUnavailable, BadData: as the sources say.
    """
    scheme, _, rest = source.partition(":")
    if not rest or scheme not in SOURCE_SCHEMES:
        known = [f"bundled:{name}" for name in BUNDLED] + ["folder:PATH", "tfds:NAME"]
        raise UnknownName("dataset source", source, known)
    if scheme == "bundled":
        return open_bundled(rest)
    if scheme == "folder":
        path = Path(rest).expanduser()
        if stat_cache is None:
            return FolderSource(path)
        folder, now_ns = stat_cache
        return FolderSource(path, StatIndex(folder / f"{digest(str(path.absolute()))}.index", now_ns))
    from extract.sources.tfds import TfdsSource

    return TfdsSource(rest, tfds_data_dir)
