"""The leaderboard: one row per question, by the run that answers it now."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from reports.wording import storable
from store import ProbeResult
from store.extractor_names import is_floor
from store.metrics import columns_of
from store.settings import circumstances, names_of, same_but_seed, values_of

__all__ = ["COLUMNS", "Verdict", "leaderboard"]

COLUMNS = (
    *names_of(but=["seed"]), "seed",
    *columns_of("accuracy"), "seeds", "seed_mean", "seed_sd",
    "is_best", "is_indistinguishable", "p_best",
    *(name for name in columns_of() if name not in columns_of("accuracy")),
    "n_train", "n_test", "dim", "is_floor", "floor", "above_floor",
    "converged", "warnings", "disagreement", "protocol", "created", "run_id",
)  # fmt: skip

# A floor must have had the same training rows, and be tested on the same images.
_COMPARED = (
    *names_of(but=["extractor", "head", "options", "seed", "views", "validation", "test"]),
    "protocol",
    "pictures",
)


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


def leaderboard(
    runs: Iterable[ProbeResult],
    verdicts: Mapping[str, Verdict] | None = None,
    *,
    answers: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a row per question, by the run that answers it.

    A question is dataset, extractor, head with its options, splits, shots and views. Sets, protocol and
    seed are not part of it: a new night's images answer the old question anew. Of what was answered last
    the row shows the run of the smallest seed (never the best one, which would be
    picking), and beside it how many seeds ran on equal sets, mean and standard deviation of their metric.

    Args:
        runs: any runs; the same one twice counts once.
        verdicts: run id → verdict, of the runs that are rows; those of others are not looked at.
        answers: ids of the runs that answer a question now, the one answered last at the end; without, all runs by
            their own time.

    Returns:
        Columns `COLUMNS`; by dataset, then by the metric that was asked for, the best first. `options` is JSON text.
        `floor` names extractor/head of the best floor with the same training question and the same test images
        (and the same head, where there is one), `above_floor` is the difference of the metric; both are missing on
        floors. `seed_mean` and `seed_sd` are missing where nothing varied: where one seed ran, or all gave the same.
        `is_best`, `is_indistinguishable`, `p_best` and `disagreement` are those of the verdicts; without them no row is
        the best.
    """
    found = verdicts or {}
    known = {run.run_id: run for run in runs}
    order = [run.run_id for run in sorted(known.values(), key=_age)] if answers is None else answers
    questions: dict[str, list[ProbeResult]] = {}
    for run in (known[run_id] for run_id in order if run_id in known):
        questions.setdefault(same_but_seed(run.config), []).append(run)
    rows = [_row(answers, found) for answers in questions.values()]
    # No row's text can tie with another's: the run id makes the order one and the same everywhere.
    rows.sort(key=lambda row: (row["dataset"], -row[row["metric"]], row["extractor"], row["head"], row["run_id"]))
    frame = pd.DataFrame(_with_floors(rows), columns=list(COLUMNS))
    # pandas makes NaN of a missing text, which is true, and would stand on pages as "nan".
    frame["floor"] = frame["floor"].astype(object).where(frame["floor"].notna(), None)
    return frame


def _row(answers: Sequence[ProbeResult], verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    last = circumstances(answers[-1].config)
    by_seed = {run.config["seed"]: run for run in answers if circumstances(run.config) == last}
    run = by_seed[min(by_seed)]
    config = run.config
    scores = np.array([other.metrics[config["metric"]] for other in by_seed.values()])
    # Where no part and no start is drawn, every seed gives the same head: that is no spread of 0.
    is_varied = len({(other.metrics["accuracy"], other.metrics["nll"]) for other in by_seed.values()}) > 1
    verdict = verdicts.get(run.run_id)
    return {
        **{name: _storable(value) for name, value in values_of(config).items()},
        "options": json.dumps(config["options"], sort_keys=True),
        **{name: float(run.metrics.get(name, np.nan)) for name in columns_of()},
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
        "protocol": run.protocol,
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
