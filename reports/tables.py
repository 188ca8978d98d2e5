"""The leaderboard as text: for spreadsheets, for programs, for people, for the end of a job."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.ranking import Verdict, leaderboard
from reports.wording import MISSING, percent, points, training, visible
from store import ProbeResult
from store.metrics import METRICS
from store.names import shortest_ends
from store.settings import SETTINGS, names_of

__all__ = ["summary_lines", "to_csv", "to_json", "to_markdown"]


_HEADINGS = {
    **{name: SETTINGS[name].heading for name in names_of(but=["options", "validation", "seed"])},
    "accuracy": "accuracy",
    "accuracy_low": "95% low",
    "accuracy_high": "95% high",
    "is_best": "best",
    "is_indistinguishable": "indistinguishable from the best",
    "p_best": "p (best)",
    "above_floor": "above floor",
    "seeds": "seeds",
    "seed_mean": "seed mean",
    "seed_sd": "seed sd",
    # Ends of intervals are shown of the accuracy alone.
    **{metric.name: metric.heading for metric in METRICS.values() if metric.is_ranked and metric.name != "accuracy"},
    "n_train": "n train",
    "n_test": "n test",
    "dim": "dim",
    "is_floor": "floor",
    "converged": "converged",
    "warnings": "warnings",
    "disagreement": "disagreement",
    "protocol": "protocol",
    "run_id": "run",
}


def to_csv(frame: pd.DataFrame) -> str:
    """Return the leaderboard as CSV: every column, numbers in full precision, missing ones empty."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> str:
    """Return the leaderboard as a JSON list of records: every column, missing values null."""
    records = [{str(name): _json_value(value) for name, value in row.items()} for row in frame.to_dict("records")]
    return json.dumps(records, indent=2, allow_nan=False) + "\n"


def to_markdown(frame: pd.DataFrame) -> str:
    """Return the leaderboard as a Markdown table, numbers rounded to four digits.

    Columns that are missing in every row are left out, and so are settings that no row changes.
    """
    shown = [name for name in _HEADINGS if name in frame and _tells_something(frame, name)]
    right = {name for name in shown if pd.api.types.is_numeric_dtype(frame[name]) and frame[name].dtype != bool}
    lines = [
        _table_line(_HEADINGS[name] for name in shown),
        _table_line("---:" if name in right else "---" for name in shown),
    ]
    for row in frame.to_dict("records"):
        lines.append(_table_line(_markdown_cell(name, row[name]) for name in shown))
    return "\n".join(lines) + "\n"


def _tells_something(frame: pd.DataFrame, name: str) -> bool:
    if name == "protocol":
        return frame[name].nunique() > 1
    # Shots are shown in any case: "all" is told where others may be expected.
    unsaid = {name: setting.default for name, setting in SETTINGS.items() if name != "shots"}
    default = {**unsaid, "disagreement": ""}.get(name)
    return frame.empty or bool((frame[name].notna() & (frame[name] != default)).any())


def summary_lines(
    runs: Iterable[ProbeResult],
    verdicts: Mapping[str, Verdict] | None = None,
    *,
    answers: Sequence[str] | None = None,
) -> list[str]:
    """Return the lines that end a job: one per leaderboard row, in aligned columns.

    Args:
        runs: the runs of the job.
        verdicts: run id → verdict, see `reports.ranking`.
        answers: which of them answer a question now, see `reports.leaderboard`.

    Returns:
        Dataset, extractor, head, the metric with its 95% interval, and what a reader must know: that the row is the
        best, or cannot be told from it; that it is a floor, or how far above one it stands; seeds, warnings.
    """
    rows = leaderboard(runs, verdicts, answers=answers).to_dict("records")
    names = shortest_ends({row["dataset"] for row in rows})
    rows = [{**row, "dataset": names[row["dataset"]]} for row in rows]
    has_training = any(training(row) for row in rows)
    newest = max((row["protocol"] for row in rows), default=0)
    cells = [_summary_cells(row, has_training, newest) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]  # fmt: skip


def _summary_cells(row: Mapping[Any, Any], has_training: bool, newest: int) -> list[str]:
    n, metric = row["n_test"], row["metric"]
    notes = []
    if row["is_best"]:
        notes.append("best")
    elif row["is_indistinguishable"]:
        notes.append("indistinguishable from the best")
    if row["is_floor"]:
        notes.append("floor")
    elif row["floor"] is not None:
        notes.append(f"{points(row['above_floor'], n)} points over {visible(row['floor'])}")
    if row["seeds"] > 1 and row["seed_sd"] == row["seed_sd"]:
        notes.append(f"{row['seeds']} seeds: {percent(row['seed_mean'], n)} ± {percent(row['seed_sd'], n)}")
    if row["protocol"] < newest:
        notes.append(f"protocol {row['protocol']}")
    if not row["converged"]:
        notes.append("did not converge")
    warnings = row["warnings"] + bool(row["disagreement"])
    if warnings:
        notes.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    return [
        *(visible(row[name]) for name in ("dataset", "extractor", "head")),
        *([training(row)] if has_training else []),
        percent(row[metric], n).rjust(6) + (" balanced" if metric == "balanced_accuracy" else ""),
        f"95%: {percent(row[f'{metric}_low'], n)} to {percent(row[f'{metric}_high'], n)}, n = {n}",
        ", ".join(notes),
    ]


def _table_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value != value:  # NaN is the one value that differs from itself
        return MISSING
    if name == "above_floor":
        return f"{value:+.4f}"
    if isinstance(value, float):
        return f"{value:.4f}"
    if name == "run_id":
        return visible(value)[:12]
    # Markdown reads HTML, so a name must not bring any; a line break would end the row.
    text = re.sub(r"([\\`*\[\]<>|~#&])", r"\\\1", visible(value))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\_", text)


def _json_value(value: object) -> object:
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value
