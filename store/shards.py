"""One shard: an HDF5 file of rows, immutable and named by the SHA-256 of its own bytes.

pools/<pool-key>/shards/<sha256>.h5   features (n, D), content_sha256 (n, 32), both contiguous

Where its rows lie in the file is worked out once per file and process, by HDF5 and after the bytes
were verified; from then on they are mapped, or read into an array of the caller's, without HDF5.
"""

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import FileIO
from pathlib import Path

import h5py
import numpy as np

from store.commit import Data
from store.content_index import CONTENT_BYTES
from store.errors import REPAIR, DamagedStore
from store.hdf5 import (
    VerifiedFile,
    build_file,
    check_datasets,
    open_checked,
    open_present,
    refusing_what_hdf5_refuses,
    verify_file,
)

__all__ = ["DTYPES", "SHARD_NAME", "Shard", "build_shard", "contents_file", "forget_contents", "open_shard"]

SHARD_NAME = re.compile(r"[0-9a-f]{64}\.h5")
DTYPES = "<f4|<f2"
_SCHEMA = {"features": (DTYPES, 2), "content_sha256": (r"\|u1", 2)}


@dataclass(frozen=True)
class _Layout:
    """Where a shard's two datasets lie in its file, in bytes."""

    dtype: np.dtype
    rows: int
    dim: int
    features_at: int
    contents_at: int


# Of files that this process has verified and parsed.
_layouts: dict[VerifiedFile, _Layout] = {}
# File size → what HDF5 found in one such file, and all bytes of it but its numbers, by their places. A file that
# has the same bytes there is the same to HDF5, and need not be parsed, which takes as long as to hash it.
_familiar: dict[int, tuple[_Layout, tuple[tuple[int, bytes], ...]]] = {}
_MOST_FRAME_BYTES, _MOST_FRAMES = 1 << 16, 256
_LARGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Shard:
    """A verified shard; its rows are mapped when they are first asked for.

    Attributes:
        path: of the file.
        layout: where the rows lie in it.
    """

    path: Path
    layout: _Layout

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the features."""
        return self.layout.rows, self.layout.dim

    @property
    def dtype(self) -> np.dtype:
        """The features' type, float32 or float16."""
        return self.layout.dtype

    @cached_property
    def features(self) -> np.ndarray:
        """(n, D) float32 or float16, mapped from disk, read-only."""
        size = self.layout.rows * self.layout.dim * self.dtype.itemsize
        return self._mapped(self.layout.features_at, size, self.dtype, shape=self.shape)

    @cached_property
    def content_sha256(self) -> np.ndarray:
        """(n, 32) uint8, likewise: the content hash of each row's image."""
        shape = (self.layout.rows, CONTENT_BYTES)
        return self._mapped(self.layout.contents_at, math.prod(shape), np.dtype(np.uint8), shape=shape)

    def _mapped(self, begin: int, size: int, dtype: np.dtype, *, shape: tuple[int, int]) -> np.ndarray:
        with refusing_what_hdf5_refuses(self.path):
            mapped = np.memmap(self.path, np.uint8, "r").view(np.ndarray)
            rows: np.ndarray = mapped[begin : begin + size].view(dtype).reshape(shape)
            return rows

    def read(self, first: int, out: np.ndarray) -> None:
        """Read rows into an array, which is quicker than to copy many from the mapping: no page fault for each page.

        Args:
            first: the first row.
            out: (rows, D), contiguous, in the shard's dtype.

        Raises:
            DamagedStore: the file has become shorter.
        """
        row_bytes = self.layout.dim * self.dtype.itemsize
        rest = memoryview(out.data).cast("B")
        with open_present(self.path) as file:
            file.seek(self.layout.features_at + first * row_bytes)
            while rest:
                count = file.readinto(rest)
                if not count:
                    raise DamagedStore(f"{self.path}: {len(rest)} more bytes expected, none found; {REPAIR}.")
                rest = rest[count:]


