"""`linprobe compare`: two runs on the test images that they share."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from linprobe.models.runs import find_run, name_run
from probe import Comparison, Difference, NotComparable, compare_runs
from store import FeatureStore, ProbeResult
from store.settings import values_of

__all__ = ["ComparedRuns", "compare", "nothing_left"]

_LEVEL = 0.05
_MOST_CLASSES = 10


@dataclass(frozen=True)
class ComparedRuns:
    """Two runs and what can be said of them; differences are first less second.

    Attributes:
        first, second: the runs.
        found: the comparison.
    """

    first: ProbeResult
    second: ProbeResult
    found: Comparison
    names: tuple[str, str]

    @property
    def is_significant(self) -> bool:
        """Whether the test tells the two apart, at 5%."""
        return self.found.p_value < _LEVEL

    def text(self) -> str:
        """Return the comparison for people."""
        return "\n".join(_lines((self.first, self.second), self.found, self.names))

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {
            "first": _described(self.first),
            "second": _described(self.second),
            **dataclasses.asdict(self.found),
            "is_significant": self.is_significant,
        }


def compare(store: FeatureStore, first: str, second: str) -> ComparedRuns:
    """Compare two runs on the test images that they share.

    Args:
        store: holds the runs.
        first: a run id, a unique prefix, or `DATASET/EXTRACTOR/HEAD` for its newest.
        second: likewise.

    Raises:
        RunNotFound: a name answers to no run, or to several.
        NotComparable: the runs share no test image, or have different classes.
    """
    runs = find_run(store, first), find_run(store, second)
    names = name_run(runs[0], store), name_run(runs[1], store)
    return ComparedRuns(*runs, compare_runs(*runs), names)


def nothing_left(error: NotComparable) -> dict[str, Any]:
    """Return what --json prints of runs that share images, of which none could be compared."""
    return {
        "n_pictures": 0,
        "n_relabelled": error.n_relabelled,
        "n_conflicting": error.n_conflicting,
        "accuracies": [None, None],
        "p_value": None,
        "is_significant": False,
        "error": str(error),
    }


def _described(run: ProbeResult) -> dict[str, Any]:
    return {"run_id": run.run_id, **values_of(run.config, but=["validation"]), "protocol": run.protocol}


def _lines(runs: tuple[ProbeResult, ProbeResult], found: Comparison, names: tuple[str, str]) -> list[str]:
    width = max(map(len, names))
    lines = [
        f"{letter}  {name:<{width}}  {accuracy:.2%}  run {run.run_id[:12]}"
        for letter, name, accuracy, run in zip("AB", names, found.accuracies, runs, strict=True)
    ]
    groups = f" in {found.n_groups:,} groups" if found.n_groups is not None else ""
    tested = f"A was tested on {found.n_first:,}, B on {found.n_second:,}"
    lines.append(f"on {found.n_pictures:,} equal test images{groups} ({tested})")
    if runs[0].protocol != runs[1].protocol:
        lines.append(f"of different versions of the protocol: A {runs[0].protocol}, B {runs[1].protocol}")
    if found.n_conflicting:
        lines.append(f"left out: {found.n_conflicting:,} equal images that stand under several labels")
    if found.n_relabelled:
        lines.append(f"left out: {found.n_relabelled:,} equal images whose class the runs do not agree on")
    lines += [
        "",
        f"accuracy           A - B = {_in_points(found.accuracy)}",
        f"balanced accuracy  A - B = {_in_points(found.balanced_accuracy)}",
        f"NLL                A - B = {_plain(found.nll)}",
        f"right alone        A on {found.only_first:,}, B on {found.only_second:,} images",
        f"p                  {_p(found.p_value)}, {_test(found)}",
        f"                   {_conclusion(found)}",
        _power(found),
        "",
        *_class_lines(found),
    ]
    return lines


def _in_points(difference: Difference) -> str:
    interval = "no interval of one draw"
    if difference.low is not None and difference.high is not None:
        interval = f"95%: {100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
    return f"{100 * difference.value:+.2f} points ({interval})"


def _plain(difference: Difference) -> str:
    interval = "no interval of one draw"
    if difference.low is not None and difference.high is not None:
        interval = f"95%: {difference.low:+.4f} to {difference.high:+.4f}"
    return f"{difference.value:+.4f} ({interval}); lower is better"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def _test(found: Comparison) -> str:
    if found.n_groups is None:
        return "McNemar's exact test"
    return f"groups exchanged whole (McNemar, which takes members of a group for single draws: {_p(found.mcnemar)})"


def _conclusion(found: Comparison) -> str:
    if found.p_value >= _LEVEL:
        return "the test cannot tell the two apart"
    return f"{'A' if found.accuracy.value > 0 else 'B'} is better beyond chance"


def _power(found: Comparison) -> str:
    if found.detectable is None:
        return "power              too few images: no difference could have been shown"
    return f"power              this test finds a difference of {100 * found.detectable:.2f} points 8 times in 10"


def _class_lines(found: Comparison) -> list[str]:
    count = len(found.classes)
    differing = sorted((row for row in found.classes if row["p_holm"] < _LEVEL), key=lambda row: row["p_holm"])
    if not differing:
        return [f"classes            none of {count} differs, after Holm's correction for {count} tests"]
    lines = [f"classes            {len(differing)} of {count} differ, after Holm's correction for {count} tests:"]
    for row in differing[:_MOST_CLASSES]:
        lines.append(
            f"  {row['class_name']}: {100 * row['difference']:+.1f} points on {row['n']:,} images, "
            f"p = {_p(row['p_holm'])}"
        )
    more = len(differing) - _MOST_CLASSES
    return [*lines, *([f"  and {more} more; --json lists all"] if more > 0 else [])]
