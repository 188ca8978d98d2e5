"""The leaderboard: one row per question, answered by its newest run."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from reports.wording import storable
from store import ProbeResult

__all__ = ["COLUMNS", "Verdict", "is_floor", "leaderboard"]

COLUMNS = (
    "dataset", "extractor", "head", "options", "shots", "train_share", "views", "train", "validation", "test",
    "metric", "seed",
    "accuracy", "accuracy_low", "accuracy_high", "seeds", "seed_mean", "seed_sd",
    "is_best", "is_indistinguishable", "p_best",
    "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "macro_f1", "top5",
    "nll", "ece", "nll_calibrated", "ece_calibrated", "accuracy_without_duplicates",
    "n_train", "n_test", "dim", "is_floor", "floor", "above_floor",
    "converged", "warnings", "disagreement", "created", "run_id",
)  # fmt: skip

_METRICS = (
    "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high",
    "macro_f1", "top5", "nll", "ece", "nll_calibrated", "ece_calibrated", "accuracy_without_duplicates",
)  # fmt: skip
_ASKED = ("dataset", "extractor", "head", "shots", "train_share", "train", "validation", "test", "metric")
_COMPARED = ("dataset", "train", "shots", "train_share", "metric", "pictures")


class Verdict(Protocol):
    """What a run is in the company of others, as `probe.judge_runs` finds it; reports know nothing of `probe`."""

    @property
    def is_best(self) -> bool:
        """Whether it is the best of its dataset, metric, shots and share of train."""

    @property
    def is_indistinguishable(self) -> bool:
        """Whether its test could not tell it from the best."""

    @property
    def p_best(self) -> float | None:
        """The p-value that it equals the best, adjusted for how many are compared; None if it was not compared."""

    @property
    def disagreement(self) -> str:
        """What to be warned of where another head on the same features gives another answer; or empty."""


def is_floor(extractor: str) -> bool:
    """Tell whether an extractor is a floor: features without any learning in them."""
    return extractor == "pixels" or extractor.startswith("random:")


def leaderboard(runs: Iterable[ProbeResult], verdicts: Mapping[str, Verdict] | None = None) -> pd.DataFrame:
    """Return a row per question, answered by its newest run.

    A question is dataset, extractor, head with its options, splits, shots and views. Sets, protocol and
    seed are not part of it: a new night's images answer the old question anew. Of a question's
    newest sets the row shows the run of the smallest seed (never the best one, which would be
    picking), and beside it how many seeds ran on equal sets, mean and standard deviation of their metric.

    Args:
        runs: any runs; the same one twice counts once.
        verdicts: run id → verdict, of the runs that are rows; those of others are not looked at.

    Returns:
        Columns `COLUMNS`; by dataset, then by the metric that was asked for, the best first. `options` is JSON text.
        `floor` names extractor/head of the best floor with the same training question and the same test images
        (and the same head, where there is one), `above_floor` is the difference of the metric; both are missing on
        floors. `seed_mean` and `seed_sd` are missing where nothing varied: where one seed ran, or all gave the same.
        `is_best`, `is_indistinguishable`, `p_best` and `disagreement` are those of the verdicts; without them no row is
        the best.
    """
    found = verdicts or {}
    questions: dict[str, list[ProbeResult]] = {}
    for run in {run.run_id: run for run in runs}.values():
        questions.setdefault(_question(run), []).append(run)
    rows = [_row(answers, found) for answers in questions.values()]
    # No row's text can tie with another's: the run id makes the order one and the same everywhere.
    rows.sort(key=lambda row: (row["dataset"], -row[row["metric"]], row["extractor"], row["head"], row["run_id"]))
    return pd.DataFrame(_with_floors(rows), columns=list(COLUMNS))


def _question(run: ProbeResult) -> str:
    config = run.config
    # Parts that a seed drew are one question: seeds answer it.
    own_draw = f"/seed{config['seed']}["
    asked = [
        value.replace(own_draw, "/seed[") if isinstance(value := config[name], str) else value
        for name in (*_ASKED, "options")
    ]
    return json.dumps([*asked, run.views], sort_keys=True)


def _row(answers: Sequence[ProbeResult], verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    newest = max(answers, key=_age)
    alike = [run for run in answers if _circumstances(run) == _circumstances(newest)]
    by_seed = {run.config["seed"]: run for run in sorted(alike, key=_age)}
    run = by_seed[min(by_seed)]
    config = run.config
    scores = np.array([other.metrics[config["metric"]] for other in by_seed.values()])
    # Where no part and no start is drawn, every seed gives the same head: that is no spread of 0.
    is_varied = len({(other.metrics["accuracy"], other.metrics["nll"]) for other in by_seed.values()}) > 1
    verdict = verdicts.get(run.run_id)
    return {
        **{name: _storable(config[name]) for name in _ASKED},
        "views": run.views,
        "options": json.dumps(config["options"], sort_keys=True),
        "seed": config["seed"],
        **{name: float(run.metrics.get(name, np.nan)) for name in _METRICS},
        "seeds": len(scores),
        "seed_mean": scores.mean() if is_varied else np.nan,
        "seed_sd": scores.std(ddof=1) if is_varied else np.nan,
        "is_best": verdict is not None and verdict.is_best,
        "is_indistinguishable": verdict is not None and verdict.is_indistinguishable,
        "p_best": np.nan if verdict is None or verdict.p_best is None else verdict.p_best,
        "disagreement": "" if verdict is None else verdict.disagreement,
        **{name: run.counts[name] for name in ("n_train", "n_test", "dim")},
        "is_floor": is_floor(config["extractor"]),
        "converged": bool(run.fit["converged"]),
        "warnings": len(run.warnings),
        "created": run.created,
        "run_id": run.run_id,
        "pictures": _images(run),
    }


def _images(run: ProbeResult) -> str:
    """Return a digest of the images that a run was tested on, whatever their order."""
    return hashlib.sha256("".join(sorted(run.predictions["content_sha256"])).encode()).hexdigest()


def _storable(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


def _age(run: ProbeResult) -> tuple[str, str]:
    return run.created, run.run_id


def _circumstances(run: ProbeResult) -> str:
    return json.dumps([run.config.get(name) for name in ("sets", "view_sets", "protocol")], sort_keys=True)


def _with_floors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        floor = None if row["is_floor"] else _best_floor(row, rows)
        name = None if floor is None else f"{floor['extractor']}/{floor['head']}"
        above = np.nan if floor is None else row[row["metric"]] - floor[row["metric"]]
        found.append({**row, "floor": name, "above_floor": above})
    return found


def _best_floor(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the best floor that was tested on the same images, with the same head where there is one."""
    question = [row[name] for name in _COMPARED]
    floors = [other for other in rows if other["is_floor"] and [other[name] for name in _COMPARED] == question]
    same_head = [other for other in floors if other["head"] == row["head"]]
    return max(same_head or floors, key=lambda other: float(other[row["metric"]]), default=None)
