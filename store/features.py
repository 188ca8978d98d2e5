"""One array-like over the rows of many shards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Features", "Segment", "segments_of"]


@dataclass(frozen=True)
class Segment:
    """Consecutive rows of a set that lie consecutively in one shard."""

    shard: str
    first: int
    rows: int


def segments_of(addresses: Sequence[tuple[str, int]]) -> list[Segment]:
    """Join (shard, row) addresses in order to the fewest segments."""
    segments: list[Segment] = []
    for shard, row in addresses:
        last = segments[-1] if segments else None
        if last and last.shard == shard and last.first + last.rows == row:
            segments[-1] = Segment(shard, last.first, last.rows + 1)
        else:
            segments.append(Segment(shard, row, 1))
    return segments


class Features:
    """The features of a set: (N, D) float32 (or float16), mapped from disk, read-only.

    Takes an integer, a slice, a boolean or an integer selection as first index, and anything that
    NumPy takes as second. A shard is verified when a row of it is first asked for, so that the
    first slice of a large set waits for its own shards only.

    Args:
        segments: the set's segments, in row order.
        dim: D.
        dtype: of the stored numbers.
        open_features: shard name → (n, D) array; called once per shard.
    """

    ndim = 2

    def __init__(
        self, segments: Sequence[Segment], dim: int, dtype: np.dtype, open_features: Callable[[str], np.ndarray]
    ) -> None:
        self._segments = list(segments)
        self._starts = np.concatenate([[0], np.cumsum([s.rows for s in segments], dtype=np.int64)]).astype(np.int64)
        self._open = open_features
        self._shards: dict[str, np.ndarray] = {}
        self.shape = (int(self._starts[-1]), dim)
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Features {self.shape[0]} x {self.shape[1]} {self.dtype}, {len(self._segments)} segments>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        rows = self[:]
        return np.array(rows, dtype=dtype) if copy else np.asarray(rows, dtype=dtype)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, columns = index if isinstance(index, tuple) else (index, None)
        found = self._rows(rows)
        if columns is None:
            return found
        return found[columns] if found.ndim == 1 else found[:, columns]

    def _rows(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._range(start, max(start, stop))
            return self._selection(np.arange(start, stop, step))
        selection = np.asarray(rows)
        if selection.dtype == bool:
            if selection.shape != (len(self),):
                raise IndexError(f"a boolean selection of shape ({len(self)},) expected, {selection.shape} found.")
            selection = np.flatnonzero(selection)
        if selection.size and not np.issubdtype(selection.dtype, np.integer):
            raise IndexError(f"integers, slices or booleans select rows, not {selection.dtype}.")
        selection = selection.astype(np.int64)
        selection = np.where(selection < 0, selection + len(self), selection)
        if selection.size and (selection.min() < 0 or selection.max() >= len(self)):
            raise IndexError(f"row out of range for {len(self)} rows.")
        return self._selection(selection.reshape(-1))[0] if selection.ndim == 0 else self._selection(selection)

    def _range(self, start: int, stop: int) -> np.ndarray:
        pieces = []
        at = int(np.searchsorted(self._starts, start, "right")) - 1
        while start < stop:
            segment, offset = self._segments[at], start - int(self._starts[at])
            rows = min(segment.rows - offset, stop - start)
            pieces.append(self._shard(segment.shard)[segment.first + offset : segment.first + offset + rows])
            start, at = start + rows, at + 1
        if len(pieces) == 1:
            return pieces[0]  # mapped, not copied
        return np.concatenate(pieces) if pieces else np.empty((0, self.shape[1]), self.dtype)

    def _selection(self, selection: np.ndarray) -> np.ndarray:
        found = np.empty((len(selection), self.shape[1]), self.dtype)
        owner = np.searchsorted(self._starts, selection, "right") - 1
        for at in np.unique(owner):
            segment, chosen = self._segments[at], owner == at
            found[chosen] = self._shard(segment.shard)[selection[chosen] - self._starts[at] + segment.first]
        return found

    def _shard(self, name: str) -> np.ndarray:
        if name not in self._shards:
            self._shards[name] = self._open(name)
        return self._shards[name]
