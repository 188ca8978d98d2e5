"""Where the files of a folder or a table lie: on this machine's disk, or behind a URL that fsspec opens.

A source asks for names and for files, never how they are had. Paths are relative to the dataset's folder, with `/`.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from extract.errors import BadData, SourceUnavailable
from extract.sources.example import Example, Known, UnreadFile
from extract.sources.image_files import looks_like_image, names_image, open_image
from extract.sources.stat_index import Stamp, StatIndex
from store.names import is_url

__all__ = ["Entry", "LocalPlace", "Place", "UrlPlace", "place_of"]


_Answer = TypeVar("_Answer")


class Entry(NamedTuple):
    """A name in a folder."""

    name: str
    is_folder: bool


class Place(Protocol):
    """A folder, wherever it is."""

    @property
    def name(self) -> str:
        """Its path or URL, for names and messages."""

    def exists(self) -> bool:
        """Return whether there is such a folder."""

    def entries(self, folder: str = "") -> list[Entry]:
        """Return what lies in a folder below, or in itself."""

    def walk(self, folder: str, pass_over: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield each folder below one, relative to it, with its folders and files; those removed are not entered."""

    def is_link(self, path: str) -> bool:
        """Return whether a path is a symbolic link."""

    def require_not_above(self, folder: str) -> None:
        """Refuse a class that is a link to this folder or to one above."""

    def looks_like_image(self, path: str) -> bool:
        """Return whether a file is a raster image by its suffix, or its first bytes."""

    def open(self, path: str, example_id: str, label: int, *, index: StatIndex | None, group: str) -> Example:
        """Return a file as an example; one that is not there becomes a candidate that is none."""

    def read(self, path: str) -> bytes:
        """Read a file."""

    def has(self, path: str) -> bool:
        """Return whether there is a file."""


