"""The leaderboard's page."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.figures import intervals_figure
from reports.rendering import Page, render
from reports.wording import plain, storable
from store import ProbeResult

__all__ = ["index_page"]

# Told in a column only where it tells rows of one extractor and head apart; above the table where
# it is the same for all.
_SETTINGS = ("shots", "train", "validation", "test", "seed", "options")
_MOST_ROWS_DRAWN = 40


def index_page(runs: Sequence[ProbeResult], frame: pd.DataFrame, created: str) -> Page:
    """Build the page of the leaderboard.

    Args:
        runs: all runs of the site.
        frame: their leaderboard.
        created: when, as the page shall say it.
    """
    figures: dict[str, bytes] = {}
    datasets = []
    for index, (name, part) in enumerate(frame.groupby("dataset", sort=True), start=1):
        rows = part.to_dict("records")
        file = f"leaderboard-{index}.svg"
        datasets.append(_dataset(str(name), rows, file, _earlier(str(name), runs, frame)))
        figures[file] = intervals_figure(rows[:_MOST_ROWS_DRAWN])
    html = render("index.html", datasets=datasets, created=created, count=len(runs), title="Leaderboard")
    return Page(html, figures)


def _dataset(name: str, rows: list[dict[Any, Any]], figure: str, earlier: list[ProbeResult]) -> dict[str, Any]:
    low, high = _scale(rows)
    _shorten_options(rows)
    varied = [setting for setting in _SETTINGS if _tells_apart(setting, rows)]
    for row in rows:
        row["label"] = _label(row, varied)
        row["bar"] = {
            key: round(100 * (row[value] - low) / (high - low), 2)
            for key, value in (("low", "accuracy_low"), ("high", "accuracy_high"), ("at", "accuracy"))
        }
    return {
        "name": name,
        "rows": rows,
        "figure": figure,
        "drawn": min(len(rows), _MOST_ROWS_DRAWN),
        "scale": (low, high),
        "varied": varied,
        "shared": _shared(rows),
        "has_top5": any(not math.isnan(row["top5"]) for row in rows),
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
    return {name: first[name] for name in names if all(row[name] == first[name] for row in rows)}


def _label(row: dict[Any, Any], varied: list[str]) -> str:
    parts = [row["extractor"], row["head"]]
    for setting in varied:
        if setting == "shots":
            parts += [] if row["shots"] == "all" else [f"{row['shots']}-shot"]
        elif row[setting]:
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
    lows, highs = ([row[name] for row in rows] for name in ("accuracy_low", "accuracy_high"))
    low, high = math.floor(10 * min(lows)) / 10, math.ceil(10 * max(highs)) / 10
    return (low, high) if high > low else (0.0, 1.0)


def _earlier(dataset: str, runs: Sequence[ProbeResult], frame: pd.DataFrame) -> list[ProbeResult]:
    shown = set(frame["run_id"])
    rest = [run for run in runs if storable(run.config["dataset"]) == dataset and run.run_id not in shown]
    return sorted(rest, key=lambda run: (run.created, run.run_id), reverse=True)
