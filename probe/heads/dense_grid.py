"""Dense heads beyond the lesson's: learning rate and weight decay selected from a grid, trained as one wide layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.heads.curves import curve_row
from probe.heads.dense_options import DenseOptions
from probe.heads.early_stopping import EarlyStopping
from probe.heads.wide import Epoch, WideDense
from probe.heads.wide_steps import Architecture, Column
from probe.prediction import head_arrays, predict_proba
from probe.scaling import Scaler, fit_scaler, softmax
from probe.selection import Folds, Score, choose, describe_selection, make_folds, score_fold, tabulate, why_unselected
from probe.training import CURVE_COLUMNS, HeldOut, Progress, Trained, TrainingData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["train_dense_grid"]

# Where nothing can be selected: Adam's own default (Kingma and Ba 2015).
_UNSELECTED_RATE = 1e-3
# Numbers that heads trained together may have, each five times: weight, two moments, gradient, and the new weight.
_PARAMETERS_TOGETHER = 32 << 20


@dataclass(frozen=True)
class _Selected:
    """One column, for how many epochs to train it, and what the record says of the choice."""

    column: Column
    epochs: int
    document: dict[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Followed:
    """A fit without validation: its curves, its best epoch, and what it says of the validation rows."""

    curves: "pd.DataFrame"
    epochs: int
    held_out: HeldOut | None


@dataclass(frozen=True)
class _Searched:
    """What a fit of each column on every fold gave: scores [G][F], epochs (G, F), and whether it diverged (G, F)."""

    scores: list[list[Score]]
    epochs: np.ndarray
    has_diverged: np.ndarray


def train_dense_grid(data: TrainingData, options: DenseOptions, on_progress: Progress) -> Trained:
    """Select a column of the grid, and refit it on train and validation.

    Candidates are ordered by weight decay, the larger the more regularised, and then by learning rate, the lower the
    more regularised: in a fixed number of steps a lower rate leads less far from the start. With `patience` each column
    keeps the epoch of its least validation loss, and the refit, which has no validation rows, takes as many epochs as
    the selected column took on average over the folds.
    """
    architecture = Architecture(
        data.features.shape[1], data.classes, options.hidden, options.dropout, options.batch_size
    )
    columns = _columns(options)
    folds = make_folds(data, options.rule) if len(columns) > 1 else None
    if folds is None:
        chosen = _unselected(columns, data, options)
    else:
        chosen = _select(data, folds, columns, architecture=architecture, options=options, on_progress=on_progress)
    rows, held_out, origin = data.holdout()
    wide = WideDense(architecture, [chosen.column], seed=data.seed, rows=len(data.labels))
    on_progress(f"dense: {len(rows)} rows, followed on {len(held_out)}")
    followed = _follow(wide, data, rows, held_out=held_out, options=options, on_progress=on_progress)
    is_stopped = options.patience > 0 and len(held_out) > 0
    epochs = followed.epochs if folds is None and is_stopped else chosen.epochs
    on_progress(f"dense: final fit on {len(data.labels)} rows")
    scaler, everything = fit_scaler(options.scaling, data.features), np.arange(len(data.labels))
    wide.fit(data.features, data.labels, everything, scaler=scaler, epochs=epochs)
    (loss,) = wide.losses(data.features, data.labels, everything, scaler=scaler)
    notes = [*chosen.document["notes"], f"the curves are of a first fit, on {origin}; the head is refitted on all rows"]
    if is_stopped:
        notes.append(f"early stopping: the refit takes {epochs} of at most {options.epochs} epochs")
    diverged = () if np.isfinite(loss) else ("the loss is not finite: training diverged",)
    return Trained(
        head=_arrays(wide, scaler),
        n_validation=folds.n_validation if folds else len(held_out),
        selection={**chosen.document, "notes": notes},
        fit=_describe(float(loss), epochs, chosen.column, architecture=architecture, rows=len(data.labels)),
        curves=followed.curves,
        packages=("numpy", "tensorflow"),
        warnings=(*chosen.warnings, *diverged),
        held_out=followed.held_out,
    )


def _columns(options: DenseOptions) -> list[Column]:
    """Return the grid from strong to weak regularisation."""
    rates, decays = (
        values if isinstance(values, tuple) else (values,) for values in (options.learning_rate, options.weight_decay)
    )
    return [Column(rate, decay) for decay in sorted(decays, reverse=True) for rate in sorted(rates)]


def _unselected(columns: Sequence[Column], data: TrainingData, options: DenseOptions) -> _Selected:
    def distance(column: Column) -> tuple[float, float]:
        return abs(float(np.log(column.learning_rate / _UNSELECTED_RATE))), column.weight_decay

    column = min(columns, key=distance)
    document: dict[str, Any] = {"method": "none: a fixed recipe", "selected": _named(column), "table": [], "notes": []}
    if len(columns) > 1:
        document["method"] = "none"
        document["notes"] = [f"{why_unselected(data)}; the learning rate next to {_UNSELECTED_RATE:g}"]
    return _Selected(column, options.epochs, document)


def _named(column: Column) -> dict[str, float]:
    return {"learning_rate": column.learning_rate, "weight_decay": column.weight_decay}


def _select(
    data: TrainingData,
    folds: Folds,
    columns: Sequence[Column],
    *,
    architecture: Architecture,
    options: DenseOptions,
    on_progress: Progress,
) -> _Selected:
    found = _search(data, folds, columns, architecture=architecture, options=options, on_progress=on_progress)
    table = tabulate([_named(column) for column in columns], found.scores, folds.criterion)
    choice = choose(table, folds.criterion)
    best, by_nll = columns[choice.best], columns[choice.by_nll]
    diverged = int(found.has_diverged.any(axis=1).sum())
    warnings = _edges(best, columns)
    notes = [
        f"best {_told(best)}; selected: {folds.criterion.told('the largest weight decay, then the lowest rate,')}",
        f"by NLL: {_told(by_nll)}, accuracy {table[choice.by_nll]['accuracy']:.4f}",
        *([f"{diverged} of {len(columns)} candidates diverged"] if diverged else []),
        *warnings,
    ]
    document = describe_selection(folds, table, choice, options=list(_named(best)), notes=notes)
    return _Selected(columns[choice.selected], round(float(found.epochs[choice.selected].mean())), document, warnings)


def _told(column: Column) -> str:
    return f"learning rate = {column.learning_rate:g}, weight decay = {column.weight_decay:g}"


def _edges(best: Column, columns: Sequence[Column]) -> tuple[str, ...]:
    """Return warnings where the best lies on an edge of the grid; without weight decay nothing lies beyond."""
    warnings = []
    for name in ("learning_rate", "weight_decay"):
        values = {getattr(column, name) for column in columns}
        value = getattr(best, name)
        if len(values) > 1 and value and value in (min(values), max(values)):
            warnings.append(f"the best {name.replace('_', ' ')} lies on the edge of those tried, {value:g}")
    return tuple(warnings)


def _search(
    data: TrainingData,
    folds: Folds,
    columns: Sequence[Column],
    *,
    architecture: Architecture,
    options: DenseOptions,
    on_progress: Progress,
) -> _Searched:
    """Fit every column on every fold: as many columns side by side as memory has room for."""
    most = max(len(train) for train, _ in folds.pairs)
    together = max(1, _PARAMETERS_TOGETHER // architecture.parameters)
    scores: list[list[Score]] = [[] for _ in columns]
    epochs = np.full((len(columns), len(folds.pairs)), options.epochs)
    has_diverged = np.zeros((len(columns), len(folds.pairs)), bool)
    for first in range(0, len(columns), together):
        group = columns[first : first + together]
        wide = WideDense(architecture, group, seed=data.seed, rows=most)
        for fold, (train, held_out) in enumerate(folds.pairs):
            on_progress(f"dense: fold {fold + 1} of {len(folds.pairs)}, {len(group)} heads side by side")
            scaler = fit_scaler(options.scaling, data.features[train])
            stopping = EarlyStopping(held_out, options.patience, len(group)) if options.patience else None
            wide.fit(data.features, data.labels, train, scaler=scaler, epochs=options.epochs, stopping=stopping)
            logits = wide.logits(data.features, held_out, scaler)
            for at in range(len(group)):
                score, has_diverged[first + at, fold] = _score(data.labels[held_out], logits[:, at])
                scores[first + at].append(score)
            if stopping is not None:
                epochs[first : first + len(group), fold] = stopping.epochs
    return _Searched(scores, epochs, has_diverged)


def _score(labels: np.ndarray, logits: np.ndarray) -> tuple[Score, bool]:
    """Return the score of (R, K) logits, and whether training diverged: such a head knows nothing."""
    has_diverged = not np.isfinite(logits).all()
    return score_fold(
        labels, softmax(np.zeros_like(logits) if has_diverged else logits.astype(np.float64))
    ), has_diverged


def _follow(
    wide: WideDense,
    data: TrainingData,
    rows: np.ndarray,
    *,
    held_out: np.ndarray,
    options: DenseOptions,
    on_progress: Progress,
) -> _Followed:
    import pandas as pd

    scaler = fit_scaler(options.scaling, data.features[rows])
    train = data.features[rows], data.labels[rows]
    validation = (data.features[held_out], data.labels[held_out]) if len(held_out) else None
    stopping = EarlyStopping(held_out, options.patience, 1) if options.patience and validation else None
    curves: list[dict[str, float]] = []

    def end_epoch(epoch: Epoch) -> None:
        running = float(epoch.loss[0]), float(epoch.accuracy[0])
        curves.append(curve_row(epoch.number, running, _arrays(wide, scaler), train=train, validation=validation))
        on_progress(f"dense: epoch {epoch.number} of {options.epochs}, loss {curves[-1]['train_loss']:.4f}")

    wide.fit(
        data.features, data.labels, rows, scaler=scaler, epochs=options.epochs, stopping=stopping, on_epoch=end_epoch
    )
    known = None
    if validation:
        known = HeldOut(validation[1], predict_proba(_arrays(wide, scaler), validation[0]), held_out)
    epochs = int(stopping.epochs[0]) if stopping else options.epochs
    return _Followed(pd.DataFrame(curves, columns=list(CURVE_COLUMNS)), epochs, known)


def _arrays(wide: WideDense, scaler: Scaler) -> dict[str, np.ndarray]:
    """Return the first head as plain arrays; see `probe.prediction`."""
    weights = wide.weights(0)
    hidden = (weights["hidden_kernel"], weights["hidden_bias"]) if "hidden_kernel" in weights else None
    return head_arrays(scaler, weights["kernel"], weights["bias"], hidden=hidden)


def _describe(loss: float, epochs: int, column: Column, *, architecture: Architecture, rows: int) -> dict[str, Any]:
    is_finite = bool(np.isfinite(loss))
    return {
        "converged": is_finite,
        "converged_means": "the loss is finite after so many epochs; no optimum is claimed",
        "iterations": -(-rows // architecture.batch_size) * epochs,
        "epochs": epochs,
        "final_loss": loss if is_finite else None,
        **_named(column),
        "trainable_parameters": architecture.parameters,
    }
