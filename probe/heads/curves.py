"""What a head's training looks like from epoch to epoch."""

from collections.abc import Mapping

import numpy as np

from probe.metrics import negative_log_likelihood
from probe.prediction import predict_proba

__all__ = ["curve_row"]


def curve_row(
    epoch: int,
    running: tuple[float, float],
    head: Mapping[str, np.ndarray],
    *,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, float]:
    """Return a row of a head's curves, columns `probe.training.CURVE_COLUMNS`.

    Args:
        epoch: from 1 on.
        running: loss and accuracy, means over the epoch's batches while the weights still moved.
        head: its arrays at the epoch's end; see `probe.prediction`.
        train, validation: features, not scaled, and labels.
    """
    row: dict[str, float] = {
        "epoch": epoch,
        "train_loss_running": running[0],
        "train_accuracy_running": running[1],
    }
    for name, part in (("train", train), ("validation", validation)):
        if part is None:
            row[f"{name}_loss"] = row[f"{name}_accuracy"] = float("nan")
            continue
        probabilities = predict_proba(head, part[0])
        row[f"{name}_loss"] = negative_log_likelihood(part[1], probabilities)
        row[f"{name}_accuracy"] = float((probabilities.argmax(axis=1) == part[1]).mean())
    return row
