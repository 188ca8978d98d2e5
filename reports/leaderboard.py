"""The leaderboard: one row per question, answered by its newest run."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.wording import storable
from store import ProbeResult

__all__ = ["COLUMNS", "is_floor", "leaderboard"]

COLUMNS = (
    "dataset", "extractor", "head", "options", "shots", "train", "validation", "test", "seed",
    "accuracy", "accuracy_low", "accuracy_high", "seeds", "seed_mean", "seed_sd",
    "balanced_accuracy", "macro_f1", "top5", "nll", "ece",
    "n_train", "n_test", "dim", "is_floor", "floor", "above_floor",
    "converged", "warnings", "created", "run_id",
)  # fmt: skip

_METRICS = ("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "macro_f1", "top5", "nll", "ece")
_ASKED = ("dataset", "extractor", "head", "shots", "train", "validation", "test")
_COMPARED = ("dataset", "train", "test", "shots")


def is_floor(extractor: str) -> bool:
    """Tell whether an extractor is a floor: features without any learning in them."""
    return extractor == "pixels" or extractor.startswith("random:")


def leaderboard(runs: Iterable[ProbeResult]) -> pd.DataFrame:
    """Return a row per question, answered by its newest run.

    A question is dataset, extractor, head with its options, splits and shots. Sets, protocol and
    seed are not part of it: a new night's pictures answer the old question anew. Of a question's
    newest sets the row shows the run of the smallest seed (never the best one, which would be
    picking), and beside it how many seeds ran on equal sets, their mean and standard deviation.

    Args:
        runs: any runs; the same one twice counts once.

    Returns:
        Columns `COLUMNS`; by dataset, then accuracy, the best first. `options` is JSON text.
        `floor` names extractor/head of the best floor with the same dataset, splits and shots
        (and the same head, where there is one), `above_floor` is the difference of the accuracies;
        both are missing on floors. `seed_mean` and `seed_sd` are missing where one seed ran.
    """
    questions: dict[str, list[ProbeResult]] = {}
    for run in {run.run_id: run for run in runs}.values():
        questions.setdefault(_question(run), []).append(run)
    frame = pd.DataFrame([_row(answers) for answers in questions.values()], columns=list(COLUMNS))
    if frame.empty:
        return frame
    # No row's text can tie with another's: the run id makes the order one and the same everywhere.
    frame = frame.sort_values(["accuracy", "extractor", "head", "run_id"], ascending=[False, True, True, True])
    frame = frame.sort_values("dataset", kind="stable", ignore_index=True)
    return _with_floors(frame)


def _question(run: ProbeResult) -> str:
    config = run.config
    return json.dumps([config.get(name) for name in (*_ASKED, "options")], sort_keys=True)


def _row(answers: Sequence[ProbeResult]) -> dict[str, Any]:
    newest = max(answers, key=_age)
    alike = [run for run in answers if _circumstances(run) == _circumstances(newest)]
    by_seed = {run.config["seed"]: run for run in sorted(alike, key=_age)}
    run = by_seed[min(by_seed)]
    accuracies = np.array([other.metrics["accuracy"] for other in by_seed.values()])
    is_varied = len(accuracies) > 1
    config = run.config
    return {
        **{name: _storable(config.get(name)) for name in _ASKED},
        "options": json.dumps(config.get("options", {}), sort_keys=True),
        "seed": config["seed"],
        **{name: float(run.metrics.get(name, np.nan)) for name in _METRICS},
        "seeds": len(accuracies),
        "seed_mean": accuracies.mean() if is_varied else np.nan,
        "seed_sd": accuracies.std(ddof=1) if is_varied else np.nan,
        **{name: run.counts[name] for name in ("n_train", "n_test", "dim")},
        "is_floor": is_floor(config["extractor"]),
        "converged": bool(run.fit["converged"]),
        "warnings": len(run.warnings),
        "created": run.created,
        "run_id": run.run_id,
    }


def _storable(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


def _age(run: ProbeResult) -> tuple[str, str]:
    return run.created, run.run_id


def _circumstances(run: ProbeResult) -> str:
    return json.dumps([run.config.get("sets"), run.config.get("protocol")], sort_keys=True)


def _with_floors(frame: pd.DataFrame) -> pd.DataFrame:
    names: list[str | None] = []
    differences: list[float] = []
    records = frame.to_dict("records")
    for row in records:
        floor = None if row["is_floor"] else _best_floor(row, records)
        names.append(None if floor is None else f"{floor['extractor']}/{floor['head']}")
        differences.append(np.nan if floor is None else row["accuracy"] - floor["accuracy"])
    return frame.assign(floor=pd.Series(names, dtype=object), above_floor=differences)


def _best_floor(row: dict[Any, Any], records: list[dict[Any, Any]]) -> dict[Any, Any] | None:
    question = [row[name] for name in _COMPARED]
    floors = [other for other in records if other["is_floor"] and [other[name] for name in _COMPARED] == question]
    same_head = [other for other in floors if other["head"] == row["head"]]
    return max(same_head or floors, key=lambda other: float(other["accuracy"]), default=None)
