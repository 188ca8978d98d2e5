"""How the strength of regularisation is chosen: folds, scores, one standard error, edges of the grid.

scikit-learn is imported where images share units, and nowhere else: it takes longer to import than a head to train.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from probe.metrics import negative_log_likelihood, recalls_of
from probe.training import TrainingData

__all__ = [
    "BY_ACCURACY",
    "RULES",
    "Choice",
    "Criterion",
    "Folds",
    "Rule",
    "Score",
    "choose",
    "describe_selection",
    "extend_grid",
    "fold_of_each",
    "make_folds",
    "score_fold",
    "stratified_folds",
    "tabulate",
    "why_unselected",
]

CROSS_VALIDATION_BELOW = 5000
FOLDS = 5
# Cross-validation is repeated until its folds have held out about this many rows, at least twice and at most five
# times: what few rows lack in precision they pay in time.
_REPEATED_ROWS = 2500
_MOST_REPEATS = 5
# Up to here a validation fold would hold one example of a class, or none: the penalty is fixed instead.
FIXED_UP_TO_SHOTS = 5
# How far the grid may grow beyond either end before the search says so and stops.
MAX_EXTENSIONS = 3
# How a candidate is chosen by its scores.
Rule = Literal["best", "best_nll", "one_se", "nll"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class Criterion:
    """What a choice goes by.

    Attributes:
        metric: one of `store.metrics.SELECTION_METRICS`.
        repeat_of: for each fold, which repeat of cross-validation it belongs to; empty for one repeat.
        rule: one of `RULES`. `best`: the highest score. `best_nll`: of those within one standard error of their
            difference to it, the lowest NLL. `one_se`: the most regularised within one standard error of it. `nll`: the
            lowest NLL.
    """

    metric: str = "accuracy"
    repeat_of: tuple[int, ...] = ()
    rule: str = RULES[0]

    def told(self, preferred: str) -> str:
        """Return the rule in words; `preferred` says what counts as more regularised."""
        return {
            "best": "the best itself",
            "best_nll": "the lowest NLL within one standard error of the difference to it",
            "one_se": f"{preferred} within one standard error",
            "nll": "the lowest NLL",
        }[self.rule]


BY_ACCURACY = Criterion()


@dataclass(frozen=True)
class Folds:
    """What heads are fitted on and scored on during selection.

    Attributes:
        pairs: (training rows, validation rows) of each fold, indices; one repeat after the other.
        method: in words.
        n_validation: rows of a holdout; 0 for cross-validation.
        criterion: what the choice goes by.
    """

    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]
    method: str
    n_validation: int
    criterion: Criterion = BY_ACCURACY

    @property
    def training_rows(self) -> float:
        """How many rows a fold is fitted on, on average."""
        return float(np.mean([len(train) for train, _ in self.pairs]))

    @property
    def first_repeat(self) -> int:
        """How many of the first folds hold out no row twice."""
        return self.criterion.repeat_of.count(0) or len(self.pairs)

    def held_out_rows(self) -> np.ndarray:
        """Return the rows that the folds of the first repeat hold out, fold after fold; none is duplicated."""
        return np.concatenate([held_out for _, held_out in self.pairs[: self.first_repeat]])


@dataclass(frozen=True)
class Score:
    """One candidate on one fold, and on how many rows it was scored.

    Attributes:
        balanced_error: the standard error of the balanced accuracy on this one fold.
        is_right: (rows,) bool: what it has right; None where only the score is known.
        labels: (rows,) int, of the rows.
    """

    accuracy: float
    nll: float
    rows: int
    balanced_accuracy: float = float("nan")
    balanced_error: float = float("nan")
    is_right: np.ndarray | None = field(default=None, compare=False, repr=False)
    labels: np.ndarray | None = field(default=None, compare=False, repr=False)

    def of(self, metric: str) -> float:
        """Return the score by a metric."""
        return self.balanced_accuracy if metric == "balanced_accuracy" else self.accuracy

    def error_of(self, metric: str) -> float:
        """Return the standard error of the score by a metric, that of a binomial sample."""
        if metric == "balanced_accuracy":
            return self.balanced_error
        return float(np.sqrt(self.accuracy * (1 - self.accuracy) / self.rows))

    def error_of_difference(self, other: "Score", metric: str) -> float:
        """Return the standard error of the difference to another candidate's score on the same rows; NaN if unknown."""
        if self.is_right is None or other.is_right is None or self.labels is None:
            return float("nan")
        differences = self.is_right.astype(np.float64) - other.is_right
        if metric == "accuracy":
            return float(np.std(differences) / np.sqrt(self.rows))
        counts = np.bincount(self.labels)
        occurs = counts > 0
        sums = np.bincount(self.labels, differences)[occurs]
        squares = np.bincount(self.labels, np.square(differences))[occurs]
        means = sums / counts[occurs]
        return float(np.sqrt(((squares / counts[occurs] - means**2) / counts[occurs]).sum()) / occurs.sum())


