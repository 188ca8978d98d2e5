"""Two runs on equal images: is one better, by how much, and what could this test have shown at all?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.draws import units_of
from probe.errors import NotComparable
from probe.intervals import bootstrap_sums, expanded_interval
from probe.metrics import NLL_CLIP
from probe.paired_tests import (
    design_effect,
    exact_mcnemar,
    flip_p_value,
    holm,
    minimum_detectable_difference,
)
from store import ProbeResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answers", "Comparison", "Difference", "Pairs", "compare_runs", "pair_answers", "pair_predictions"]


@dataclass(frozen=True)
class Pairs:
    """What two runs say of equal images, a row for each image.

    Attributes:
        class_names: K, in the order of `labels`.
        labels: (N,) int.
        is_first, is_second: (N,) bool: whether the first, the second run is right.
        first_nll, second_nll: (N,) -log p(label).
        units: (N,) int, 0 … U-1: a unit is a group, or an image that is in none.
        has_groups: whether some images are in groups.
        relabelled: images that were left out because the runs do not agree on what they show.
        conflicting: images that were left out because they stand in a test part under several labels.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    is_first: np.ndarray
    is_second: np.ndarray
    first_nll: np.ndarray
    second_nll: np.ndarray
    units: np.ndarray
    has_groups: bool
    relabelled: int
    conflicting: int

    @property
    def differences(self) -> np.ndarray:
        """1 where only the first run is right, -1 where only the second is, else 0; (N,)."""
        return np.asarray(self.is_first.astype(np.float64) - self.is_second)

    def weights(self, metric: str) -> np.ndarray:
        """Return what a right image adds to a metric, (N,)."""
        if metric == "accuracy":
            return np.full(len(self.labels), 1 / len(self.labels))
        totals = np.bincount(self.labels, minlength=len(self.class_names))
        return np.asarray(1 / totals[self.labels] / (totals > 0).sum())

    def p_value(self, metric: str = "accuracy") -> float:
        """Return the p-value that the runs are equal by a metric; by group where there are groups."""
        return flip_p_value(np.bincount(self.units, self.differences * self.weights(metric)))