class LocalPlace:
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._prefix = f"{self.path}{os.sep}"

    @property
    def name(self) -> str:
        """Its absolute path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return whether it is a folder."""
        return self.path.is_dir()

    def entries(self, folder: str = "") -> list[Entry]:
        """Return what lies in a folder."""
        return [Entry(entry.name, entry.is_dir()) for entry in (self.path / folder).iterdir()]

    def walk(self, folder: str, pass_over: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
        """Walk below a folder; links to folders are not followed."""
        root = str(self.path / folder)
        for path, folders, names in os.walk(root, onerror=pass_over):
            yield path[len(root) + 1 :], folders, names

    def is_link(self, path: str) -> bool:
        """Return whether a path is a symbolic link."""
        return os.path.islink(self._prefix + path)

    def require_not_above(self, folder: str) -> None:
        """Refuse a class that is a link to this folder or to one above: it holds itself."""
        path = self.path / folder
        if path.is_symlink():
            target, whole = path.resolve(), self.path.resolve()
            if target == whole or target in whole.parents:
                raise BadData(f"{path}: a class that is a link to {target}, which holds the dataset itself; remove it.")

    def looks_like_image(self, path: str) -> bool:
        """Look at the suffix, else at the first bytes."""
        return looks_like_image(self._prefix + path, os.path.basename(path))

    def open(self, path: str, example_id: str, label: int, *, index: StatIndex | None, group: str) -> Example:
        """Open a file; see `open_image`."""
        # Paths as text: pathlib would take longer over a large folder than all the rest.
        return open_image(os.path.join(self._prefix, path), example_id, label, index=index, group=group)

    def read(self, path: str) -> bytes:
        """Read a file."""
        return (self.path / path).read_bytes()

    def has(self, path: str) -> bool:
        """Return whether there is a file or folder."""
        return (self.path / path).exists()


class UrlPlace:
    """A folder behind a URL, such as `s3://bucket/flowers`: listed once, its files read with retries.

    What makes a file another one is its ETag, version or checksum: an object that has kept what its server tells of
    these, and its size, is not read again. Credentials are those of the environment, as fsspec's packages
    take them; a URL that holds some is refused, for it would be stored and printed.

    Args:
        url: of the folder.

    Raises:
        SourceUnavailable: no package here opens such URLs, or the URL holds credentials.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        _require_no_credentials(self._url)
        self._files, self._root = _opened(self._url)
        self._listed: dict[str, dict[str, Any]] | None = None
        self._folders: dict[str, list[Entry]] | None = None

    @property
    def name(self) -> str:
        """The URL."""
        return self._url

    def exists(self) -> bool:
        """Return whether anything lies there."""
        return bool(self._listing())

    def entries(self, folder: str = "") -> list[Entry]:
        """Return what lies in a folder, as the listing has it."""
        return self._tree().get(folder, [])

    def walk(self, folder: str, pass_over: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
        """Walk the listing."""
        waiting = [folder]
        while waiting:
            path = waiting.pop()
            found = self.entries(path)
            folders, names = ([entry.name for entry in found if entry.is_folder is kind] for kind in (True, False))
            yield path[len(folder) :].removeprefix("/"), folders, names
            waiting += [f"{path}/{name}" if path else name for name in folders]

    def is_link(self, path: str) -> bool:
        """Return False: there are none."""
        return False

    def require_not_above(self, folder: str) -> None:
        """Do nothing: there are no links."""

    def looks_like_image(self, path: str) -> bool:
        """Look at the suffix alone: each first byte would be a request."""
        return names_image(path.rpartition("/")[2])

    def open(self, path: str, example_id: str, label: int, *, index: StatIndex | None, group: str) -> Example:
        """Read a file, unless it is known and unchanged; one that is not there becomes a candidate that is none.

        Raises:
            SourceUnavailable: the server does not answer, or breaks off, however often it is asked.
        """
        facts = self._facts(path)
        stamp = _stamp(facts) if facts is not None else None
        known = index.find_stamped(example_id, stamp) if index is not None and stamp is not None else None
        if known is not None:
            return Example(example_id, label, _UnreadObject(path, known, self), group)
        try:
            data = self._read(path, facts)
        except (FileNotFoundError, PermissionError) as error:
            reason = f"cannot be read: {os.strerror(error.errno or _errno_of(error))}"
            return Example(example_id, label, UnreadFile(path, Known.unreadable(example_id, reason)), group)
        if index is not None and stamp is not None:
            index.learn_stamped(example_id, stamp, Known.of_file(data))
        return Example(example_id, label, data, group)

    def read(self, path: str) -> bytes:
        """Read a file; one that ends early is read again.

        Raises:
            FileNotFoundError, PermissionError: it is not there, or may not be read.
            SourceUnavailable: the server does not answer, or breaks off, however often it is asked.
        """
        return self._read(path, self._facts(path))

    def _read(self, path: str, facts: dict[str, Any] | None) -> bytes:
        size = facts.get("size") if facts is not None else None
        where = self._within(path)

        def whole() -> bytes:
            data: bytes = self._files.cat_file(where)
            if size is not None and len(data) != size:
                raise OSError(f"{len(data):,} of {size:,} bytes came")
            return data

        return _retried(f"{self._url}/{path}: cannot be read", whole)

    def has(self, path: str) -> bool:
        """Return whether there is a file, by the listing, or by asking for one elsewhere."""
        return self._facts(path) is not None

    def _within(self, path: str) -> str:
        if is_url(path):
            _require_no_credentials(path)
            return str(self._files._strip_protocol(path))
        return f"{self._root}/{path}"

    def _facts(self, path: str) -> dict[str, Any] | None:
        """Return what the server says of a file: of a folder by its listing, else with a request."""
        if self._listed is not None and path in self._listed:
            return self._listed[path]
        try:
            facts: dict[str, Any] = self._files.info(self._within(path))
        except Exception:  # noqa: BLE001 - reading it tells what is wrong
            return None
        return facts

    def _tree(self) -> dict[str, list[Entry]]:
        """Return folder → what lies in it."""
        if self._folders is None:
            found: dict[str, dict[str, bool]] = {"": {}}
            for path in self._listing():
                folder, at = "", 0
                while True:
                    end = path.find("/", at)
                    found.setdefault(folder, {})[path[at : end if end >= 0 else None]] = end >= 0
                    if end < 0:
                        break
                    folder, at = path[:end], end + 1
            self._folders = {
                folder: [Entry(name, is_folder) for name, is_folder in names.items()] for folder, names in found.items()
            }
        return self._folders

    def _listing(self) -> dict[str, dict[str, Any]]:
        if self._listed is None:
            try:
                found = _retried(f"{self._url}: cannot be listed", self._find)
            except FileNotFoundError:
                found = {}
            except PermissionError as error:
                raise SourceUnavailable(f"{self._url}: may not be listed ({_told(error)}).") from error
            begin = f"{self._root}/"
            # Folders of an object store are objects of their own sometimes, which end with a slash and hold nothing.
            self._listed = {
                path[len(begin) :]: facts
                for path, facts in sorted(found.items())
                if path.startswith(begin) and facts.get("type") != "directory" and not path.endswith("/")
            }
        return self._listed

    def _find(self) -> dict[str, dict[str, Any]]:
        self._files.invalidate_cache()
        found: dict[str, dict[str, Any]] = self._files.find(self._root, detail=True)
        return found


_TRIES = 5
# By which servers tell one state of a file from another. Times alone do not: two writes may fall into one second.
_MARKS = ("ETag", "etag", "VersionId", "version_id", "md5Hash", "md5", "crc32c")


@dataclass(frozen=True)
class _UnreadObject(UnreadFile):
    """An object whose bytes are known from an earlier look."""

    place: UrlPlace
    _kept: ClassVar[str] = "size and ETag have not; run again"

    def _bytes(self) -> bytes:
        return self.place.read(str(self.path))


def _retried(what: str, ask: Callable[[], _Answer]) -> _Answer:
    """Ask a server, several times if need be.

    Raises:
        FileNotFoundError, PermissionError: it says that there is none, or that nobody may.
        SourceUnavailable: it does not answer, or breaks off, however often it is asked.
    """
    error: Exception | None = None
    for _ in range(_TRIES):
        try:
            return ask()
        except (FileNotFoundError, PermissionError):
            raise
        # Whatever a package makes of a broken connection: its own errors, asyncio's, HTTP's.
        except Exception as broken:  # noqa: BLE001
            error = broken
    raise SourceUnavailable(f"{what}, {_TRIES} times ({_told(error)}).") from error


def place_of(path: str) -> Place:
    """Return the folder of a path or a URL."""
    return UrlPlace(path) if is_url(path) else LocalPlace(Path(path).expanduser())


def _opened(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        extra = "; run 'pip install linprobe[s3]'" if scheme in ("s3", "s3a") else ""
        raise SourceUnavailable(f"{url}: no package here opens {scheme}:// ({_told(error)}){extra}.") from error
    return files, str(root).rstrip("/")


def _require_no_credentials(url: str) -> None:
    rest = url.partition("://")[2]
    if "@" in rest.partition("/")[0] or "?" in rest:
        scheme = url.partition("://")[0]
        raise SourceUnavailable(
            f"{scheme}://…: a URL with credentials or a query would be stored and printed; give them by the "
            "environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, …), and the place alone here."
        )


def _stamp(facts: dict[str, Any]) -> Stamp | None:
    marks = [f"{name}={facts[name]}" for name in _MARKS if facts.get(name)]
    size = facts.get("size")
    return Stamp(int(size), "; ".join(marks)) if marks and size is not None else None


def _errno_of(error: OSError) -> int:
    return errno.EACCES if isinstance(error, PermissionError) else errno.ENOENT


def _told(error: Exception | None) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
