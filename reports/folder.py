"""The report's place on disk: a whole site or none, and nobody else's files replaced.

OUT/linprobe-report.json   the marker: the format, what we wrote with its SHA-256, and what it was made of
    index.html …
"""

import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reports.errors import NotAReport

__all__ = ["MARKER", "is_current", "replace_report", "require_report"]

MARKER = "linprobe-report.json"
_FORMAT = "linprobe-report 1"
# What file managers leave behind wherever somebody has looked.
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_STALE_SECONDS = 24 * 3600


def require_report(out: Path) -> None:
    """Check that a report may be written to a place.

    Args:
        out: the report's folder.

    Raises:
        NotAReport: if anything stands there but an empty folder or a report of ours, without a
            single file that we did not write.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        kind = "a link to nowhere" if out.is_symlink() else "a file"
        raise NotAReport(f"{out}: a folder for the report expected, {kind} found; choose another --out.")
    # A link is a file here, wherever it leads: what is behind it is not ours, and would not be seen.
    files = [path for path in out.rglob("*") if (path.is_symlink() or not path.is_dir()) and path.name not in _LITTER]
    found = {path.relative_to(out).as_posix() for path in files}
    if not found:
        return
    written = _written_files(out)
    if written is None:
        raise NotAReport(
            f"{out}: a report of linprobe or an empty folder expected, {len(found)} other files found "
            f"(such as {min(found)!r}); nothing was changed. Choose another --out."
        )
    if foreign := sorted(found - written - {MARKER}):
        raise NotAReport(
            f"{out}: {len(foreign)} files found that the report did not write (such as {foreign[0]!r}); nothing was "
            "changed, because a new report replaces the whole folder. Move them away, or choose another --out."
        )


def _written_files(out: Path) -> set[str] | None:
    try:
        marker = json.loads((out / MARKER).read_text("utf-8"))
        return set(marker["files"]) if marker["format"] == _FORMAT else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def is_current(out: Path, made_of: str) -> bool:
    """Return whether a report stands there whole, as it was written, and made of the same.

    Args:
        out: the report's folder.
        made_of: digest of all that it shows, as `replace_report` was given it.
    """
    try:
        marker = json.loads((out / MARKER).read_text("utf-8"))
        if marker["format"] != _FORMAT or not made_of or marker.get("made_of") != made_of:
            return False
        return all(_sha256(out / name) == digest for name, digest in marker["sha256"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def replace_report(out: Path, made_of: Callable[[], str] = lambda: "") -> Iterator[Path]:
    """Give a folder to fill, and put it in the report's place when it has been filled.

    The old report stands until the new one is whole. When the filling fails, it stays.

    Args:
        out: the report's folder.
        made_of: gives a digest of all that the report shows, asked after the filling; see `is_current`.

    Yields:
        An empty folder beside it.

    Raises:
        NotAReport: see `require_report`; asked before the filling and again after it.
    """
    require_report(out)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    temp = out.parent / f".{out.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
    temp.mkdir()
    try:
        _remove_stale(out, temp)
        yield temp
        files = sorted(path.relative_to(temp).as_posix() for path in temp.rglob("*") if path.is_file())
        digests = {name: _sha256(temp / name) for name in files}
        marker = {"format": _FORMAT, "files": files, "made_of": made_of(), "sha256": digests}
        (temp / MARKER).write_text(json.dumps(marker, indent=1) + "\n", "utf-8")
        require_report(out)
        _put_in_place(temp, out)
    finally:
        # After an exchange the old report lies here; after a failure, what was filled so far.
        shutil.rmtree(temp, ignore_errors=True)


def _put_in_place(temp: Path, out: Path) -> None:
    # No fsync: pages are made from the store again at any time, and hundreds of small files would
    # wait for the disk one by one.
    try:
        os.rename(temp, out)  # which works on a missing and on an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if _exchange(temp, out):
            return
        aside = temp.with_name(f"{temp.name}-old")
        os.rename(out, aside)
        try:
            os.rename(temp, out)
        finally:
            if not out.exists():
                os.rename(aside, out)
        shutil.rmtree(aside)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders at one instant; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    if rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(second))


def _remove_stale(out: Path, temp: Path) -> None:
    # What a killed process left. Age by the file server's clock, which made the new folder too; a
    # day is far longer than any report takes, so that nobody's living folder is taken away.
    now = temp.stat().st_mtime
    for other in os.scandir(out.parent):
        # Without a report in its place, what lies beside it may be the only one there is.
        if not other.name.startswith(f".{out.name}.tmp-") or not out.exists():
            continue
        with suppress(FileNotFoundError):
            if now - other.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(other.path, ignore_errors=True)
