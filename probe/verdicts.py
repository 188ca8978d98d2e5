"""What a table of runs may not leave unsaid: which are as good as the best, and which contradict each other."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probe.errors import NotComparable
from probe.paired_tests import holm
from store import ProbeResult, RunRecord
from store.settings import SETTINGS, names_of, values_of

__all__ = ["Verdict", "find_disagreements", "judge_runs"]

LEVEL = 0.05
# Those that compete: as much of train, judged alike.
_REGIME = ("dataset", "metric", *(setting.name for setting in SETTINGS.values() if setting.limits))
# The same features and rows, whatever the head.
_QUESTION = (*names_of(but=["head", "options", "metric"]), "sets")


@dataclass(frozen=True)
class Verdict:
    """What a run is in the company of others.

    Attributes:
        is_best: whether it is the best of its dataset, metric, shots and share of train.
        p_best: p-value that it equals the best one, by a paired test, adjusted by Holm for all that are compared with
            it; None for the best itself, and where no image is shared with it.
        disagreement: what to be warned of where another head on the same features gives another answer; or "".
    """

    is_best: bool = False
    p_best: float | None = None
    disagreement: str = ""

    @property
    def is_indistinguishable(self) -> bool:
        """Whether its test could not tell it from the best."""
        return self.p_best is not None and self.p_best >= LEVEL


def judge_runs(runs: Iterable[ProbeResult]) -> dict[str, Verdict]:
    """Judge runs that stand in one table.

    Args:
        runs: one run per question; a second seed of one would be compared as if it were another head.

    Returns:
        Run id → verdict.
    """
    found = list(runs)
    disagreements = find_disagreements(found)
    regimes: dict[str, list[ProbeResult]] = {}
    for run in found:
        regimes.setdefault(_key(run, _REGIME), []).append(run)
    verdicts: dict[str, Verdict] = {}
    for company in regimes.values():
        best = _best(company)
        p_values = _p_values(best, company)
        for run in company:
            verdicts[run.run_id] = Verdict(run is best, p_values.get(run.run_id), disagreements.get(run.run_id, ""))
    return verdicts


def _key(run: RunRecord, names: Sequence[str]) -> str:
    config = {**run.config, **values_of(run.config, but=["options"])}
    # What one version of the protocol found is not set beside another's.
    return json.dumps([config.get("protocol"), *(config[name] for name in names)], sort_keys=True)


def _best(runs: Sequence[ProbeResult]) -> ProbeResult:
    metric = runs[0].config["metric"]
    return max(runs, key=lambda run: (run.metrics[metric], -run.metrics["nll"], run.run_id))


def _p_values(best: ProbeResult, runs: Sequence[ProbeResult]) -> dict[str, float]:
    # The tests of pairs import pandas; what heads contradict each other in is told without.
    from probe.comparison import pair_predictions

    found: dict[str, float] = {}
    for run in runs:
        if run is best:
            continue
        try:
            found[run.run_id] = pair_predictions(best, run).p_value(best.config["metric"])
        except NotComparable:
            continue
    return dict(zip(found, holm(list(found.values())), strict=True))


# The lesson's own datasets take 480 to 3,500 steps.
_FEW_STEPS = 1000


def find_disagreements(runs: Iterable[RunRecord]) -> dict[str, str]:
    """Find runs of `dense` and `logistic` on the same features that lie further apart than their intervals.

    Both are linear heads trained on the same loss: where each ends near its optimum, they say nearly the same.

    Returns:
        Run id → what to be warned of.
    """
    questions: dict[str, list[RunRecord]] = {}
    for run in runs:
        questions.setdefault(_key(run, _QUESTION), []).append(run)
    return {run_id: text for answers in questions.values() for run_id, text in _disagreements(answers)}


def _disagreements(answers: Sequence[RunRecord]) -> Iterable[tuple[str, str]]:
    for dense in (run for run in answers if run.config["head"] == "dense"):
        for logistic in (run for run in answers if run.config["head"] == "logistic"):
            if not (_lies_outside(dense, logistic) and _lies_outside(logistic, dense)):
                continue
            text = _disagreement(dense, logistic)
            yield dense.run_id, text
            yield logistic.run_id, text


def _disagreement(dense: RunRecord, logistic: RunRecord) -> str:
    options, metrics = dense.config["options"], (dense.metrics["accuracy"], logistic.metrics["accuracy"])
    apart = "lie further apart than their intervals"
    rows = dense.counts.get("n_train_rows", dense.counts["n_train"])
    steps = options["epochs"] * math.ceil(rows / options["batch_size"])
    if metrics[0] < metrics[1] and steps < _FEW_STEPS:
        return (
            f"dense ({metrics[0]:.1%}) and logistic ({metrics[1]:.1%}) on the same features {apart}: dense is trained "
            f"for {options['epochs']} epochs as the lesson is, which on {rows:,} images are {steps:,} steps, too few "
            'to end where logistic does; a grid (learning_rate = "grid") and more epochs train it further'
        )
    return (
        f"dense ({metrics[0]:.1%}) and logistic ({metrics[1]:.1%}) on the same features {apart}: one of them is not "
        "trained to its end"
    )


def _lies_outside(run: RunRecord, other: RunRecord) -> bool:
    return not other.metrics["accuracy_low"] <= run.metrics["accuracy"] <= other.metrics["accuracy_high"]