def build_shard(features: np.ndarray, contents: np.ndarray) -> tuple[str, Data]:
    """Return the name and the bytes of the shard of these rows: what HDF5 makes of them, without a copy in between.

    Args:
        features: (n, D) float32 or float16.
        contents: (n, 32) uint8.
    """
    before, between, after = _frame(*features.shape, features.dtype)
    rows, hashes = np.ascontiguousarray(features), np.ascontiguousarray(contents)
    pieces = (before, rows.data.cast("B"), between, hashes.data.cast("B"), after)
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    # Large rows are written from where they lie; of small ones a copy costs less than five writes.
    return sha.hexdigest(), pieces if rows.nbytes >= _LARGE_BYTES else b"".join(pieces)


@lru_cache(maxsize=8)
def _frame(rows: int, dim: int, dtype: np.dtype) -> tuple[bytes, bytes, bytes]:
    """Return what HDF5 writes around the two datasets of a shard, which no number in them changes."""
    places: dict[str, tuple[int, int]] = {}

    def fill(file: h5py.File) -> None:
        for name, shape, kind in (("features", (rows, dim), dtype), ("content_sha256", (rows, CONTENT_BYTES), "u1")):
            dataset = file.create_dataset(name, data=np.zeros(shape, kind), track_times=False)
            places[name] = dataset.id.get_offset(), dataset.nbytes

    data = build_file(fill)
    (first, size), (second, length) = places["features"], places["content_sha256"]
    return data[:first], data[first + size : second], data[second + length :]


def open_shard(path: Path) -> Shard:
    """Verify a shard against its name and map its rows.

    Raises:
        DamagedStore: the bytes or the schema are not what they must be. The pool's disposable index
            is thrown away then: whoever extracts next reads every shard, and computes what is lost.
    """
    try:
        verified = verify_file(path, path.stem)
        if verified not in _layouts:
            _layouts[verified] = _laid_out(path)
        return Shard(path, _layouts[verified])
    except DamagedStore:
        forget_contents(path.parent.parent)
        raise


def _laid_out(path: Path) -> _Layout:
    """Return where the rows of a verified file lie, parsing it unless its like has been parsed before."""
    with open_present(path) as file:
        size = os.fstat(file.fileno()).st_size
        layout, frame = _familiar.get(size, (None, ()))
        if layout is not None and all(_read_at(file, place, len(data)) == data for place, data in frame):
            return layout
        layout = _parsed(path)
        numbers = (
            (layout.features_at, layout.rows * layout.dim * layout.dtype.itemsize),
            (layout.contents_at, layout.rows * CONTENT_BYTES),
        )
        gaps = _gaps(numbers, size)
        counts = [count for _, count in gaps]
        if min(counts) >= 0 and sum(counts) <= _MOST_FRAME_BYTES and len(_familiar) < _MOST_FRAMES:
            _familiar[size] = layout, tuple((place, _read_at(file, place, count)) for place, count in gaps)
    return layout


def _gaps(pieces: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return what lies between pieces of a file, each given by its place and length; below 0 where they overlap."""
    gaps, end = [], 0
    for place, count in sorted(pieces):
        gaps.append((end, place - end))
        end = place + count
    return [*gaps, (end, size - end)]


def _read_at(file: FileIO, place: int, count: int) -> bytes:
    return os.pread(file.fileno(), count, place)


def _parsed(path: Path) -> _Layout:
    with open_checked(path, path.stem) as file, refusing_what_hdf5_refuses(path):
        check_datasets(file, path, _SCHEMA)
        features, contents = file["features"], file["content_sha256"]
        expected = (features.shape[0], CONTENT_BYTES)
        if contents.shape != expected:
            raise DamagedStore(f"{path}: content_sha256 of shape {expected} expected, {contents.shape} found.")
        rows, dim = features.shape
        if not features.size:
            raise DamagedStore(f"{path}: features of a row and a column at least expected, {features.shape} found.")
        return _Layout(features.dtype, rows, dim, features.id.get_offset(), contents.id.get_offset())


def forget_contents(pool: Path) -> None:
    """Throw away what is kept of a pool's shards, so that each is read again."""
    with contextlib.suppress(OSError):  # a store that may only be read: its owner's 'store verify' does it
        contents_file(pool).unlink(missing_ok=True)


def contents_file(pool: Path) -> Path:
    """Return the disposable file that tells what a pool's shards hold, see `store.content_index`."""
    return pool.parent.parent / "cache" / "contents" / pool.name
