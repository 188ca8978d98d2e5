"""Nested cross-validation: every image is tested once, by a head that was selected and trained without it.

The honest figure for a few hundred images, of which a fifth tells little. Folds are stratified and keep units whole;
selection happens anew in each, on its own training images. The head that is kept is one more, of all images.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from probe.errors import LabelError
from probe.prediction import predict_proba
from probe.selection import fold_of_each
from probe.training import Trained, TrainingData

__all__ = ["predict_by_folds"]


def predict_by_folds(data: TrainingData, folds: int, train: Callable[[TrainingData, str], Trained]) -> np.ndarray:
    """Return for every image the probabilities that a head gives which has not seen it.

    Args:
        data: all images; no views, and no validation part.
        folds: K.
        train: selects and trains on some of them; is told which fold that is, in words.

    Returns:
        (N, K) float64; a class that a fold's training images lack has no probability there.

    Raises:
        LabelError: fewer units than folds, or a fold that leaves one class to train on.
    """
    if len(data.tokens) < folds:
        raise LabelError(
            f"folds = {folds}, and {len(data.tokens)} images (or groups) to put into them; ask for fewer folds."
        )
    (state,) = np.random.SeedSequence((data.seed, folds)).generate_state(1)
    fold_of = fold_of_each(data, folds, int(state))
    found = np.zeros((data.images, data.classes))
    for fold in range(folds):
        rows, held_out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if not len(held_out):
            continue
        shown = np.unique(data.labels[rows])
        if len(shown) < 2:
            raise LabelError(f"folds = {folds}: fold {fold + 1} leaves one class to train on; ask for fewer folds.")
        trained = train(_some_of(data, rows, shown), f"fold {fold + 1} of {folds}: ")
        found[np.ix_(held_out, shown)] = predict_proba(trained.head, data.features[held_out])
    return found


def _some_of(data: TrainingData, rows: np.ndarray, shown: np.ndarray) -> TrainingData:
    """Return the data of some images, whose labels count the classes that these show."""
    units, own = np.unique(data.units[rows], return_inverse=True)
    return replace(
        data,
        features=np.ascontiguousarray(data.features[rows]),
        labels=np.searchsorted(shown, data.labels[rows]),
        units=own.astype(np.int64),
        tokens=[data.tokens[unit] for unit in units.tolist()],
        classes=len(shown),
        contents=[data.contents[row] for row in rows.tolist()] if len(data.contents) else data.contents,
    )
