"""Ridge classification: the penalty selected along a path that one eigendecomposition a fold gives for nothing."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from probe.heads.options import HeadOptions
from probe.heads.ridge_path import RidgePath
from probe.prediction import head_arrays
from probe.scaling import Scaling, softmax
from probe.selection import (
    MAX_EXTENSIONS,
    Folds,
    Rule,
    Score,
    choose,
    describe_selection,
    extend_grid,
    make_folds,
    score_fold,
    tabulate,
    why_unselected,
)
from probe.sweep.rows import mean_variance
from probe.temperature import fit_temperatures
from probe.training import HeldOut, Progress, Trained, TrainingData, fixed_penalty, no_curves
from probe.workers import open_workers

__all__ = ["GRID", "RidgeOptions", "train_ridge"]

_Pair = tuple[np.ndarray, np.ndarray]
_Result = TypeVar("_Result")

# From strong to weak, four points a decade, as the path of `logistic` has them.
GRID = tuple(float(f"{alpha:.12g}") for alpha in 10.0 ** np.linspace(7, -4, 45))

# Where there are no rows to fit one on: scores as they are.
_UNSELECTED_TEMPERATURE = 1.0

# The final fit has converged if its normal equations hold to this share of their right side.
_SOLVED = 1e-6
# Of fewer numbers than these, folds are faster one after another than side by side in threads.
_SIDE_BY_SIDE = 1 << 18


class RidgeOptions(HeadOptions):
    """Options of `ridge`.

    Attributes:
        scaling: of the features.
        rule: how alpha is selected.
    """

    scaling: Scaling = "zscore"
    rule: Rule = "best"


def train_ridge(data: TrainingData, options: RidgeOptions, on_progress: Progress) -> Trained:
    """Select alpha, and refit on train and validation with λ = alpha / N held.

    The head predicts softmax(scores / T). T is fitted on rows that were held out, and lies in the kernel and the bias.
    """
    scaling = options.scaling
    folds = make_folds(data, options.rule)
    messages: list[str] = []
    held_out, temperature = None, _UNSELECTED_TEMPERATURE
    if folds is None:
        alpha = fixed_penalty(data.features, scaling)
        selection = _unselected(alpha, why_unselected(data))
    else:
        selection, messages, temperature, held_out = _select(data, folds, scaling, on_progress=on_progress)
        # λ = alpha / N: more rows, a larger alpha.
        alpha = selection["selected"]["alpha"] * len(data.labels) / folds.training_rows
    on_progress(f"ridge: final fit on {len(data.labels)} rows, alpha = {alpha:.3g}")
    path = RidgePath(data.features, data.labels, data.classes, rows=np.arange(len(data.labels)), scaling=scaling)
    (kernel,), (bias,) = path.kernels([alpha])
    residual = path.residual(alpha)
    if residual > _SOLVED:
        messages.append(f"the normal equations hold to {residual:.1g} only: alpha = {alpha:.3g} is too weak for them")
    fit = {
        "converged": residual <= _SOLVED,
        "iterations": 0,
        "alpha": alpha,
        "penalty": alpha / len(data.labels),
        "residual": residual,
        "temperature": temperature,
        "trainable_parameters": (data.features.shape[1] + 1) * (data.classes if data.classes > 2 else 1),
    }
    n_validation = folds.n_validation if folds else data.official_validation
    head = head_arrays(path.scaler, kernel / temperature, bias / temperature)
    packages = ("numpy", "scipy")
    return Trained(head, n_validation, selection, fit, no_curves(), packages, tuple(messages), held_out)


def _unselected(alpha: float, why: str) -> dict[str, Any]:
    note = f"{why}; alpha = {alpha:.3g}: the mean squared length of the rows (Tian et al. 2020); no temperature"
    return {"method": "none: a fixed penalty", "selected": {"alpha": alpha}, "table": [], "notes": [note]}


def _select(
    data: TrainingData, folds: Folds, scaling: str, *, on_progress: Progress
) -> tuple[dict[str, Any], list[str], float, HeldOut]:
    """Return the selection's document and its warnings; of the selected alpha, temperature and what was held out."""
    grid = grid_for(data.features, scaling)
    found, path = _search(data, folds, grid, scaling=scaling, on_progress=on_progress)
    alphas, scored, notes, unresolved = extend_grid(
        grid, lambda alpha: [score for score, _ in found[alpha]], "alpha", criterion=folds.criterion
    )
    table = tabulate([{"alpha": alpha} for alpha in alphas], scored, folds.criterion)
    choice = choose(table, folds.criterion)
    best, selected, by_nll = (table[row] for row in (choice.best, choice.selected, choice.by_nll))
    notes = [
        f"best alpha = {best['alpha']:g}; selected: {folds.criterion.told('the strongest penalty')}",
        f"by NLL: alpha = {by_nll['alpha']:g}, accuracy {by_nll['accuracy']:.4f}",
        "NLL of the scores divided by a temperature that is fitted on the rows held out",
        *notes,
        *unresolved,
    ]
    document = describe_selection(folds, table, choice, options=["alpha"], notes=notes)
    temperatures = [temperature for _, temperature in found[selected["alpha"]]]
    temperature = float(np.exp(np.mean(np.log(temperatures))))
    held_out = _hold_out(data, folds, scaling, alpha=selected["alpha"], temperature=temperature, known=path)
    return document, unresolved, temperature, held_out


