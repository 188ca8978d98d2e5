"""What is known of files that have not changed since: their hash and header, so that they are not read again.

One disposable file per source. It is believed only if its bytes are those that were written, and of
a file only what was learnt when the file had already rested for a while: a file that is written
twice within one tick of the clock keeps size and time.
"""

import hashlib
import io
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from extract.decoding import DECODING_RULES, Header
from extract.sources.example import Known

__all__ = ["StatIndex"]

# Coarser than the clock of any file system that is in use (FAT: 2 s).
_REST_NS = 2_000_000_000
_DIGEST_BYTES = 32
_COLUMNS = ("name", "size", "mtime_ns", "content", "format", "mode", "width", "height", "reason")


class StatIndex:
    """Name, size and modification time of a file → what its bytes are.

    Args:
        path: the index file; missing, damaged or older rules count as an empty one.
        now_ns: the time at which the job began, in nanoseconds since 1970.
    """

    def __init__(self, path: Path, now_ns: int) -> None:
        self._path = path
        self._trusted_until = now_ns - _REST_NS
        self._entries: dict[str, tuple[int, int, Known]] = _load(path)
        self._seen: dict[str, tuple[int, int, Known]] = {}
        self._is_changed = False

    def find(self, name: str, stat: os.stat_result) -> Known | None:
        """Return what is known of a file that looks unchanged."""
        entry = self._entries.get(name)
        if entry is None or entry[:2] != (stat.st_size, stat.st_mtime_ns):
            return None
        self._seen[name] = entry
        return entry[2]

    def learn(self, name: str, stat: os.stat_result, known: Known) -> None:
        """Remember what a file's bytes are; `stat` is from before they were read."""
        if stat.st_mtime_ns < self._trusted_until and stat.st_size == known.size:
            self._seen[name] = (stat.st_size, stat.st_mtime_ns, known)
            self._is_changed = True

    def save(self) -> None:
        """Write the index anew, if anything was learnt and its folder's parent is there."""
        if not self._is_changed or not self._path.parent.parent.is_dir():
            return
        data = _table({**self._entries, **self._seen})
        self._path.parent.mkdir(exist_ok=True)
        temp = self._path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(6)}")
        temp.write_bytes(hashlib.sha256(data).digest() + data)
        # No fsync: a lost or torn index is read as an empty one.
        os.replace(temp, self._path)
        self._is_changed = False


def _table(entries: Mapping[str, tuple[int, int, Known]]) -> bytes:
    rows = []
    for name, (size, mtime_ns, known) in entries.items():
        header = known.header or Header("", "", 0, 0)
        rows.append(
            (name, size, mtime_ns, known.content, header.format, header.mode, header.width, header.height, known.reason)
        )
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    table = pa.table(dict(zip(_COLUMNS, map(list, columns), strict=True)))
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"rules": str(DECODING_RULES)}), buffer, compression="zstd")
    return buffer.getvalue()


def _load(path: Path) -> dict[str, tuple[int, int, Known]]:
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    if hashlib.sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        return {}
    table = pq.read_table(io.BytesIO(data[_DIGEST_BYTES:]))
    if (table.schema.metadata or {}).get(b"rules") != str(DECODING_RULES).encode():
        # What a header or a reason is may have changed with the rules.
        return {}
    entries = {}
    columns = (table.column(name).to_pylist() for name in _COLUMNS)
    for name, size, mtime_ns, content, form, mode, width, height, reason in zip(*columns, strict=True):
        header = None if reason else Header(form, mode, width, height)
        entries[name] = (size, mtime_ns, Known(content, header, reason, size))
    return entries
