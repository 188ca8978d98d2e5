"""One array-like over the rows of many shards."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Features", "Rows", "Segment", "segments_of"]

# From so many bytes on, reading a file takes less time than the page faults of its mapping.
_READ_BYTES = 256 * 1024
# Shards that are verified side by side: SHA-256 keeps a core busy, reading the file waits for the disk.
_READERS = min(8, 2 * (os.cpu_count() or 1))
# A shard that this process has verified before opens in much less, and threads would cost more than they save.
_QUICK_SECONDS = 0.5e-3


@dataclass(frozen=True)
class Segment:
    """Consecutive rows of a set that lie consecutively in one shard."""

    shard: str
    first: int
    rows: int


def segments_of(addresses: Sequence[tuple[str, int]]) -> list[Segment]:
    """Join (shard, row) addresses in order to the fewest segments."""
    segments: list[Segment] = []
    shard, first, rows = "", 0, 0
    for name, row in addresses:
        if rows and name == shard and row == first + rows:
            rows += 1
            continue
        if rows:
            segments.append(Segment(shard, first, rows))
        shard, first, rows = name, row, 1
    if rows:
        segments.append(Segment(shard, first, rows))
    return segments


def _numbers(index: Any, length: int) -> np.ndarray:
    """Return an integer, an integer or a boolean selection as array of integers, not yet held against the bounds."""
    selection = np.asarray(index)
    if isinstance(index, list) and not selection.size:
        selection = selection.astype(np.int64)  # NumPy takes [] for integers too
    if selection.dtype == bool:
        if selection.shape != (length,):
            raise IndexError(f"a boolean selection of shape ({length},) expected, {selection.shape} found.")
        return np.flatnonzero(selection)
    if not np.issubdtype(selection.dtype, np.integer):
        raise IndexError(f"integers, slices or booleans expected as index, {selection.dtype} found.")
    return selection


def _within(numbers: np.ndarray, length: int) -> np.ndarray:
    """Return int64 within [0, length) for numbers of which negative ones count from the end."""
    is_outside = (numbers < -length) | (numbers >= length)
    if is_outside.any():
        raise IndexError(f"an index from {-length} to {length - 1} expected, {numbers[is_outside].flat[0]} found.")
    numbers = numbers.astype(np.int64)
    return np.where(numbers < 0, numbers + length, numbers)


class Rows(Protocol):
    """The rows of one shard, see `store.shards.Shard`."""

    @property
    def features(self) -> np.ndarray:
        """(n, D), mapped when it is first asked for."""

    def read(self, first: int, out: np.ndarray) -> None:
        """Read rows into an array, from a first one on."""


class Features:
    """The features of a set: (N, D) float32 (or float16), mapped from disk.

    Indexing means what it means to NumPy, for at most one index per dimension: integers, slices,
    `...`, boolean (N,) and (D,) and integer selections; `np.newaxis` and (N, D) masks are refused.
    Integers and slices of rows give read-only arrays, without a copy where the rows lie in one
    piece; selections give arrays of the caller's own, as in NumPy.

    A shard is verified when a row of it is first asked for, so that the first slice of a large set
    waits for its own shards only.

    Args:
        segments: the set's segments, in row order.
        dim: D.
        dtype: of the stored numbers.
        open_rows: shard name → its rows, verified; called once per shard, for several shards at a time.
    """

    ndim = 2

    def __init__(
        self,
        segments: Sequence[Segment],
        dim: int,
        dtype: np.dtype,
        *,
        open_rows: Callable[[str], Rows],
    ) -> None:
        self._segments = list(segments)
        self._starts = np.concatenate([[0], np.cumsum([s.rows for s in segments], dtype=np.int64)]).astype(np.int64)
        self._firsts = np.array([s.first for s in segments], np.int64)
        self._names = list(dict.fromkeys(s.shard for s in segments))
        number = {name: at for at, name in enumerate(self._names)}
        self._numbers = np.array([number[s.shard] for s in segments], np.int64)
        self._open = open_rows
        self._shards: dict[str, Rows] = {}
        self.shape = (int(self._starts[-1]), dim)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Features {self.shape[0]} x {self.shape[1]} {self.dtype}, {len(self._segments)} segments>"

    @property
    def nbytes(self) -> int:
        """The bytes of all numbers."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False and (len(self._segments) > 1 or np.dtype(dtype or self.dtype) != self.dtype):
            raise ValueError(f"{self!r} cannot be one {np.dtype(dtype or self.dtype)} array without a copy.")
        if copy:
            # One copy, not two: joined rows are a copy already.
            return self._joined(0, len(self)).astype(dtype or self.dtype, copy=False)
        rows: np.ndarray = self[:]
        return rows.astype(dtype or self.dtype, copy=False)

    def __getitem__(self, index: Any) -> Any:
        rows, columns = self._parsed(index)
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            found = self._range(start, stop) if step == 1 else self._selection(np.arange(start, stop, step))
            found.flags.writeable = False
            return found[:, columns]
        if rows.ndim == 0:
            row = self._range(int(rows), int(rows) + 1)[0]
            row.flags.writeable = False
            return row[columns]
        if isinstance(columns, slice):
            found = self._selection(rows.reshape(-1)).reshape(*rows.shape, self.shape[1])
            return found if columns == slice(None) else found[..., columns]
        # Two selections are paired, as NumPy does, not crossed.
        try:
            rows, chosen = np.broadcast_arrays(rows, columns)
        except ValueError as error:
            raise IndexError(f"selections of rows and columns of one shape expected: {error}") from error
        found = self._selection(rows.reshape(-1))
        return found[np.arange(rows.size), chosen.reshape(-1)].reshape(rows.shape)

    def _parsed(self, index: Any) -> tuple[Any, Any]:
        """Return what selects rows and columns, each a slice or an int64 array within bounds."""
        given = list(index) if isinstance(index, tuple) else [index]
        if any(part is None for part in given):
            raise IndexError("np.newaxis is not taken by features; take the rows first: features[:][None].")
        dots = [at for at, part in enumerate(given) if part is Ellipsis]
        if len(dots) > 1 or len(given) - len(dots) > 2:
            raise IndexError(f"at most one index per dimension of {self.shape} and one '...' expected, {index} found.")
        for at in dots:
            given[at : at + 1] = [slice(None)] * (3 - len(given))
        rows, columns = [*given, slice(None), slice(None)][:2]
        parsed = [
            one if isinstance(one, slice) else _numbers(one, length)
            for one, length in zip((rows, columns), self.shape, strict=True)
        ]
        # As in NumPy, of two selections that select nothing together neither is held against the bounds; one number
        # alone always is.
        sizes = [0 if isinstance(one, slice) else one.size for one in parsed]
        is_free = not any(isinstance(one, slice) for one in parsed) and 0 in sizes
        first, second = (
            one if isinstance(one, slice) or (is_free and np.ndim(one)) else _within(one, length)
            for one, length in zip(parsed, self.shape, strict=True)
        )
        return first, second

    def _range(self, start: int, stop: int) -> np.ndarray:
        at = int(np.searchsorted(self._starts, start, "right")) - 1
        if start < stop <= self._starts[at + 1]:
            segment, offset = self._segments[at], start - int(self._starts[at])
            # Mapped, not copied.
            first = segment.first + offset
            return self._shard(segment.shard).features[first : first + stop - start]
        return self._joined(start, max(start, stop))

    def _joined(self, start: int, stop: int) -> np.ndarray:
        first, last = np.searchsorted(self._starts, [start, stop - 1], "right") - 1 if start < stop else (0, -1)
        if (stop - start) < 16 * (last - first + 1):
            return self._selection(np.arange(start, stop))
        found = np.empty((stop - start, self.shape[1]), self.dtype)
        self._open_all(segment.shard for segment in self._segments[first : last + 1])
        for at in range(first, last + 1):
            segment, begin = self._segments[at], int(self._starts[at])
            low, high = max(start, begin), min(stop, begin + segment.rows)
            self._copy(segment.shard, low + segment.first - begin, found[low - start : high - start])
        return found

    def _copy(self, name: str, first: int, out: np.ndarray) -> None:
        shard = self._shard(name)
        if out.nbytes < _READ_BYTES:
            out[:] = shard.features[first : first + len(out)]
        else:
            shard.read(first, out)

    def _selection(self, selection: np.ndarray) -> np.ndarray:
        found = np.empty((len(selection), self.shape[1]), self.dtype)
        owner = np.searchsorted(self._starts, selection, "right") - 1
        shards, rows = self._numbers[owner], selection - self._starts[owner] + self._firsts[owner]
        # Shard by shard, each once, however many segments point into it.
        order = np.argsort(shards, kind="stable")
        self._open_all(self._names[number] for number in np.unique(shards))
        for chosen in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            if len(chosen):
                found[chosen] = self._shard(self._names[shards[chosen[0]]]).features[rows[chosen]]
        return found

    def _open_all(self, names: Iterable[str]) -> None:
        """Open the shards that have not been opened yet: several at a time, as soon as one had to be verified."""
        unopened = deque(name for name in dict.fromkeys(names) if name not in self._shards)
        seconds = 0.0
        while unopened and seconds < _QUICK_SECONDS:
            began = time.perf_counter()
            self._shard(unopened.popleft())
            seconds = time.perf_counter() - began
        if unopened:
            with ThreadPoolExecutor(_READERS) as readers:
                self._shards |= zip(unopened, readers.map(self._open, unopened), strict=True)

    def _shard(self, name: str) -> Rows:
        if name not in self._shards:
            self._shards[name] = self._open(name)
        return self._shards[name]
