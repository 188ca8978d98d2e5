"""How the strength of regularisation is chosen: folds, scores, one standard error, edges of the grid.

scikit-learn is imported where it is used: the name of a run must be found without it.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe.heads.training import TrainingData
from probe.metrics import negative_log_likelihood

__all__ = ["Choice", "Folds", "Score", "choose", "extend_grid", "make_folds", "score_fold", "tabulate"]

CROSS_VALIDATION_BELOW = 5000
FOLDS = 5
# How far the grid may grow beyond either end before the search says so and stops.
MAX_EXTENSIONS = 3


@dataclass(frozen=True)
class Folds:
    """What heads are fitted on and scored on during selection.

    Attributes:
        pairs: (training rows, validation rows) of each fold, indices.
        method: in words.
        n_validation: rows of a holdout; 0 for cross-validation.
    """

    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]
    method: str
    n_validation: int

    @property
    def training_rows(self) -> float:
        """How many rows a fold is fitted on, on average."""
        return float(np.mean([len(train) for train, _ in self.pairs]))


@dataclass(frozen=True)
class Score:
    """One candidate on one fold, and on how many rows it was scored."""

    accuracy: float
    nll: float
    rows: int


@dataclass(frozen=True)
class Choice:
    """What the table says.

    Attributes:
        best: row of the highest mean accuracy; of equal ones the most regularised.
        selected: the most regularised row within one standard error of it.
        by_nll: row of the lowest mean NLL.
    """

    best: int
    selected: int
    by_nll: int


def make_folds(data: TrainingData) -> Folds | None:
    """Decide on which rows a head is selected.

    An official validation part; else, from 5,000 rows on, a drawn tenth; else stratified 5-fold
    cross-validation that keeps groups and equal pictures together.

    Returns:
        None if there are too few rows: some fold would train on one class only.
    """
    if data.official_validation or len(data.labels) >= CROSS_VALIDATION_BELOW:
        train, validation, origin = data.holdout()
        return _usable(Folds(((train, validation),), f"accuracy on {origin}", len(validation)), data.labels)
    folds = min(FOLDS, int(np.bincount(data.labels).max()), len(data.tokens))
    if folds < 2:
        return None
    pairs = _stratified(data, folds)
    kept = ", groups and equal pictures kept together" if data.has_shared_units else ""
    return _usable(Folds(pairs, f"accuracy in stratified {folds}-fold cross-validation{kept}", 0), data.labels)


def _usable(folds: Folds, labels: np.ndarray) -> Folds | None:
    pairs = tuple(pair for pair in folds.pairs if len(pair[1]))
    if not pairs or any(len(np.unique(labels[train])) < 2 for train, _ in pairs):
        return None
    return Folds(pairs, folds.method, folds.n_validation)


def _stratified(data: TrainingData, folds: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedGroupKFold if data.has_shared_units else StratifiedKFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=data.seed)
    with warnings.catch_warnings():
        # It warns of classes thinner than the folds; the run warns of thin classes itself.
        warnings.simplefilter("ignore", UserWarning)
        return tuple(splitter.split(np.zeros((len(data.labels), 1)), data.labels, data.units))


def score_fold(labels: np.ndarray, probabilities: np.ndarray) -> Score:
    """Score (N, K) probabilities against (N,) labels."""
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return Score(accuracy, negative_log_likelihood(labels, probabilities), len(labels))


def tabulate(candidates: Sequence[Mapping[str, float]], scores: Sequence[Sequence[Score]]) -> list[dict[str, Any]]:
    """Return a record per candidate: its options, `accuracy`, `standard_error`, `nll`.

    Args:
        candidates: option → value, such as {"C": 1.0}.
        scores: for each candidate its score on every fold. The standard error is that of the mean
            over the folds; with one fold it is binomial.
    """
    table = []
    for candidate, of_candidate in zip(candidates, scores, strict=True):
        accuracies = np.array([score.accuracy for score in of_candidate])
        accuracy = float(accuracies.mean())
        if len(accuracies) > 1:
            error = float(accuracies.std(ddof=1) / np.sqrt(len(accuracies)))
        else:
            error = float(np.sqrt(accuracy * (1 - accuracy) / of_candidate[0].rows))
        nll = float(np.mean([score.nll for score in of_candidate]))
        table.append({**candidate, "accuracy": accuracy, "standard_error": error, "nll": nll})
    return table


def choose(table: Sequence[dict[str, Any]]) -> Choice:
    """Choose from a table that is sorted from strong to weak regularisation.

    Source: the rule of one standard error is Breiman et al. 1984, Classification and Regression
    Trees, section 3.4.3.
    """
    accuracy = np.array([row["accuracy"] for row in table])
    best = int(accuracy.argmax())
    # Equal up to rounding counts as within.
    enough = accuracy[best] - table[best]["standard_error"] - 1e-12
    selected = int(np.flatnonzero(accuracy >= enough)[0])
    return Choice(best, selected, int(np.argmin([row["nll"] for row in table])))


def extend_grid(
    grid: Sequence[float], score: Callable[[float], Sequence[Score]], parameter: str = "C"
) -> tuple[list[float], list[Sequence[Score]], list[str], list[str]]:
    """Score a grid, and go on by whole decades where the best or the selected lies on its edge.

    Args:
        grid: candidates from strong to weak regularisation, increasing or decreasing, two or more.
        score: returns a candidate's score on every fold; is called along the grid in order.
        parameter: what the candidates are values of, for notes and warnings.

    Returns:
        The grid, its scores, notes on what was added, and warnings where the search had to stop on an edge.
    """
    found = list(grid)
    scores = [score(value) for value in found]
    notes: list[str] = []
    unresolved: list[str] = []
    weaker = 10.0 if found[-1] > found[0] else 0.1
    for end, factor, word in ((-1, weaker, "weak"), (0, 1 / weaker, "strong")):
        added = 0
        while _is_on_edge(found, scores, end) and added < MAX_EXTENSIONS:
            value = float(f"{found[end] * factor:.12g}")
            at = 0 if end == 0 else len(found)
            found.insert(at, value)
            scores.insert(at, score(value))
            added += 1
        if added:
            notes.append(f"the choice lay on the {word} edge: {added} decades added, to {parameter} = {found[end]:g}")
        if _is_on_edge(found, scores, end):
            unresolved.append(f"the choice still lies on the {word} edge of the grid, {parameter} = {found[end]:g}")
    return found, scores, notes, unresolved


def _is_on_edge(grid: Sequence[float], scores: Sequence[Sequence[Score]], end: int) -> bool:
    choice = choose(tabulate([{} for _ in grid], scores))
    edge = len(grid) - 1 if end == -1 else 0
    return edge in (choice.best, choice.selected)
