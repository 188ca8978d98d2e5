"""Many dense heads trained at once, as one wide layer: one pass over the features for a whole grid.

TensorFlow is imported inside functions: nothing else of `probe` waits for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe.heads.early_stopping import EarlyStopping
from probe.heads.wide_steps import Architecture, Column, WideSteps
from probe.scaling import Scaler

__all__ = ["Epoch", "WideDense"]

# Batches that are handed over together: many, so that Python does nothing per batch; not so many that they fill memory.
_CHUNK_BYTES = 64 << 20
_SCORE_BYTES = 64 << 20
_LOSS_ROWS = 4096


@dataclass(frozen=True)
class Epoch:
    """What an epoch saw while the weights moved: means over its rows, (G,) each."""

    number: int
    loss: np.ndarray
    accuracy: np.ndarray


class WideDense:
    """G dense heads, trained side by side.

    Args:
        architecture: what they share.
        columns: what each is trained with.
        seed: of initial weights, the order of the rows, and dropout.
        rows: the most rows that `fit` will get; what is compiled once serves fewer rows too.
        initial: one head's weights to start from, named as in `probe.prediction`, instead of drawn ones.
        is_shuffled: False trains on the rows in the order given, the same in every epoch.
    """

    def __init__(
        self,
        architecture: Architecture,
        columns: Sequence[Column],
        *,
        seed: int,
        rows: int,
        initial: Mapping[str, np.ndarray] | None = None,
        is_shuffled: bool = True,
    ) -> None:
        self._architecture, self._columns, self._seed, self._is_shuffled = architecture, columns, seed, is_shuffled
        self._initial = dict(initial or architecture.draw_weights(seed))
        steps = max(1, _CHUNK_BYTES // (4 * architecture.batch_size * architecture.dim))
        self._chunk = min(steps, -(-rows // architecture.batch_size))
        self._steps = WideSteps(architecture, columns)
        self._weights: dict[str, np.ndarray]

    def fit(
        self,
        features: Any,
        labels: np.ndarray,
        rows: np.ndarray,
        *,
        scaler: Scaler,
        epochs: int,
        stopping: EarlyStopping | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> None:
        """Train all heads from their initial weights.

        Args:
            features: (M, D) floats that can be indexed by rows, not scaled.
            labels: (M,) int in 0 … K-1.
            rows: (N,) numbers of the rows to train on.
            scaler: what is done to features first.
            epochs: how many passes over the rows.
            stopping: when each head has had enough, and on which rows that is seen; each ends with its best weights.
            on_epoch: is told of every epoch.
        """
        count = len(self._columns)
        self._weights = {name: self._widen(name, array) for name, array in self._initial.items()}
        names = tuple(self._weights)
        state = [np.zeros_like(array) for _ in range(2) for array in self._weights.values()]
        state = [*self._weights.values(), *state]
        rng = np.random.default_rng(self._seed)
        step, best = 0, dict[str, np.ndarray]()
        for number in range(1, epochs + 1):
            order = rows[rng.permutation(len(rows))] if self._is_shuffled else rows
            loss, hits = np.zeros(count), np.zeros(count)
            for chosen, weights in self._chunks(order):
                batches = scaler.transform(features[chosen.reshape(-1)]).reshape(*chosen.shape, -1)
                steps = int((weights.sum(axis=1) > 0).sum())
                seen, state = self._steps.take(
                    state, step, steps, batches=batches, labels=labels[chosen], is_counted=weights, seed=self._seed
                )
                loss, hits, step = loss + seen[0], hits + seen[1], step + steps
            self._weights = {name: np.asarray(array) for name, array in zip(names, state[: len(names)], strict=True)}
            on_epoch(Epoch(number, loss / len(rows), hits / len(rows)))
            if stopping is not None:
                is_better = stopping.see(number, self.losses(features, labels, stopping.rows, scaler=scaler))
                best = {
                    name: self._merge(name, best.get(name), array, is_better=is_better)
                    for name, array in self._weights.items()
                }
                if stopping.is_over:
                    break
        if stopping is not None:
            self._weights = best

    def _chunks(self, order: np.ndarray) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        """Return chunks of one shape: rows (S, B), and which of them count, (S, B) float32 of 1 and 0."""
        size = self._chunk * self._architecture.batch_size
        shape = (self._chunk, self._architecture.batch_size)
        chunks = []
        for start in range(0, len(order), size):
            here = order[start : start + size]
            # Filled up with a row that counts for nothing: one shape is compiled once.
            padded = np.full(size, here[0])
            padded[: len(here)] = here
            chunks.append((padded.reshape(shape), (np.arange(size) < len(here)).astype(np.float32).reshape(shape)))
        return chunks

    def _axis(self, name: str) -> int:
        """Return where G stands among a wide array's axes."""
        return 1 if name == self._architecture.first_kernel else 0

    def _widen(self, name: str, array: np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(array, np.float32)] * len(self._columns), axis=self._axis(name))

    def _merge(self, name: str, best: np.ndarray | None, array: np.ndarray, *, is_better: np.ndarray) -> np.ndarray:
        """Return the best weights so far: those of columns that got better are new."""
        if best is None:
            return array
        shape = [1] * array.ndim
        shape[self._axis(name)] = -1
        return np.where(is_better.reshape(shape), array, best)

    def weights(self, column: int) -> dict[str, np.ndarray]:
        """Return one head's weights, named as in `probe.prediction`; copies."""
        return {name: array.take(column, self._axis(name)) for name, array in self._weights.items()}

    def logits(self, features: Any, rows: np.ndarray, scaler: Scaler) -> np.ndarray:
        """Return what all heads say of some rows, (R, G, K) float32.

        Args:
            features: (M, D) floats that can be indexed by rows, not scaled.
            rows: (R,) row numbers.
            scaler: what is done to features first.
        """
        weights, columns = self._weights, len(self._columns)
        widest = columns * max(self._architecture.hidden, self._architecture.classes, 1)
        step = max(1, _SCORE_BYTES // (4 * (widest + self._architecture.dim)))
        found = np.empty((len(rows), columns, self._architecture.classes), np.float32)
        for start in range(0, len(rows), step):
            block = scaler.transform(features[rows[start : start + step]])
            if self._architecture.hidden:
                inside = np.tensordot(block, weights["hidden_kernel"], 1) + weights["hidden_bias"]
                block = np.maximum(inside, 0.0, out=inside)
                found[start : start + step] = np.einsum("rgh,ghk->rgk", block, weights["kernel"], optimize=True)
            else:
                found[start : start + step] = np.tensordot(block, weights["kernel"], 1)
        found += weights["bias"]
        return found

    def losses(self, features: Any, labels: np.ndarray, rows: np.ndarray, *, scaler: Scaler) -> np.ndarray:
        """Return each head's mean negative log-likelihood of some rows, (G,) float64; see `logits`."""
        total = np.zeros(len(self._columns))
        for start in range(0, len(rows), _LOSS_ROWS):
            here = rows[start : start + _LOSS_ROWS]
            logits = self.logits(features, here, scaler).astype(np.float64)
            top = logits.max(axis=2, keepdims=True)
            chosen = np.take_along_axis(logits - top, labels[here][:, None, None], axis=2)[..., 0]
            total += (np.log(np.exp(logits - top).sum(axis=2)) - chosen).sum(axis=0)
        return total / len(rows)
