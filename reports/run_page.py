"""The page of one run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.classes import class_rows, confused_pairs, confusion
from reports.examples import confident_mistakes, grid_examples
from reports.figures import confusion_figure, curves_figure, selection_figure
from reports.rendering import Page, render
from reports.thumbnails import Thumbnail
from store import ProbeResult
from store.extractor_names import is_floor
from store.metrics import METRICS, SELECTION_METRICS
from store.settings import names_of

__all__ = ["run_page"]

_RESULTS_OF_CANDIDATES = frozenset({*SELECTION_METRICS, "standard_error", "nll"})
_PARAMETER_COUNTS = ("trainable_parameters", "frozen_parameters")


def run_page(
    run: ProbeResult,
    frame: pd.DataFrame,
    images: Mapping[str, Thumbnail],
    *,
    created: str,
    dataset: str,
    data: Sequence[str] = (),
) -> Page:
    """Build the page of a run.

    Args:
        run: the run.
        frame: the leaderboard of the site, which knows the floor to compare with.
        images: example id → thumbnail, for those that are at hand.
        created: when, as the page shall say it.
        dataset: what the page calls the dataset.
        data: sentences about what was done to its images, and what was left out.
    """
    rows = frame[frame["run_id"] == run.run_id].to_dict("records")
    counts = confusion(run)
    prefix = run.run_id[:12]
    figures = {f"{prefix}-confusion.svg": confusion_figure(counts, run.class_names)}
    selection = _selection(run)
    if selection["drawn"]:
        figures[f"{prefix}-selection.svg"] = selection_figure(
            selection["table"], selection["drawn"], selection["numbers"]
        )
    if not run.curves.empty:
        figures[f"{prefix}-curves.svg"] = curves_figure(run.curves)
    html = render(
        "run.html",
        title=f"{run.config['extractor']} · {run.config['head']} on {dataset}",
        run=run,
        dataset=dataset,
        prefix=prefix,
        row=rows[0] if rows else None,
        is_floor=is_floor(run.config["extractor"]),
        right=int(np.trace(counts)),
        warnings=[*_warnings(run), *([rows[0]["disagreement"]] if rows and rows[0]["disagreement"] else [])],
        data=data,
        headline=_headline(run),
        metrics=_metrics(run),
        config={**_configuration(run), "dataset": dataset},
        selection=selection,
        summary=_model_summary(run.fit),
        fit={name: value for name, value in run.fit.items() if name not in _PARAMETER_COUNTS},
        classes=class_rows(run),
        pairs=confused_pairs(run),
        grid=_tiles(run, grid_examples(run), images),
        mistakes=_tiles(run, confident_mistakes(run), images),
        created=created,
    )
    return Page(html, figures)


def _warnings(run: ProbeResult) -> list[str]:
    is_told = run.fit["converged"] or any("converge" in warning.lower() for warning in run.warnings)
    return [*([] if is_told else ["The final fit did not converge."]), *run.warnings]


def _headline(run: ProbeResult) -> dict[str, Any]:
    """Return what stands in large type: the metric that was asked for, and its interval."""
    metric = run.config["metric"]
    low, high = (run.metrics.get(f"{metric}_{end}", np.nan) for end in ("low", "high"))
    return {"name": metric.replace("_", " "), "value": run.metrics[metric], "low": low, "high": high}


def _metrics(run: ProbeResult) -> list[tuple[str, float, str]]:
    columns = {column for metric in METRICS.values() for column in metric.columns}
    # A run may have been made by a version that measures more.
    names = [name for name in METRICS if name in run.metrics] + sorted(set(run.metrics) - columns)
    rows = []
    for name in names:
        title, meaning = (METRICS[name].title, METRICS[name].meaning) if name in METRICS else (name, "")
        if f"{name}_low" in run.metrics:
            low, high = run.metrics[f"{name}_low"], run.metrics[f"{name}_high"]
            meaning += f" 95% interval: {low:.4f} to {high:.4f}{_resampled(run)}."
        if name == "nll":
            meaning += f" Guessing all {len(run.class_names)} classes alike gives {np.log(len(run.class_names)):.4f}."
        rows.append((title, float(run.metrics[name]), meaning))
    return rows


def _resampled(run: ProbeResult) -> str:
    return ", whole groups resampled" if (run.predictions["group"] != "").any() else ""


def _configuration(run: ProbeResult) -> dict[str, Any]:
    first = (*names_of(but=["seed", "views"]), "seed")
    rest = sorted(name for name in run.config if name not in first and name not in ("sets", "view_sets"))
    return {name: run.config[name] for name in (*first, *rest) if name in run.config}


def _selection(run: ProbeResult) -> dict[str, Any]:
    table: Sequence[Mapping[str, Any]] = run.selection.get("table") or ()
    selected: Mapping[str, Any] = run.selection.get("selected") or {}
    columns = list(dict.fromkeys(name for record in table for name in record))
    options = [name for name in columns if name not in _RESULTS_OF_CANDIDATES]
    numeric = [name for name in options if all(_is_number(record.get(name)) for record in table)]
    # All that was selected; where nothing was, the first that varies.
    drawn = [name for name in selected if name in numeric] or numeric[:1]
    has_accuracy = all(_is_number(record.get("accuracy")) for record in table)
    return {
        "method": run.selection.get("method") or "",
        "selected": selected,
        "notes": run.selection.get("notes") or (),
        "table": table,
        "columns": columns,
        "drawn": drawn if has_accuracy else [],
        "numbers": {name: float(value) for name, value in selected.items() if _is_number(value)},
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _model_summary(fit: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the lines that Keras' `model.summary()` ends with, as far as the counts are known."""
    trainable, frozen = (fit.get(name) for name in _PARAMETER_COUNTS)
    lines = []
    if trainable is not None and frozen is not None:
        lines.append(("Total params", int(trainable) + int(frozen)))
    if trainable is not None:
        lines.append(("Trainable params", int(trainable)))
    if frozen is not None:
        lines.append(("Non-trainable params", int(frozen)))
    return [(name, count, _size(4 * count)) for name, count in lines]


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def _tiles(run: ProbeResult, names: Sequence[str], images: Mapping[str, Thumbnail]) -> list[dict[str, Any]]:
    rows = {str(row["example_id"]): row for row in run.predictions.to_dict("records")}
    tiles = []
    for name in names:
        row = rows[name]
        tiles.append(
            {
                "name": name,
                "image": images.get(name),
                "is_right": bool(row["is_correct"]),
                "predicted": run.class_names[int(row["predicted"])],
                "label": run.class_names[int(row["label"])],
                "confidence": float(row["confidence"]),
            }
        )
    return tiles
