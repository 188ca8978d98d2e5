"""When a head has had enough epochs, for many heads at once."""

import numpy as np

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Stops each head after some epochs in which its validation loss has not become less than ever before.

    Source: Prechelt 1998, Early Stopping - But When?; `keras.callbacks.EarlyStopping` with `restore_best_weights`.

    Args:
        rows: (M,) numbers of the rows whose loss is watched, M ≥ 1.
        patience: how many epochs without a lower loss end it.
        heads: G.

    Attributes:
        epochs: (G,) int64, each head's best epoch, from 1 on.
    """

    def __init__(self, rows: np.ndarray, patience: int, heads: int) -> None:
        self.rows = rows
        self._patience = patience
        self._least = np.full(heads, np.inf)
        self._is_running = np.ones(heads, bool)
        self.epochs = np.ones(heads, np.int64)

    @property
    def is_over(self) -> bool:
        """Whether every head has stopped."""
        return not self._is_running.any()

    def see(self, epoch: int, losses: np.ndarray) -> np.ndarray:
        """Take the losses of an epoch, (G,); returns which heads are better than ever before, (G,) bool."""
        is_better = self._is_running & (losses < self._least)
        self._least[is_better] = losses[is_better]
        self.epochs[is_better] = epoch
        self._is_running &= epoch - self.epochs < self._patience
        return is_better
