"""What goes into the training of a head, and what comes out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.draws import draw_validation
from probe.scaling import fit_scaler

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CURVE_COLUMNS",
    "HeldOut",
    "Progress",
    "Trained",
    "TrainingData",
    "fixed_penalty",
    "no_curves",
]

Progress = Callable[[str], None]

CURVE_COLUMNS = (
    "epoch",
    "train_loss_running",
    "train_accuracy_running",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)


@dataclass(frozen=True)
class TrainingData:
    """Everything that a head may see before it is final: train, then validation. Never test.

    The first M rows are the images themselves, and all that is drawn or held out is drawn from these. The other
    N - M rows are views of images of train: they are fitted on where their image is, and nothing is ever scored on
    them.

    Attributes:
        features: (N, D) float32, finite, not scaled.
        labels: (N,) int64 in 0 … classes-1; every class is there.
        units: (M,) int64: rows of one unit (equal images, one group) must not be parted.
        tokens: the units' names, for salted draws.
        official_validation: how many images at the end are a validation part that was given; they have no views.
        classes: K.
        seed: of everything that is drawn.
        contents: M content hashes in hexadecimal, for a head that keeps rows and names them.
        metric: what selection goes by, one of `store.metrics.SELECTION_METRICS`.
        shots: training examples per class, where they were limited.
        view_of: (N - M,) int64: the image, below M, that each row of a view shows.
        view_numbers: (N - M,) int64: which of its views, from 1 on.
    """

    features: np.ndarray
    labels: np.ndarray
    units: np.ndarray
    tokens: Sequence[str]
    official_validation: int
    classes: int
    seed: int
    contents: Sequence[str] = ()
    metric: str = "accuracy"
    shots: int | None = None
    view_of: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    view_numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def images(self) -> int:
        """M: how many rows are images themselves, and no views."""
        return len(self.labels) - len(self.view_of)

    @property
    def image_labels(self) -> np.ndarray:
        """The labels of the images themselves, (M,) int64."""
        return self.labels[: self.images]

    @property
    def has_shared_units(self) -> bool:
        """Whether some rows must stay together."""
        return len(self.tokens) < self.images

    def with_views(self, images: np.ndarray) -> np.ndarray:
        """Return the rows to fit on where these images are trained on: they and their views.

        Args:
            images: increasing row numbers below M.

        Returns:
            Increasing row numbers; no other image's view is among them.
        """
        if not len(self.view_of):
            return images
        is_trained_on = np.zeros(self.images, bool)
        is_trained_on[images] = True
        return np.concatenate([images, self.images + np.flatnonzero(is_trained_on[self.view_of])])

    def holdout(self) -> tuple[np.ndarray, np.ndarray, str]:
        """Return training rows with their views, validation rows, and in words where validation comes from.

        The official validation part if there is one, else a tenth drawn by `draw_validation`.
        """
        if self.official_validation:
            first = self.images - self.official_validation
            train, held_out, origin = np.arange(first), np.arange(first, self.images), "the official validation part"
        else:
            is_drawn = draw_validation(self.image_labels, self.units, self.tokens, seed=self.seed)
            train, held_out, origin = (
                np.flatnonzero(~is_drawn),
                np.flatnonzero(is_drawn),
                "a tenth of train, drawn by seed",
            )
        return self.with_views(train), held_out, origin


@dataclass(frozen=True)
class HeldOut:
    """What the selected candidate says of rows that it was not trained on; the temperature is fitted on it.

    Attributes:
        labels: (n,) int.
        probabilities: (n, K) floating. Of cross-validation, every fold of the first repeat.
        rows: (n,) int: which image of the training data each is.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A head that was selected and refitted, ready for its one test.

    Attributes:
        head: plain arrays; see `probe.prediction`.
        n_validation: rows of the holdout that the head was selected on; 0 for cross-validation.
        selection: `method`, `selected`, `table`, `notes`, and what the head adds.
        fit: `converged`, `iterations`, and what the head adds.
        curves: a row per epoch, columns `CURVE_COLUMNS`.
        warnings: what a reader must know.
        packages: the distributions whose versions matter.
        held_out: predictions on rows not trained on, made before the refit; None if there are no such rows.
    """

    head: Mapping[str, np.ndarray]
    n_validation: int
    selection: Mapping[str, Any]
    fit: Mapping[str, Any]
    curves: "pd.DataFrame"
    packages: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())
    held_out: HeldOut | None = None


def no_curves() -> "pd.DataFrame":
    """Return the curves of a head that has no epochs: the columns, and no row."""
    import pandas as pd

    columns = {name: np.empty(0, np.int64 if name == "epoch" else np.float64) for name in CURVE_COLUMNS}
    return pd.DataFrame(columns)


def fixed_penalty(features: np.ndarray, scaling: str) -> float:
    """Return the penalty that stands where nothing can be selected: 1 for rows whose mean squared length is 1.

    It is alpha of ridge and 1 / C of logistic regression. Multiplying the features by s multiplies it by s²; on
    z-scored features it is D. On 5 shots of the digits' pixels ridge has 81% with it, and 54% with alpha = 1, which is
    scikit-learn's.

    Args:
        features: (N, D) floating, not scaled.
        scaling: zscore, l2 or none.

    Source: Tian et al. 2020, Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?, which takes
    C = 1 on features of unit length.
    """
    scaled = fit_scaler(scaling, features).transform(features, np.float64)
    square = float(np.einsum("nd,nd->n", scaled, scaled).mean())
    return float(f"{square:.12g}") if square > 0 else 1.0
