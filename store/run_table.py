"""The table of all runs, quick with thousands of them: what was read once is kept in a disposable file.

cache/results.jsonl     a line per run: [run id, stamp of its manifest.json, run.json without `selection.table`]

See `store.disposable`. The file is JSON and not Parquet because documents must come back as they were read. Documents
and not rows, so that a version of this software that shows more in a row finds it there. A document is believed only if
the run's manifest is the very file that it was read with; else the run is read anew.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store.disposable import parse_disposable, write_disposable
from store.errors import DamagedStore
from store.results import RunFolder, RunRecord, run_row

__all__ = ["run_documents", "run_rows"]

# So many runs are read from their folders rather than write the file again for each new one.
_FRESH = 32
# Part of what the digest covers: a file of another layout is not believed.
_LAYOUT = b"linprobe results 2"

_Stamp = list[int]
_Document = dict[str, Any]


def run_rows(root: Path, run_ids: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return a flat row per run, see `run_row`, and by run id what is wrong with those that have none.

    Args:
        root: the store.
        run_ids: of published runs.
    """
    documents, damage = run_documents(root, run_ids)
    return [run_row(run_id, document) for run_id, document in documents.items()], damage


def run_documents(root: Path, run_ids: Sequence[str]) -> tuple[dict[str, _Document], dict[str, str]]:
    """Return run.json of each run, without the table of its selection; and what is wrong with those that have none.

    Args:
        root: the store.
        run_ids: of published runs.
    """
    path = root / "cache" / "results.jsonl"
    kept = _read(path)
    known: dict[str, tuple[_Stamp, _Document]] = {}
    damage: dict[str, str] = {}
    fresh = 0
    for run_id in run_ids:
        try:
            stamp = _stamp(root / "runs" / run_id)
            if run_id in kept and kept[run_id][0] == stamp:
                known[run_id] = kept[run_id]
            else:
                known[run_id] = stamp, _without_table(RunFolder(root / "runs" / run_id).document())
                fresh += 1
        except DamagedStore as error:
            damage[run_id] = str(error)
    if fresh > _FRESH:
        _write(path, known)
    return {run_id: document for run_id, (_, document) in known.items()}, damage


def _without_table(document: _Document) -> _Document:
    # A record per candidate of a sweep: most of the bytes, and in no row.
    return {**document, "selection": {**document["selection"], "table": None}}


def _stamp(folder: Path) -> _Stamp:
    # A run that is published again is a new folder, so a new file; ctime cannot be set back.
    try:
        stat = (folder / "manifest.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return []  # the reader says what is wrong
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read(path: Path) -> dict[str, tuple[_Stamp, _Document]]:
    return parse_disposable(path, _LAYOUT, _parsed) or {}


def _parsed(lines: bytes) -> dict[str, tuple[_Stamp, _Document]]:
    found = {run_id: (stamp, document) for run_id, stamp, document in map(json.loads, lines.splitlines())}
    for run_id, (_, document) in found.items():
        RunRecord.of_document(run_id, document)
    return found


def _write(path: Path, known: dict[str, tuple[_Stamp, _Document]]) -> None:
    lines = b"".join(
        json.dumps([run_id, *kept], separators=(",", ":"), allow_nan=False).encode() + b"\n"
        for run_id, kept in known.items()
    )
    write_disposable(path, _LAYOUT, lines)
