"""The leaderboard's page."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.figures import growth_figure, intervals_figure
from reports.rendering import Page, render
from reports.wording import folds, limits, plain, storable, views
from store import ProbeResult
from store.metrics import METRICS
from store.settings import SETTINGS, names_of

__all__ = ["index_page"]

# Told in a column only where it tells rows of one extractor and head apart; above the table where
# it is the same for all.
_SETTINGS = (*names_of(but=["dataset", "extractor", "head", "seed", "options"]), "seed", "options")
_MOST_ROWS_DRAWN = 40


def index_page(runs: Sequence[ProbeResult], frame: pd.DataFrame, created: str, *, names: Mapping[str, str]) -> Page:
    """Build the page of the leaderboard.

    Args:
        runs: all runs of the site.
        frame: their leaderboard.
        created: when, as the page shall say it.
        names: full name of a dataset → what the page calls it.
    """
    figures: dict[str, bytes] = {}
    shown = {storable(name): short for name, short in names.items()}
    datasets = []
    for index, (name, part) in enumerate(frame.groupby("dataset", sort=True), start=1):
        rows = part.to_dict("records")
        file = f"leaderboard-{index}.svg"
        board = _dataset(shown[str(name)], rows, file, earlier=_earlier(str(name), runs, frame))
        figures[file] = intervals_figure(rows[:_MOST_ROWS_DRAWN], board["metric"].lower())
        for kind, title, grown in growth_curves(rows):
            growth_file = f"growth-{index}-{kind}.svg"
            figures[growth_file] = growth_figure(grown, board["metric"].lower())
            board["growth"].append((growth_file, title, len(grown)))
        datasets.append(board)
    html = render("index.html", datasets=datasets, created=created, count=len(runs), title="Leaderboard")
    return Page(html, figures)


def growth_curves(rows: Sequence[dict[Any, Any]]) -> list[tuple[str, str, dict[str, list[dict[str, float]]]]]:
    """Return the learning curves that a dataset's rows make: over shots, and over shares of train.

    Args:
        rows: leaderboard rows of one dataset.

    Returns:
        (kind, title, curves), curves being name → points by `n_train`, each with `score` (the mean over seeds, where
        they varied) and `sd`. A curve has two points or more, and ends with all of train where that was asked.
    """
    found = []
    # What was tested in folds, or by an earlier version of the protocol, was not tested on the same part.
    newest = max((row["protocol"] for row in rows), default=0)
    rows = [row for row in rows if not row["folds"] and row["protocol"] == newest]
    for kind, title in (("shots", "examples per class"), ("share", "share of train")):
        curves: dict[str, list[dict[str, float]]] = {}
        other, whole = ("train_share", 1.0) if kind == "shots" else ("shots", "all")
        for row in sorted((row for row in rows if row[other] == whole), key=lambda row: int(row["n_train"])):
            is_varied = not math.isnan(row["seed_mean"])
            point = {
                "n_train": row["n_train"],
                "score": row["seed_mean"] if is_varied else row[row["metric"]],
                "sd": row["seed_sd"] if is_varied else 0.0,
                "is_limited": bool(limits(row)),
            }
            curves.setdefault(_curve_name(row), []).append(point)
        drawn = {name: points for name, points in curves.items() if len(points) > 1 and points[0]["is_limited"]}
        if drawn:
            found.append((kind, title, drawn))
    return found


def _curve_name(row: dict[Any, Any]) -> str:
    settings = [plain(row["options"])] if row["options"] else []
    return " · ".join([row["extractor"], row["head"], *settings, *filter(None, [views(row)])])


def _dataset(name: str, rows: list[dict[Any, Any]], figure: str, *, earlier: list[ProbeResult]) -> dict[str, Any]:
    for row in rows:
        row |= {f"score{end}": row[f"{row['metric']}{end}"] for end in ("", "_low", "_high")}
    low, high = _scale(rows)
    _shorten_options(rows)
    metrics = {row["metric"] for row in rows}
    varied = [setting for setting in _SETTINGS if _tells_apart(setting, rows)]
    for row in rows:
        row["label"] = _label(row, varied)
        row["bar"] = {
            key: round(100 * (row[value] - low) / (high - low), 2)
            for key, value in (("low", "score_low"), ("high", "score_high"), ("at", "score"))
        }
    return {
        "name": name,
        "metric": METRICS[metrics.pop()].title if len(metrics) == 1 else "Metric",
        "growth": [],
        "rows": rows,
        "figure": figure,
        "drawn": min(len(rows), _MOST_ROWS_DRAWN),
        "scale": (low, high),
        "varied": {setting: SETTINGS[setting].heading for setting in varied},
        "shared": _shared(rows),
        "metrics": [
            metric
            for metric in METRICS.values()
            if metric.is_listed and any(not math.isnan(row[metric.name]) for row in rows)
        ],
        "has_seeds": any(row["seeds"] > 1 for row in rows),
        "n_test": sorted({row["n_test"] for row in rows}),
        "earlier": earlier,
    }


def _tells_apart(setting: str, rows: list[dict[Any, Any]]) -> bool:
    seen: dict[tuple[str, str], Any] = {}
    return any(seen.setdefault((row["extractor"], row["head"]), row[setting]) != row[setting] for row in rows)


def _shared(rows: list[dict[Any, Any]]) -> dict[str, Any]:
    first = rows[0]
    names = [name for name in _SETTINGS if name != "options" and first[name] not in (None, "")]
    shared = {name: first[name] for name in names if all(row[name] == first[name] for row in rows)}
    # What a run means that does not state it goes without saying; only that nothing limits the shots is said.
    return {
        SETTINGS[name].heading: value
        for name, value in shared.items()
        if name == "shots" or value != SETTINGS[name].default
    }


def _label(row: dict[Any, Any], varied: list[str]) -> str:
    parts = [row["extractor"], row["head"], *filter(None, [limits(row), folds(row)])]
    for setting in varied:
        if SETTINGS[setting].limits:
            continue
        if row[setting]:
            parts.append(plain(row[setting]) if setting == "options" else f"{setting} {row[setting]}")
    return " · ".join(parts)


def _shorten_options(rows: list[dict[Any, Any]]) -> None:
    """Leave of each row's options those in which rows of its head differ."""
    options = [json.loads(row["options"]) for row in rows]
    for row, own in zip(rows, options, strict=True):
        others = [other for other, peer in zip(options, rows, strict=True) if peer["head"] == row["head"]]
        names = sorted({name for other in others for name in other})
        row["options"] = {
            name: own.get(name) for name in names if any(other.get(name) != own.get(name) for other in others)
        }


def _scale(rows: list[dict[Any, Any]]) -> tuple[float, float]:
    lows, highs = ([row[name] for row in rows] for name in ("score_low", "score_high"))
    low, high = math.floor(10 * min(lows)) / 10, math.ceil(10 * max(highs)) / 10
    return (low, high) if high > low else (0.0, 1.0)


def _earlier(dataset: str, runs: Sequence[ProbeResult], frame: pd.DataFrame) -> list[ProbeResult]:
    shown = set(frame["run_id"])
    rest = [run for run in runs if storable(run.config["dataset"]) == dataset and run.run_id not in shown]
    return sorted(rest, key=lambda run: (run.created, run.run_id), reverse=True)