@dataclass(frozen=True)
class Difference:
    """A difference, first less second, with its 95% interval from resampling images, or groups.

    One image, or one group, gives no interval.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """What can be said of two runs; differences are first less second.

    Attributes:
        n_pictures: equal test images, each counted once; everything below is about them.
        n_relabelled: equal images that were left out: the runs disagree on their class.
        n_conflicting: equal images that were left out: they stand in a test part under several labels.
        n_first, n_second: how many images each run was tested on.
        n_groups: groups of the images, one that is in none counted as one; None without groups.
        accuracies: of the first and the second run.
        accuracy, balanced_accuracy, nll: differences.
        only_first, only_second: images that one run alone has right.
        mcnemar: p-value of the exact test; it takes every image for a draw of its own.
        p_value: of the difference in accuracy: by group where there are groups, else McNemar's.
        detectable: the least difference in accuracy that this test finds with 80% power; None if none.
        classes: a record per class: `class_name`, `n`, `difference`, `p_value`, `p_holm`.
    """

    n_pictures: int
    n_relabelled: int
    n_conflicting: int
    n_first: int
    n_second: int
    n_groups: int | None
    accuracies: tuple[float, float]
    accuracy: Difference
    balanced_accuracy: Difference
    nll: Difference
    only_first: int
    only_second: int
    mcnemar: float
    p_value: float
    detectable: float | None
    classes: tuple[Mapping[str, Any], ...]


def pair_predictions(first: ProbeResult, second: ProbeResult) -> Pairs:
    """Pair two runs' predictions by the images' bytes.

    An image that stands in a test part several times counts once: one head says the same of it each time. One that
    stands there under several labels does not count: whether a head has it right hangs on which of them is looked at.

    Raises:
        NotComparable: the classes differ, or no image is shared, or none with one label, equal in both.
    """
    names = first.class_names
    if set(names) != set(second.class_names):
        raise NotComparable(
            f"{_name(first)} and {_name(second)} have different classes: only the first has "
            f"{_only(names, second.class_names)}, only the second {_only(second.class_names, names)}."
        )
    joined, conflicting = _joined(first, second)
    # The order of the classes may differ where a dataset was extracted anew.
    place = np.array([names.index(name) for name in second.class_names])
    is_agreed = joined["label_first"].to_numpy() == place[joined["label_second"].to_numpy()]
    agreed = joined[is_agreed]
    if agreed.empty:
        others = f"; {conflicting:,} stand under several labels, and are left out" if conflicting else ""
        error = NotComparable(f"{_name(first)} and {_name(second)} agree on the class of no shared image{others}.")
        error.n_conflicting, error.n_relabelled = conflicting, len(joined)
        raise error
    groups = agreed["group_first"].astype(str).tolist()
    return Pairs(
        class_names=names,
        labels=agreed["label_first"].to_numpy(),
        is_first=agreed["is_correct_first"].to_numpy(),
        is_second=agreed["is_correct_second"].to_numpy(),
        first_nll=_nll(agreed["label_probability_first"]),
        second_nll=_nll(agreed["label_probability_second"]),
        units=units_of(agreed["content_sha256"].tolist(), groups)[0],
        has_groups=any(groups),
        relabelled=int((~is_agreed).sum()),
        conflicting=conflicting,
    )


@dataclass(frozen=True)
class Answers:
    """What two runs have right of equal images, each by the label that it was tested with; a row for each image.

    Attributes:
        is_first, is_second: (N,) bool: whether the first, the second run is right.
        units: (N,) int, see `Pairs`.
        relabelled: how many images have another label in the second run.
    """

    is_first: np.ndarray
    is_second: np.ndarray
    units: np.ndarray
    relabelled: int


def pair_answers(first: ProbeResult, second: ProbeResult) -> Answers:
    """Pair what two runs have right by the images' bytes, whatever their labels are called and whether they agree.

    Where labels went wrong between two nights, that is a drop like any other. An image counts once, and not at all
    where it stands in a test part under several labels.

    Raises:
        NotComparable: no image is shared.
    """
    joined, conflicting = _joined(first, second)
    if joined.empty:
        raise NotComparable(
            f"{_name(first)} and {_name(second)} share no test image of one label: {conflicting:,} stand under several."
        )
    names = [
        np.array(run.class_names, object)[joined[f"label_{which}"].to_numpy()]
        for run, which in ((first, "first"), (second, "second"))
    ]
    return Answers(
        is_first=joined["is_correct_first"].to_numpy(),
        is_second=joined["is_correct_second"].to_numpy(),
        units=units_of(joined["content_sha256"].tolist(), joined["group_first"].astype(str).tolist())[0],
        relabelled=int((names[0] != names[1]).sum()),
    )


def compare_runs(first: ProbeResult, second: ProbeResult) -> Comparison:
    """Compare two runs on the test images they share.

    Raises:
        NotComparable: see `pair_predictions`.
    """
    pairs = pair_predictions(first, second)
    differences = pairs.differences
    only_first, only_second = int((differences > 0).sum()), int((differences < 0).sum())
    mcnemar = exact_mcnemar(only_first, only_second)
    rows = len(differences) / design_effect(differences, pairs.units)
    accuracy, balanced_accuracy, nll = _resampled(pairs)
    return Comparison(
        n_pictures=len(differences),
        n_relabelled=pairs.relabelled,
        n_conflicting=pairs.conflicting,
        n_first=len(first.predictions),
        n_second=len(second.predictions),
        n_groups=int(pairs.units.max()) + 1 if pairs.has_groups else None,
        accuracies=(float(pairs.is_first.mean()), float(pairs.is_second.mean())),
        accuracy=accuracy,
        balanced_accuracy=balanced_accuracy,
        nll=nll,
        only_first=only_first,
        only_second=only_second,
        mcnemar=mcnemar,
        p_value=pairs.p_value() if pairs.has_groups else mcnemar,
        detectable=minimum_detectable_difference(rows, (only_first + only_second) / len(differences)),
        classes=_by_class(pairs),
    )


def _resampled(pairs: Pairs) -> tuple[Difference, Difference, Difference]:
    """Return the differences in accuracy, balanced accuracy and NLL, with bootstrap intervals."""
    units, classes = int(pairs.units.max()) + 1, len(pairs.class_names)
    cells = pairs.units * classes + pairs.labels
    of_class = np.bincount(cells, pairs.differences, minlength=units * classes).reshape(units, classes)
    totals = np.bincount(cells, minlength=units * classes).reshape(units, classes)
    nll = np.bincount(pairs.units, pairs.first_nll - pairs.second_nll, minlength=units)[:, None]
    sums = np.hstack([of_class, totals, nll])

    def statistics(summed: np.ndarray) -> np.ndarray:
        right, rows = summed[:, :classes], summed[:, classes : 2 * classes]
        # A class that a resample lacks has no recall there.
        recalls = np.divide(right, rows, out=np.full_like(right, np.nan), where=rows > 0)
        count = rows.sum(axis=1)
        return np.stack([right.sum(axis=1) / count, np.nanmean(recalls, axis=1), summed[:, -1] / count])

    observed = statistics(sums.sum(axis=0, keepdims=True).astype(np.float64))[:, 0]
    found = []
    for value, resampled in zip(observed, statistics(bootstrap_sums(sums)), strict=True):
        low, high = expanded_interval(resampled, units) if units > 1 else (None, None)
        found.append(Difference(float(value), low, high))
    return found[0], found[1], found[2]


def _by_class(pairs: Pairs) -> tuple[Mapping[str, Any], ...]:
    labels = np.unique(pairs.labels)
    differences = pairs.differences
    p_values = [
        flip_p_value(np.bincount(pairs.units[pairs.labels == label], differences[pairs.labels == label]))
        for label in labels
    ]
    return tuple(
        {
            "class_name": pairs.class_names[label],
            "n": int((pairs.labels == label).sum()),
            "difference": float(differences[pairs.labels == label].mean()),
            "p_value": p_value,
            "p_holm": adjusted,
        }
        for label, p_value, adjusted in zip(labels.tolist(), p_values, holm(p_values), strict=True)
    )


def _joined(first: ProbeResult, second: ProbeResult) -> tuple["pd.DataFrame", int]:
    """Return the images that both runs were tested on, and how many are left out for standing under several labels.

    Raises:
        NotComparable: no image is shared.
    """
    joined = _keyed(first).merge(_keyed(second), on="content_sha256", suffixes=("_first", "_second"))
    if joined.empty:
        raise NotComparable(
            f"{_name(first)} and {_name(second)} share no test image: they were tested on "
            f"{first.config['dataset']} {first.config['test']!r} and {second.config['dataset']} "
            f"{second.config['test']!r}; compare runs with a common test part."
        )
    is_conflicting = joined["content_sha256"].isin(_conflicts(first) | _conflicts(second))
    return joined[~is_conflicting], int(is_conflicting.sum())


def _keyed(run: ProbeResult) -> "pd.DataFrame":
    columns = ["content_sha256", "group", "label", "is_correct", "label_probability"]
    return run.predictions[columns].drop_duplicates("content_sha256")


def _conflicts(run: ProbeResult) -> set[str]:
    """Return the contents that stand in a run's test part under several labels."""
    labels = run.predictions.groupby("content_sha256")["label"]
    return set(labels.min()[labels.min() != labels.max()].index)


def _nll(probabilities: "pd.Series") -> np.ndarray:
    return np.asarray(-np.log(np.clip(probabilities.to_numpy(float), NLL_CLIP, 1.0)))


def _name(run: ProbeResult) -> str:
    return f"run {run.run_id[:12]}"


def _only(names: tuple[str, ...], others: tuple[str, ...], most: int = 5) -> str:
    found = [name for name in names if name not in others]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return (", ".join(found[:most]) or "none") + more
