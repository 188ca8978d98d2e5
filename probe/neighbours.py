"""The most similar rows by cosine, found in blocks of bounded memory, and how they vote."""

from typing import Any, Literal, get_args

import numpy as np

from probe.scaling import Scaler, to_unit_length
from probe.workers import open_workers

__all__ = ["WEIGHTS", "UnitRows", "Weights", "find_neighbours", "vote"]

Weights = Literal["softmax", "uniform"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)

# A block of similarities has 32 MiB in float32, one for each thread.
_QUERY_BLOCK = 1024
_BANK_BLOCK = 8192


class UnitRows:
    """Rows of features, scaled and brought to length 1 as they are read.

    Args:
        features: (M, D) floats that can be indexed by rows, not scaled.
        scaler: what is done to them before their length is taken.
        selected: (N,) row numbers; None for all M.
    """

    def __init__(self, features: Any, scaler: Scaler, selected: np.ndarray | None = None) -> None:
        self._features, self._scaler, self._selected = features, scaler, selected

    def __len__(self) -> int:
        return int(self._features.shape[0] if self._selected is None else len(self._selected))

    def selected(self, rows: np.ndarray) -> "UnitRows":
        """Return some of these rows, by number."""
        return UnitRows(self._features, self._scaler, rows if self._selected is None else self._selected[rows])

    def read(self, at: slice) -> np.ndarray:
        """Return consecutive rows, (n, D) float32; a row of zeros has no direction and stays zeros."""
        rows = np.asarray(self._features[at if self._selected is None else self._selected[at]])
        rows = self._scaler.transform(rows)
        to_unit_length(rows)
        return rows


def find_neighbours(queries: UnitRows, bank: UnitRows, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the most similar rows of a bank.

    Of rows as similar, those that come first in the bank are taken: so a search for more begins with what one for fewer
    finds. Memory is bounded: a block of queries against a block of the bank at a time, and `count` numbers a query.

    Args:
        queries: Q rows.
        bank: N rows.
        count: k, at most N.

    Returns:
        numbers: (Q, k) int64 rows of the bank, the most similar first.
        similarities: (Q, k) float32 cosines.
    """
    numbers = np.zeros((len(queries), count), np.int64)
    similarities = np.full((len(queries), count), -np.inf, np.float32)
    blocks = [slice(at, min(at + _QUERY_BLOCK, len(queries))) for at in range(0, len(queries), _QUERY_BLOCK)]
    with open_workers() as workers:
        for first in range(0, len(bank), _BANK_BLOCK):
            known = bank.read(slice(first, min(first + _BANK_BLOCK, len(bank)))).T

            def merge(at: slice, first: int = first, known: np.ndarray = known) -> None:
                found = queries.read(at) @ known
                best = _largest(found, count)
                pooled = np.hstack([similarities[at], np.take_along_axis(found, best, axis=1)])
                pooled_numbers = np.hstack([numbers[at], first + best])
                # Stable: of rows as similar the one that comes first in the bank.
                order = np.argsort(-pooled, axis=1, kind="stable")[:, :count]
                similarities[at] = np.take_along_axis(pooled, order, axis=1)
                numbers[at] = np.take_along_axis(pooled_numbers, order, axis=1)

            workers.map(merge, blocks)
    return numbers, similarities


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return where the largest values of each row stand, of equal ones the first, in the row's order: (Q, ≤ count)."""
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    found = np.argpartition(values, -count, axis=1)[:, -count:]
    least = np.take_along_axis(values, found, axis=1).min(axis=1, keepdims=True)
    # Which of equal values a partition takes is anybody's guess.
    for row in np.flatnonzero((values >= least).sum(axis=1) > count).tolist():
        more = np.flatnonzero(values[row] > least[row])
        equal = np.flatnonzero(values[row] == least[row])
        found[row] = np.concatenate([more, equal[: count - len(more)]])
    return np.sort(found, axis=1)


def vote(labels: np.ndarray, similarities: np.ndarray, classes: int, *, weights: str, temperature: float) -> np.ndarray:
    """Return the probabilities that neighbours give, (Q, K) float64.

    A neighbour's weight is exp(similarity / temperature), or the same for all. The weighted shares of the classes count
    for k votes, to which one vote is added that is spread evenly over the classes: it changes no order, and keeps a
    class that no neighbour has from being impossible.

    Source: Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 3.4, and Caron et
    al. 2021, DINO, appendix F.1 (weights, with temperature 0.07); the added vote is Laplace's rule of succession.

    Args:
        labels: (Q, k) int in 0 … K-1.
        similarities: (Q, k) floating.
        classes: K.
        weights: softmax or uniform.
        temperature: of softmax weights, above 0.
    """
    count = labels.shape[1]
    above = (similarities - similarities.max(axis=1, keepdims=True)).astype(np.float64)
    found = np.exp(above / temperature) if weights == "softmax" else np.ones_like(above)
    found /= found.sum(axis=1, keepdims=True)
    shares = np.zeros((len(labels), classes))
    rows = np.arange(len(labels))
    for rank in range(count):
        # A neighbour at a time: a query has no two neighbours of one rank, so no sum is lost.
        shares[rows, labels[:, rank]] += found[:, rank]
    return np.asarray((count * shares + 1.0 / classes) / (count + 1))
