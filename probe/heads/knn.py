"""The nearest neighbours by cosine: nothing is trained; how many of them vote is selected."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np

from probe.errors import LabelError
from probe.heads.options import Count, Grid, HeadOptions, Number
from probe.neighbours import UnitRows, Weights, find_neighbours, vote
from probe.prediction import neighbour_arrays
from probe.scaling import fit_scaler
from probe.selection import (
    Folds,
    Rule,
    Score,
    choose,
    describe_selection,
    make_folds,
    score_fold,
    tabulate,
    why_unselected,
)
from probe.training import HeldOut, Progress, Trained, TrainingData, no_curves

__all__ = ["KnnOptions", "train_knn"]

_GRID = (1, 5, 10, 20, 100)


class KnnOptions(HeadOptions):
    """Options of `knn`.

    Attributes:
        k: how many neighbours vote.
        weights: how much each vote counts: `softmax` of similarity / temperature, or alike.
        temperature: of these weights. Source: Caron et al. 2021, DINO, whose evaluation has it from Wu et al. 2018.
        scaling: of the features; cosine divides each row by its length in any case.
        rule: how k is selected.
    """

    k: Annotated[int | tuple[int, ...], Grid(Count, _GRID)] = _GRID
    weights: Weights = "softmax"
    temperature: Number = 0.07
    scaling: Literal["none", "zscore"] = "none"
    rule: Rule = "best"


def train_knn(data: TrainingData, options: KnnOptions, on_progress: Progress) -> Trained:
    """Select k, and keep all rows of train and validation as the bank."""
    folds = make_folds(data, options.rule)
    fewest = min(len(train) for train, _ in folds.pairs) if folds else len(data.labels)
    candidates, notes = _candidates(options.k, fewest)
    messages: list[str] = []
    selection: dict[str, Any] = {"method": "none: k is given", "table": []}
    k = candidates[0]
    held_out = None
    if folds is None:
        # The nearest alone: of few rows, more would be far away.
        k = candidates[-1]
        selection["method"] = "none"
        notes.append(f"{why_unselected(data)}; k = {k}, the least that was asked for")
    elif len(candidates) > 1:
        selection, messages, held_out = _select(data, folds, candidates, options=options, on_progress=on_progress)
        k = selection["selected"]["k"]
    on_progress(f"knn: final fit: a bank of {len(data.labels)} rows, k = {k}")
    head = neighbour_arrays(
        fit_scaler(options.scaling, data.features),
        data.features,
        data.labels,
        contents=data.contents,
        classes=data.classes,
        count=k,
        weights=options.weights,
        temperature=options.temperature,
        view_of=data.view_of,
        view_numbers=data.view_numbers,
    )
    fit = {"converged": True, "iterations": 0, "k": k, "bank_rows": len(data.labels), "trainable_parameters": 0}
    selection = {**selection, "selected": {"k": k}, "notes": [*selection.get("notes", ()), *notes]}
    n_validation = folds.n_validation if folds else data.official_validation
    return Trained(head, n_validation, selection, fit, no_curves(), ("numpy",), tuple(messages), held_out)


def _candidates(asked: int | Sequence[int], fewest: int) -> tuple[list[int], list[str]]:
    """Return the values of k to try, from strong to weak regularisation, and notes on those that are left out.

    The more neighbours vote, the smoother the borders between classes.

    Raises:
        LabelError: all are larger than the bank.
    """
    values = [asked] if isinstance(asked, int) else list(asked)
    possible = sorted((k for k in values if k <= fewest), reverse=True)
    if not possible:
        raise LabelError(f"knn: k = {min(values)}, and {fewest} rows to choose neighbours from; give a smaller k.")
    dropped = [str(k) for k in sorted(values) if k > fewest]
    return possible, [f"left out: k = {', '.join(dropped)}, of {fewest} training rows"] if dropped else []


def _select(
    data: TrainingData, folds: Folds, candidates: Sequence[int], *, options: KnnOptions, on_progress: Progress
) -> tuple[dict[str, Any], list[str], HeldOut]:
    """Return the selection's document and its warnings; of the selected k, what was held out."""
    found: dict[int, list[Score]] = {k: [] for k in candidates}
    kept: dict[int, list[np.ndarray]] = {k: [] for k in candidates}
    for number, (train, held_out) in enumerate(folds.pairs):
        on_progress(f"knn: fold {number + 1} of {len(folds.pairs)}, {len(candidates)} values of k")
        scaler = fit_scaler(options.scaling, data.features[train])
        queries, bank = UnitRows(data.features, scaler, held_out), UnitRows(data.features, scaler, train)
        rows, similarities = find_neighbours(queries, bank, max(candidates))
        labels = data.labels[train][rows]
        for k in candidates:
            votes = vote(
                labels[:, :k],
                similarities[:, :k],
                data.classes,
                weights=options.weights,
                temperature=options.temperature,
            )
            found[k].append(score_fold(data.labels[held_out], votes))
            if number < folds.first_repeat:
                kept[k].append(votes)
    table = tabulate([{"k": k} for k in candidates], [found[k] for k in candidates], folds.criterion)
    choice = choose(table, folds.criterion)
    best, selected, by_nll = (table[row] for row in (choice.best, choice.selected, choice.by_nll))
    notes = [
        f"best k = {best['k']}; selected: {folds.criterion.told('the most neighbours')}",
        f"by NLL: k = {by_nll['k']}, accuracy {by_nll['accuracy']:.4f}",
    ]
    document = describe_selection(folds, table, choice, options=["k"], notes=notes)
    # Nobody can have fewer neighbours than one, but more than the most is another matter.
    is_on_edge = best["k"] == candidates[0]
    warnings = [f"the best k lies on the edge of those tried, k = {best['k']}"] if is_on_edge else []
    rows = folds.held_out_rows()
    return document, warnings, HeldOut(data.labels[rows], np.concatenate(kept[selected["k"]]), rows)
