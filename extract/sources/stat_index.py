"""What is known of files that have not changed since: their hash and header, so that they are not read again.

One file per source, see `store.disposable`: JSON of columns, which loads in a fraction of what the libraries for tables
take to be imported. Of a file only what was learnt when it had already rested for a while is believed: one that is
written twice within one tick of the clock keeps size and time.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

from extract.decoding import is_lasting
from extract.header import DECODING_RULES, Header
from extract.sources.example import Known
from store.disposable import parse_disposable, write_disposable
from store.locks import hold_lock

__all__ = ["Stamp", "StatIndex"]

# Coarser than the clock of any file system that is in use (FAT: 2 s).
_REST_NS = 2_000_000_000
_CONTENT_BYTES = 32
_LAYOUT = b"linprobe stat 1"

# Size, modification time in nanoseconds, content hash, and what the header says or why it cannot.
_Entry = tuple[int, int, bytes, tuple[Header | None, str]]


class Stamp(NamedTuple):
    """What a server says of an object's state: its size, and ETag, version or checksum as text."""

    size: int
    marks: str

    @property
    def number(self) -> int:
        """The marks as a number, which stands in the place of a file's time."""
        return int.from_bytes(hashlib.sha256(self.marks.encode()).digest()[:8], "big") >> 1


class StatIndex:
    """Name, size and modification time of a file → what its bytes are.

    Args:
        path: the index file; missing, damaged or older rules count as an empty one.
        now_ns: the time at which the job began, in nanoseconds since 1970.
    """

    def __init__(self, path: Path, now_ns: int) -> None:
        self._path = path
        self._trusted_until = now_ns - _REST_NS
        self._entries: dict[str, _Entry] = _load(path)
        self._learnt: dict[str, _Entry] = {}

    def find(self, name: str, stat: os.stat_result) -> Known | None:
        """Return what is known of a file that looks unchanged."""
        return self._find(name, stat.st_size, stat.st_mtime_ns)

    def learn(self, name: str, stat: os.stat_result, known: Known) -> None:
        """Remember what a file's bytes are; `stat` is from before they were read."""
        is_rested = stat.st_mtime_ns < self._trusted_until and stat.st_size == known.size
        if is_rested:
            self._learn(name, stat.st_mtime_ns, known)

    def find_stamped(self, name: str, stamp: Stamp) -> Known | None:
        """Return what is known of an object whose server says that it is as it was."""
        return self._find(name, stamp.size, stamp.number)

    def learn_stamped(self, name: str, stamp: Stamp, known: Known) -> None:
        """Remember what an object's bytes are; the stamp is from before they were read."""
        if stamp.size == known.size:
            self._learn(name, stamp.number, known)

    def _find(self, name: str, size: int, state: int) -> Known | None:
        entry = self._entries.get(name)
        if entry is None or entry[:2] != (size, state):
            return None
        _, _, content, (header, reason) = entry
        return Known(content, header, reason, size)

    def _learn(self, name: str, state: int, known: Known) -> None:
        if is_lasting(known.reason):
            entry = (known.size, state, known.content, (known.header, known.reason))
            self._entries[name] = self._learnt[name] = entry

    def save(self) -> None:
        """Write the index anew, if anything was learnt and its folder's parent is there."""
        if not self._learnt or not self._path.parent.parent.is_dir():
            return
        # A store that may only be read, or a full disk: the files are read again next time. Workers look at other
        # files of the same folder, and are done at the same time: one after another adds what it has learnt.
        locks = self._path.parent.parent / "locks"
        with suppress(OSError), hold_lock(locks, f"stat-{self._path.name}", wait=True):
            self._entries = _load(self._path) | self._learnt
            data = json.dumps(_columns(self._entries), separators=(",", ":"), ensure_ascii=False).encode()
            write_disposable(self._path, _LAYOUT, data)
        self._learnt = {}


def _columns(entries: Mapping[str, _Entry]) -> dict[str, Any]:
    # Thousands of files share a few headers: each is written once.
    looks: dict[tuple[Header | None, str], int] = {}
    numbers = [looks.setdefault(entry[3], len(looks)) for entry in entries.values()]
    return {
        "rules": DECODING_RULES,
        "names": list(entries),
        "sizes": [entry[0] for entry in entries.values()],
        "mtimes_ns": [entry[1] for entry in entries.values()],
        "contents": b"".join(entry[2] for entry in entries.values()).hex(),
        "looks": [[list(astuple(h)) if h else None, reason] for h, reason in looks],
        "look": numbers,
    }


def _load(path: Path) -> dict[str, _Entry]:
    return parse_disposable(path, _LAYOUT, _parsed) or {}


def _parsed(data: bytes) -> dict[str, _Entry]:
    columns = json.loads(data)
    if columns["rules"] != DECODING_RULES:
        # What a header or a reason is may have changed with the rules.
        return {}
    joined = bytes.fromhex(columns["contents"])
    contents = [joined[at : at + _CONTENT_BYTES] for at in range(0, len(joined), _CONTENT_BYTES)]
    looks = [(Header(*header) if header else None, reason) for header, reason in columns["looks"]]
    look = [looks[number] for number in columns["look"]]
    entries = zip(columns["sizes"], columns["mtimes_ns"], contents, look, strict=True)
    return dict(zip(columns["names"], entries, strict=True))
