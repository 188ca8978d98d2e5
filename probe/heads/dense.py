"""The lesson's head: a Keras Dense layer with softmax on cached features.

TensorFlow and Keras are imported inside functions: nothing else of `probe` waits for them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.heads.curves import curve_row
from probe.heads.dense_grid import train_dense_grid
from probe.heads.dense_options import DenseOptions
from probe.prediction import head_arrays, predict_proba
from probe.scaling import Scaler, fit_scaler
from probe.training import CURVE_COLUMNS, HeldOut, Progress, Trained, TrainingData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DenseHead", "train_dense"]

# Keras trains what is the lesson's own, with numbers of its own for these; all else goes through `dense_grid`.
_LESSON = ("epochs", "batch_size", "learning_rate", "scaling")


class DenseHead:
    """Keras Dense softmax: Adam, sparse categorical cross-entropy, a fixed number of epochs.

    Args:
        classes: K ≥ 2.
        epochs, batch_size, learning_rate: of the training.
        scaling: zscore, l2 or none, fitted on the rows of `fit`.
        seed: of the initial weights and the order of the batches.
        initial_kernel: (D, K), instead of Glorot-uniform weights that the seed draws.
        initial_bias: (K,), instead of zeros.
        is_shuffled: False trains on the rows in the order given, the same in every epoch.

    Attributes:
        curves: a row per epoch, columns `probe.training.CURVE_COLUMNS`, after `fit`.
    """

    def __init__(
        self,
        classes: int,
        *,
        epochs: int = 6,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        scaling: str = "none",
        seed: int = 0,
        initial_kernel: np.ndarray | None = None,
        initial_bias: np.ndarray | None = None,
        is_shuffled: bool = True,
    ) -> None:
        self._classes = classes
        self._epochs, self._batch_size, self._learning_rate = epochs, batch_size, learning_rate
        self._scaling, self._seed, self._is_shuffled = scaling, seed, is_shuffled
        self._initial = (initial_kernel, initial_bias)
        self._scaler: Scaler
        self._model: Any = None
        self.curves: pd.DataFrame

    @property
    def trainable_parameters(self) -> int:
        """How many numbers were trained: D K + K."""
        return sum(int(np.prod(variable.shape)) for variable in self._model.trainable_variables)

    def fit(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        on_progress: Progress = lambda _: None,
    ) -> None:
        """Train.

        Args:
            features: (N, D) floating, not scaled.
            labels: (N,) int in 0 … K-1.
            validation: features (M, D), not scaled, and labels (M,) to follow in the curves; trains nothing.
            on_progress: is told of every epoch.
        """
        import keras
        import pandas as pd

        # Resets the generators of Python, NumPy and TensorFlow: weights and batch order repeat.
        keras.utils.set_random_seed(self._seed)
        self._scaler = fit_scaler(self._scaling, features)
        self._model = self._build(features.shape[1])
        scaled = self._scaler.transform(features)

        rows: list[dict[str, float]] = []

        def end_epoch(epoch: int, logs: Mapping[str, float]) -> None:
            running = float(logs["loss"]), float(logs["accuracy"])
            rows.append(curve_row(epoch + 1, running, self.arrays(), train=(features, labels), validation=validation))
            on_progress(f"dense: epoch {epoch + 1}/{self._epochs}, loss {rows[-1]['train_loss']:.4f}")

        self._model.fit(
            scaled,
            labels,
            batch_size=self._batch_size,
            epochs=self._epochs,
            shuffle=self._is_shuffled,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end_epoch)],
        )
        self.curves = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return (N, K) probabilities for (N, D) features, not scaled, as the Keras model gives them."""
        return np.asarray(self._model.predict(self._scaler.transform(features), verbose=0))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the trained head as plain arrays; see `probe.prediction`."""
        kernel, bias = self._model.layers[-1].get_weights()
        return head_arrays(self._scaler, kernel, bias)

    def _build(self, dim: int) -> Any:
        import keras

        dense = keras.layers.Dense(self._classes, activation="softmax")
        model = keras.Sequential([keras.Input((dim,)), dense])
        kernel, bias = self._initial
        drawn_kernel, drawn_bias = dense.get_weights()
        dense.set_weights([drawn_kernel if kernel is None else kernel, drawn_bias if bias is None else bias])
        model.compile(
            optimizer=keras.optimizers.Adam(self._learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(),
            metrics=["accuracy"],
            # Compiling to XLA costs more seconds than one layer can win back.
            jit_compile=False,
        )
        return model


def train_dense(data: TrainingData, options: DenseOptions, on_progress: Progress) -> Trained:
    """Train the lesson's recipe with Keras; a grid, decay, patience, a hidden layer or dropout as `dense_grid` does."""
    is_grid = isinstance(options.learning_rate, tuple) or isinstance(options.weight_decay, tuple)
    if is_grid or options.weight_decay or options.patience or options.hidden or options.dropout:
        return train_dense_grid(data, options, on_progress)
    return _train_lesson(data, options, on_progress)


def _train_lesson(data: TrainingData, options: DenseOptions, on_progress: Progress) -> Trained:
    """Train twice with one recipe and seed: without validation for the curves, then on all rows for the head.

    In the curves `…_running` is the mean over an epoch while the weights still move (what Keras
    prints), and `train_…` the figure at the epoch's end. `converged` says that the final loss is
    finite: after a fixed number of epochs nobody claims an optimum.
    """
    recipe = {name: getattr(options, name) for name in _LESSON}
    train, held_out, origin = data.holdout()
    on_progress(f"dense: {len(train)} rows, followed on {len(held_out)}")
    followed = DenseHead(data.classes, seed=data.seed, **recipe)
    validation = (data.features[held_out], data.labels[held_out]) if len(held_out) else None
    followed.fit(data.features[train], data.labels[train], validation, on_progress=on_progress)
    on_progress(f"dense: final fit on {len(data.labels)} rows")
    head = DenseHead(data.classes, seed=data.seed, **recipe)
    head.fit(data.features, data.labels)
    loss = float(head.curves["train_loss"].iloc[-1])
    is_finite = bool(np.isfinite(loss))
    fit = {
        "converged": is_finite,
        "converged_means": "the loss is finite after a fixed number of epochs; no optimum is claimed",
        "iterations": int(np.ceil(len(data.labels) / options.batch_size)) * options.epochs,
        "epochs": options.epochs,
        "final_loss": loss if is_finite else None,
        "trainable_parameters": head.trainable_parameters,
    }
    selection = {
        "method": f"none: a fixed recipe, its curves on {origin}",
        "selected": {},
        "table": [],
        "notes": ["the curves are of a first fit without validation; the head is refitted on all rows"],
    }
    warnings = () if is_finite else ("the loss is not finite: training diverged",)
    packages = ("numpy", "keras", "tensorflow")
    known = None
    if validation is not None:
        known = HeldOut(validation[1], predict_proba(followed.arrays(), validation[0]), held_out)
    return Trained(head.arrays(), len(held_out), selection, fit, followed.curves, packages, warnings, known)