@dataclass(frozen=True)
class Choice:
    """What the table says.

    Attributes:
        best: row of the highest mean score; of equal ones the most regularised.
        selected: the row that the rule takes; see `Criterion`.
        by_nll: row of the lowest mean NLL.
    """

    best: int
    selected: int
    by_nll: int


def make_folds(data: TrainingData, rule: str = RULES[0]) -> Folds | None:
    """Decide on which rows a head is selected.

    An official validation part; else, from 5,000 rows on, a drawn tenth; else repeated stratified 5-fold
    cross-validation that keeps groups and equal images together.

    Args:
        data: what may be seen.
        rule: how a candidate is chosen, one of `RULES`.

    Returns:
        None if there is nothing to select on; `why_unselected` says why.
    """
    if data.shots is not None and data.shots <= FIXED_UP_TO_SHOTS:
        return None
    word = data.metric.replace("_", " ")
    if data.official_validation or data.images >= CROSS_VALIDATION_BELOW:
        train, validation, origin = data.holdout()
        criterion = Criterion(data.metric, rule=rule)
        return _usable(Folds(((train, validation),), f"{word} on {origin}", len(validation), criterion), data.labels)
    folds = min(FOLDS, int(np.bincount(data.image_labels).max()), len(data.tokens))
    if folds < 2:
        return None
    repeats = min(_MOST_REPEATS, max(2, _REPEATED_ROWS // data.images))
    pairs, repeat_of = _stratified(data, folds, repeats)
    kept = ", groups and equal images kept together" if data.has_shared_units else ""
    method = f"{word} in stratified {folds}-fold cross-validation, {repeats} times{kept}"
    return _usable(Folds(pairs, method, 0, Criterion(data.metric, repeat_of, rule)), data.labels)


def why_unselected(data: TrainingData) -> str:
    """Return why `make_folds` gives no folds, as the beginning of a note."""
    if data.shots is not None and data.shots <= FIXED_UP_TO_SHOTS:
        return f"{data.shots} per class, up to {FIXED_UP_TO_SHOTS}: nothing to select on"
    return "too few rows to select on"


def _usable(folds: Folds, labels: np.ndarray) -> Folds | None:
    is_one_sided = any(len(np.unique(labels[train])) < 2 for train, _ in folds.pairs)
    return None if is_one_sided or not len(folds.held_out_rows()) else folds


def _stratified(
    data: TrainingData, folds: int, repeats: int
) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], tuple[int, ...]]:
    """Return the folds' (training rows, validation rows), and of which repeat each is."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    repeat_of: list[int] = []
    for repeat in range(repeats):
        # The repeats of one seed must not be the first repeats of the next.
        (state,) = np.random.SeedSequence((data.seed, repeat)).generate_state(1)
        fold_of = fold_of_each(data, folds, int(state))
        held_out_rows = [np.flatnonzero(fold_of == fold) for fold in range(folds)]
        # Few groups may leave a fold without any row to score on.
        usable = [held_out for held_out in held_out_rows if len(held_out)]
        for held_out in usable:
            pairs.append((data.with_views(np.setdiff1d(np.arange(data.images), held_out)), held_out))
        repeat_of += [repeat] * len(usable)
    return tuple(pairs), tuple(repeat_of)


def fold_of_each(data: TrainingData, folds: int, state: int) -> np.ndarray:
    """Return which fold holds out each image, (N,) int: stratified, and whole units where images share them."""
    if not data.has_shared_units:
        return stratified_folds(data.image_labels, folds, state)
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=state)
    fold_of = np.empty(data.images, dtype=np.int64)
    with warnings.catch_warnings():
        # It warns of classes thinner than the folds; the run warns of thin classes itself.
        warnings.simplefilter("ignore", UserWarning)
        found = splitter.split(np.zeros((data.images, 1)), data.image_labels, data.units)
        for fold, (_, held_out) in enumerate(found):
            fold_of[held_out] = fold
    return fold_of


def stratified_folds(labels: np.ndarray, folds: int, state: int) -> np.ndarray:
    """Return which fold holds out each row: those of `sklearn.model_selection.StratifiedKFold`, shuffled.

    They are drawn here because scikit-learn takes a second to import, which is more than most heads take to train.

    Args:
        labels: (N,) int.
        folds: at least 2, at most the rows of the largest class.
        state: the `random_state` of scikit-learn's splitter.

    Returns:
        (N,) int in 0 … folds-1.
    """
    # scikit-learn's splitters draw from this generator.
    rng = np.random.RandomState(state)
    names, first = np.unique(labels, return_index=True)
    # Classes in the order in which they first occur, each dealt to the folds where the one before it stopped.
    names = names[np.argsort(first)]
    ends = np.cumsum([0, *((labels == name).sum() for name in names)])
    fold_of = np.empty(len(labels), dtype=np.int64)
    for name, start, end in zip(names, ends[:-1], ends[1:], strict=True):
        of_class = np.sort(np.arange(start, end) % folds)
        rng.shuffle(of_class)
        fold_of[labels == name] = of_class
    return fold_of


def score_fold(labels: np.ndarray, probabilities: np.ndarray) -> Score:
    """Score (N, K) probabilities against (N,) labels."""
    predicted = probabilities.argmax(axis=1)
    recalls, counts = recalls_of(labels, predicted, probabilities.shape[1])
    return Score(
        accuracy=float((predicted == labels).mean()),
        nll=negative_log_likelihood(labels, probabilities),
        rows=len(labels),
        balanced_accuracy=float(recalls.mean()),
        balanced_error=float(np.sqrt((recalls * (1 - recalls) / counts).sum()) / len(recalls)),
        is_right=predicted == labels,
        labels=labels,
    )


def tabulate(
    candidates: Sequence[Mapping[str, float]],
    scores: Sequence[Sequence[Score]],
    criterion: Criterion = BY_ACCURACY,
) -> list[dict[str, Any]]:
    """Return a record per candidate: its options, `accuracy` (and the criterion's metric), `standard_error`, `nll`.

    `paired_error` is the standard error of its difference to the best, on the same rows.

    Args:
        candidates: option → value, such as {"C": 1.0}.
        scores: for each candidate its score on every fold.
        criterion: the standard error is that of its metric; see `_standard_error`.
    """
    metric = criterion.metric
    table = []
    for candidate, of_candidate in zip(candidates, scores, strict=True):
        record: dict[str, Any] = dict(candidate)
        for name in dict.fromkeys(("accuracy", metric)):
            record[name] = float(np.mean([score.of(name) for score in of_candidate]))
        record["standard_error"] = _standard_error(of_candidate, criterion)
        record["nll"] = float(np.mean([score.nll for score in of_candidate]))
        table.append(record)
    best = scores[int(np.argmax([row[metric] for row in table]))]
    for record, of_candidate in zip(table, scores, strict=True):
        record["paired_error"] = _paired_error(of_candidate, best, criterion)
    return table


def _standard_error(scores: Sequence[Score], criterion: Criterion) -> float:
    """Return the standard error of the mean over folds; with one fold, that of a binomial sample."""
    metric = criterion.metric
    if len(scores) == 1:
        return scores[0].error_of(metric)
    found = _error_over_folds(np.array([score.of(metric) for score in scores]), criterion)
    return float(np.mean([score.error_of(metric) for score in scores])) if found is None else found


def _paired_error(scores: Sequence[Score], best: Sequence[Score], criterion: Criterion) -> float:
    """Return the standard error of the mean difference over folds; with one fold, that over its rows."""
    metric = criterion.metric
    if scores is best:
        return 0.0
    pairs = list(zip(scores, best, strict=True))
    if len(pairs) > 1:
        found = _error_over_folds(np.array([one.of(metric) - other.of(metric) for one, other in pairs]), criterion)
        if found is not None:
            return found
    return float(np.mean([one.error_of_difference(other, metric) for one, other in pairs]))


def _error_over_folds(values: np.ndarray, criterion: Criterion) -> float | None:
    """Return the standard error of the mean of a number that each fold has; None where no repeat has two folds.

    Repeats even out which rows fell into which fold, but all of them see the same rows: their variances are averaged,
    and the mean is taken over the folds of one repeat. Counting every fold would let the error shrink by repeating.

    Source: Nadeau & Bengio 2003, Inference for the Generalization Error, Machine Learning 52.
    """
    repeat = np.array(criterion.repeat_of or [0] * len(values))
    folds = np.bincount(repeat)
    residuals = values - (np.bincount(repeat, values) / folds)[repeat]
    freedom = len(values) - len(folds)
    if not freedom:
        return None
    return float(np.sqrt((residuals**2).sum() / freedom / folds.mean()))


def choose(table: Sequence[dict[str, Any]], criterion: Criterion = BY_ACCURACY) -> Choice:
    """Choose from a table that is sorted from strong to weak regularisation.

    Source: the rule of one standard error is Breiman et al. 1984, Classification and Regression
    Trees, section 3.4.3.
    """
    score = np.array([row[criterion.metric] for row in table])
    nll = np.array([row["nll"] for row in table])
    best, by_nll = int(score.argmax()), int(nll.argmin())
    # Equal up to rounding counts as within.
    behind = score[best] - score - 1e-12
    if criterion.rule == "one_se":
        selected = int(np.flatnonzero(behind <= table[best]["standard_error"])[0])
    elif criterion.rule == "best_nll":
        ties = np.flatnonzero(behind <= [row["paired_error"] for row in table])
        selected = int(ties[nll[ties].argmin()])
    else:
        selected = by_nll if criterion.rule == "nll" else best
    return Choice(best, selected, by_nll)


def describe_selection(
    folds: Folds, table: list[dict[str, Any]], choice: Choice, *, options: Sequence[str], notes: Sequence[str]
) -> dict[str, Any]:
    """Return what a run keeps of a selection: `method`, `selected`, `best`, `by_nll`, `table`, `notes`.

    Args:
        folds: what was selected on.
        table: see `tabulate`.
        choice: of its rows.
        options: the names of what was selected, such as C.
        notes: for a reader.
    """

    def named(row: int) -> dict[str, Any]:
        return {name: table[row][name] for name in options}

    return {
        "method": folds.method,
        "selected": named(choice.selected),
        "best": named(choice.best),
        "by_nll": named(choice.by_nll),
        "table": table,
        "notes": list(notes),
    }


def extend_grid(
    grid: Sequence[float],
    score: Callable[[float], Sequence[Score]],
    parameter: str = "C",
    *,
    criterion: Criterion = BY_ACCURACY,
    most: int = MAX_EXTENSIONS,
    patience: int = 0,
) -> tuple[list[float], list[Sequence[Score]], list[str], list[str]]:
    """Score a grid, and go on by whole decades where the best or the selected lies on its edge.

    A grid from strong to weak regularisation may be left before its end: where, for `patience` points on end, no score
    was above the best and each NLL above the one before. What is left out then are fits that only grow surer; that
    they are never selected is not proven, but seen on the sets of benchmarks/leaving.py.

    Args:
        grid: candidates from strong to weak regularisation, increasing or decreasing, two or more.
        score: returns a candidate's score on every fold; is called along the grid in order.
        parameter: what the candidates are values of, for notes and warnings.
        criterion: what the choice goes by.
        most: of how many decades at each end.
        patience: points to see before the grid is left; 0 to see all.

    Returns:
        The grid, its scores, notes on what was added, and warnings where the search had to stop on an edge.
    """
    found: list[float] = []
    scores: list[Sequence[Score]] = []
    notes: list[str] = []
    unresolved: list[str] = []
    for value in grid:
        found.append(value)
        scores.append(score(value))
        if patience and len(found) < len(grid) and _is_over(scores, criterion, patience):
            notes.append(
                f"left at {parameter} = {value:g}, {len(grid) - len(found)} points before the end of the grid: for "
                f"{patience} points no score was above the best, and each NLL above the one before"
            )
            break
    weaker = 10.0 if found[-1] > found[0] else 0.1
    for end, factor, word in ((-1, weaker, "weak"), (0, 1 / weaker, "strong")):
        added = 0
        while _is_on_edge(found, scores, end, criterion=criterion) and added < most:
            value = float(f"{found[end] * factor:.12g}")
            at = 0 if end == 0 else len(found)
            found.insert(at, value)
            scores.insert(at, score(value))
            added += 1
        if added:
            decades = f"{added} decade{'s' * (added > 1)} added"
            notes.append(f"the choice lay on the {word} edge: {decades}, to {parameter} = {found[end]:g}")
        if _is_on_edge(found, scores, end, criterion=criterion):
            lies = "still lies" if added else "lies"
            unresolved.append(f"the choice {lies} on the {word} edge of the grid, {parameter} = {found[end]:g}")
    return found, scores, notes, unresolved


def _is_over(scores: Sequence[Sequence[Score]], criterion: Criterion, patience: int) -> bool:
    """Return whether so many of the last points brought nothing."""
    if len(scores) <= patience:
        return False
    value = np.array([np.mean([one.of(criterion.metric) for one in of_point]) for of_point in scores])
    nll = np.array([np.mean([one.nll for one in of_point]) for of_point in scores[-patience - 1 :]])
    return bool(value.argmax() < len(scores) - patience and (np.diff(nll) > 0).all())


def _is_on_edge(grid: Sequence[float], scores: Sequence[Sequence[Score]], end: int, *, criterion: Criterion) -> bool:
    choice = choose(tabulate([{} for _ in grid], scores, criterion), criterion)
    edge = len(grid) - 1 if end == -1 else 0
    return edge in (choice.best, choice.selected)
