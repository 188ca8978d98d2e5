"""The table of all runs, quick with thousands of them: rows that were read once are kept in a disposable file.

cache/results.jsonl     line 1: the SHA-256 of all that follows
                        then a line per run: [run id, stamp of its manifest.json, row]

The file is JSON and not Parquet because its digest is checked before anything parses it, and because
a row must come back as it was read, nested options and missing values included. It is believed only if
its digest is right, and a row only if the run's manifest is the very file that it was read with; else
the run is read anew. So it can be deleted, damaged or out of date, and never makes a wrong number.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store.commit import publish_file
from store.errors import DamagedStore
from store.results import RunFolder

__all__ = ["run_rows"]

_logger = logging.getLogger(__name__)
# So many runs are read from their folders rather than write the file again for each new one.
_FRESH = 32

_Stamp = list[int]
_Row = dict[str, Any]


def run_rows(root: Path, run_ids: Sequence[str]) -> tuple[list[_Row], list[str]]:
    """Return a flat row per run, see `RunFolder.row`, and what is wrong with runs that have none.

    Args:
        root: the store.
        run_ids: of published runs.
    """
    path = root / "cache" / "results.jsonl"
    kept, rows, damage, fresh = _read(path), {}, [], 0
    for run_id in run_ids:
        try:
            stamp = _stamp(root / "runs" / run_id)
            found, row = kept.get(run_id, (None, None))
            if row is None or found != stamp:
                row, fresh = RunFolder(root / "runs" / run_id).row(), fresh + 1
            rows[run_id] = (stamp, row)
        except DamagedStore as error:
            damage.append(str(error))
    if fresh > _FRESH:
        _write(path, rows)
    return [row for _, row in rows.values()], damage


def _stamp(folder: Path) -> _Stamp:
    # A run that is published again is a new folder, so a new file; ctime cannot be set back.
    try:
        stat = (folder / "manifest.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return []  # the reader says what is wrong
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read(path: Path) -> dict[str, tuple[_Stamp, _Row]]:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        _logger.info("%s: not readable, runs are read anew (%s)", path, error)
        return {}
    expected, _, lines = data.partition(b"\n")
    if hashlib.sha256(lines).hexdigest().encode() != expected:
        _logger.info("%s: damaged, runs are read anew", path)
        return {}
    return {run_id: (stamp, row) for run_id, stamp, row in map(json.loads, lines.splitlines())}


def _write(path: Path, rows: dict[str, tuple[_Stamp, _Row]]) -> None:
    lines = b"".join(
        json.dumps([run_id, *kept], separators=(",", ":"), allow_nan=False).encode() + b"\n"
        for run_id, kept in rows.items()
    )
    try:
        publish_file(path, hashlib.sha256(lines).hexdigest().encode() + b"\n" + lines)
    except OSError as error:
        # A store that may only be read, or a full disk: slower the next time, and no less right.
        _logger.info("%s: not written (%s)", path, error)