def _search(
    data: TrainingData, folds: Folds, grid: Sequence[float], *, scaling: str, on_progress: Progress
) -> tuple[dict[float, list[tuple[Score, float]]], RidgePath | None]:
    """Return for each penalty the score and the temperature of every fold, and the path where there is one fold."""
    alphas = _with_extensions(grid)
    on_progress(f"ridge: {len(alphas)} penalties on {len(folds.pairs)} folds")

    def score(pair: _Pair) -> tuple[list[tuple[Score, float]], RidgePath | None]:
        train, held_out = pair
        path = RidgePath(data.features, data.labels, data.classes, rows=train, scaling=scaling)
        labels, found = data.labels[held_out], []
        for scores in path.scores_together(data.features, held_out, alphas):
            for of_alpha, temperature in zip(scores, fit_temperatures(scores, labels).tolist(), strict=True):
                found.append((score_fold(labels, softmax(of_alpha / temperature)), temperature))
        # A fold's decomposition is large, and a score for every penalty is not.
        return found, path if len(folds.pairs) == 1 else None

    scored = _over_folds(score, folds.pairs, numbers=data.features.size)
    by_alpha = {alpha: [of_fold[at] for of_fold, _ in scored] for at, alpha in enumerate(alphas)}
    return by_alpha, scored[0][1]


def _hold_out(
    data: TrainingData, folds: Folds, scaling: str, *, alpha: float, temperature: float, known: RidgePath | None
) -> HeldOut:
    """Return what one penalty says of the rows held out.

    Paths are made anew unless one is known: the scores of all penalties, kept until one is selected, might not fit in
    memory.
    """

    def predict(pair: _Pair) -> np.ndarray:
        train, held_out = pair
        path = known or RidgePath(data.features, data.labels, data.classes, rows=train, scaling=scaling)
        return softmax(path.scores(data.features, held_out, alpha) / temperature)

    probabilities = _over_folds(predict, folds.pairs[: folds.first_repeat], numbers=data.features.size)
    rows = folds.held_out_rows()
    return HeldOut(data.labels[rows], np.concatenate(probabilities), rows)


def _over_folds(function: Callable[[_Pair], _Result], pairs: Sequence[_Pair], *, numbers: int) -> list[_Result]:
    """Return the function's results: of several folds side by side, of one with all of BLAS's threads.

    Args:
        function: of a fold.
        pairs: the folds.
        numbers: how many numbers the features have; of few, folds are short, and threads would wait for each other.
    """
    if len(pairs) == 1:
        return [function(pairs[0])]
    with open_workers() as workers:
        return workers.map(function, pairs) if numbers >= _SIDE_BY_SIDE else [function(pair) for pair in pairs]


def grid_for(features: np.ndarray, scaling: str) -> tuple[float, ...]:
    """Return the penalties to try: of unscaled features times their mean variance; see `probe.sweep.search.grid_for`.

    Args:
        features: (N, D) floating, not scaled.
        scaling: zscore, l2 or none.
    """
    variance = mean_variance(features) if scaling == "none" else 1.0
    return tuple(float(f"{alpha * variance:.12g}") for alpha in GRID)


def _with_extensions(grid: Sequence[float]) -> list[float]:
    """Return a decreasing grid with the decades by which it may be extended: in a path they cost next to nothing."""
    decades = [10.0**step for step in range(1, MAX_EXTENSIONS + 1)]
    stronger = [float(f"{grid[0] * decade:.12g}") for decade in reversed(decades)]
    return [*stronger, *grid, *(float(f"{grid[-1] / decade:.12g}") for decade in decades)]
