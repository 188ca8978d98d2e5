"""Which image's row lies where in a pool, in memory and in a disposable file, so that no shard is read to know it.

cache/contents/<pool-key>   line 1: the SHA-256 of the layout and of all that follows
                            line 2: JSON, for each shard: name, stamp of its file, rows; and the drift that was met
                            then the content hashes of all rows, 32 bytes each, shard after shard

The file is believed only if its digest is right, and what it says of a shard only while that is the
very file (inode, size, times) that was verified when it was written down; else the shard is read. It
tells where rows lie. Their numbers are never taken on trust: whoever reads a row verifies its shard.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from store.disposable import parse_disposable, write_disposable
from store.writer_drift import WriterDrift

__all__ = ["CONTENT_BYTES", "ContentIndex", "KeptShards", "KnownShard", "RowAddress", "Stamp", "stamp_of"]

CONTENT_BYTES = 32
# Part of what the digest covers: a file of another layout is not believed.
_LAYOUT = b"linprobe contents 1"
_ROW_BITS = 32

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class RowAddress:
    """Where a row lies: the shard's name (its SHA-256) and the row in it."""

    shard: str
    row: int


@dataclass(frozen=True)
class KnownShard:
    """A shard that was verified once.

    Attributes:
        stamp: what its file looked like then.
        contents: (n * 32) bytes: the content hashes of its rows.
    """

    stamp: Stamp
    contents: bytes


def stamp_of(path: Path) -> Stamp:
    """Return what tells a file from any that takes its place: inode, size, mtime, and ctime, which cannot be set back.

    Raises:
        OSError: there is no such file.
    """
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class ContentIndex(Mapping[bytes, RowAddress]):
    """Content hash (32 bytes) → address of its row; where two shards hold one, the first by name counts.

    A row is kept as one integer, the shard's number and the row in it: millions of rows are entered
    in a second, and no object is made for those that nobody asks for.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: dict[bytes, int] = {}

    def __getitem__(self, content: bytes) -> RowAddress:
        return self._address(self._rows[content])

    def __contains__(self, content: object) -> bool:
        return content in self._rows

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def enter(self, name: str, contents: bytes) -> dict[str, list[tuple[bytes, int, int]]]:
        """Enter a shard's rows.

        Args:
            name: of the shard.
            contents: (n * 32) bytes: the content hashes of its rows.

        Returns:
            Other shard → the images that it has a row for too: content, row there, row here. Of
            several others only the one that counts until now.
        """
        base = len(self._names) << _ROW_BITS
        self._names.append(name)
        keys = [contents[at : at + CONTENT_BYTES] for at in range(0, len(contents), CONTENT_BYTES)]
        # Backwards: of an image that is duplicated in one shard the first row counts.
        new = dict(zip(reversed(keys), range(base + len(keys) - 1, base - 1, -1), strict=True))
        common: dict[str, list[tuple[bytes, int, int]]] = {}
        for content in new.keys() & self._rows.keys():
            known = self[content]
            common.setdefault(known.shard, []).append((content, known.row, self._address(new[content]).row))
            if known.shard <= name:
                del new[content]
        self._rows.update(new)
        return common

    def _address(self, number: int) -> RowAddress:
        return RowAddress(self._names[number >> _ROW_BITS], number & ((1 << _ROW_BITS) - 1))


@dataclass(frozen=True)
class KeptShards:
    """What the disposable file says.

    Attributes:
        shards: name → what was known of it.
        drifts: pairs of shards whose rows for one image differ.
    """

    shards: Mapping[str, KnownShard]
    drifts: tuple[WriterDrift, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "KeptShards":
        """Read the file; missing, damaged or of another layout, it says nothing."""
        return parse_disposable(path, _LAYOUT, cls._parsed) or cls({})

    @classmethod
    def _parsed(cls, rest: bytes) -> "KeptShards":
        head, _, contents = rest.partition(b"\n")
        document = json.loads(head)
        shards, at = {}, 0
        for name, stamp, rows in document["shards"]:
            shards[name] = KnownShard(tuple(stamp), contents[at : at + rows * CONTENT_BYTES])
            at += rows * CONTENT_BYTES
        return cls(shards, tuple(WriterDrift(*drift) for drift in document["drifts"]))

    def write(self, path: Path) -> None:
        """Write the file; a store that may only be read goes without."""
        listed = [[name, s.stamp, len(s.contents) // CONTENT_BYTES] for name, s in self.shards.items()]
        head = json.dumps({"shards": listed, "drifts": [astuple(drift) for drift in self.drifts]}).encode()
        rest = b"".join([head, b"\n", *(shard.contents for shard in self.shards.values())])
        write_disposable(path, _LAYOUT, rest)
