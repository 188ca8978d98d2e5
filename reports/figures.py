"""Charts as SVG. Imports matplotlib, so only writing a site imports it.

Figures are drawn on plain `Figure` objects (pyplot keeps global state) and on white: pages put them
on a white card, so that they read the same in light and dark. The same data gives the same bytes.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.drawing_style import BLUE, FONT, GREEN, INK, LINE, MUTED, ORANGE, our_style
from reports.wording import percent, shorten

__all__ = ["confusion_figure", "curves_figure", "growth_figure", "intervals_figure", "selection_figure"]

_COUNTS_SHOWN, _NAMES_SHOWN = 20, 60
_COLOURS = (BLUE, ORANGE, GREEN, MUTED)


@dataclass(frozen=True)
class _Layout:
    """Inches of a panel and of what stands around it.

    Set by hand: a layout engine of matplotlib draws every figure two more times to find this out.
    """

    width: float
    height: float
    left: float
    bottom: float = 0.55
    top: float = 0.3
    right: float = 0.25

    def panels(self, columns: int = 1, gap: float = 0.0) -> tuple[Figure, list[Axes]]:
        width = self.left + columns * self.width + (columns - 1) * gap + self.right
        height = self.bottom + self.height + self.top
        figure = Figure(figsize=(width, height))
        boxes = [(self.left + index * (self.width + gap), self.bottom) for index in range(columns)]
        shares = [(x / width, y / height, self.width / width, self.height / height) for x, y in boxes]
        return figure, [figure.add_axes(share) for share in shares]


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _inches(texts: Iterable[str], size: float) -> float:
    # A reader's font is not ours anyway; 0.62 em per sign is on the wide side of all usual ones.
    return max(map(len, texts), default=0) * 0.62 * size / 72


def _as_percent(value: float, _position: object = None) -> str:
    return f"{100 * value:.4g}%"


def _as_power(value: float, _position: object = None) -> str:
    return "10" + f"{math.log10(value):.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _rule(axes: Axes) -> None:
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def intervals_figure(rows: Sequence[Mapping[Any, Any]], metric: str = "accuracy") -> bytes:
    """Draw scores with their 95% intervals, one line per row, floors muted and hollow.

    Args:
        rows: leaderboard rows of one dataset, each with a `label`, `score`, `score_low` and `score_high`; first on top.
        metric: what the score is, in words.
    """
    labels = [shorten(row["label"], 64) for row in rows]
    with our_style():
        figure, (axes,) = _Layout(5.0, 0.1 + 0.36 * len(rows), _inches(labels, FONT) + 0.2, top=0.15).panels()
        for y, row in enumerate(rows):
            colour = MUTED if row["is_floor"] else BLUE
            at = row["score"]
            axes.plot([row["score_low"], row["score_high"]], [y, y], color=colour, linewidth=2)
            axes.plot([at], [y], "o", color=colour, markerfacecolor="white" if row["is_floor"] else colour)
            axes.text(at, y - 0.22, percent(at, row["n_test"]), ha="center", fontsize=8, color=colour)
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.5, -0.8)
        axes.xaxis.set_major_formatter(_as_percent)
        axes.set_xlabel(f"test {metric} with its 95% interval (hollow: floor)")
        _rule(axes)
        axes.grid(visible=False, axis="y")
        return _svg(figure)


def growth_figure(curves: Mapping[str, Sequence[Mapping[str, float]]], metric: str = "accuracy") -> bytes:
    """Draw learning curves: a score over the number of training examples, a line per head.

    Args:
        curves: name → points by `n_train`, each with `score` and `sd`.
        metric: what the score is, in words.
    """
    with our_style():
        figure, (axes,) = _Layout(6.6, 2.8, 0.75, top=0.15, bottom=0.6 + 0.2 * len(curves)).panels()
        for number, (name, points) in enumerate(curves.items()):
            x, y, error = ([point[key] for point in points] for key in ("n_train", "score", "sd"))
            marker = "os^Dv"[number // len(_COLOURS) % 5]
            axes.errorbar(x, y, error, color=_COLOURS[number % len(_COLOURS)], marker=marker, markersize=4,
                          linewidth=1.3, capsize=2, label=shorten(name, 90))  # fmt: skip
        axes.set_xscale("log")
        ticks = sorted({point["n_train"] for points in curves.values() for point in points})
        axes.set_xticks(_apart(ticks), [f"{tick:,}" for tick in _apart(ticks)])
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_major_formatter(_as_percent)
        axes.set_xlabel("training examples (log scale)")
        axes.set_ylabel(f"test {metric}")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), borderaxespad=0, handlelength=1.6)
        _rule(axes)
        return _svg(figure)


def _apart(ticks: Sequence[float], factor: float = 1.6) -> list[float]:
    """Return the ticks that have room beside each other on a logarithmic axis."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick >= factor * kept[-1]:
            kept.append(tick)
    return kept


def selection_figure(
    table: Sequence[Mapping[str, Any]], options: Sequence[str], selected: Mapping[str, float]
) -> bytes:
    """Draw the accuracy of every candidate that was tried, with its standard error.

    Args:
        table: records with the options, `accuracy` and perhaps `standard_error`.
        options: the first is the horizontal axis, logarithmic where all values are positive; candidates that are alike
            in all others are joined by a line.
        selected: option → the value that was taken, as far as it is known.
    """
    parameter, *others = options
    frame = pd.DataFrame(table).sort_values(parameter, kind="stable")
    is_log = bool((frame[parameter].to_numpy(float) > 0).all())
    lines = list(frame.groupby(others, sort=True)) if others else [((), frame)]
    with our_style():
        rows_of_legend = -(-(len(lines) + 2) // 3) if others else 1
        figure, (axes,) = _Layout(6.6, 2.3, 0.75, top=0.12 + 0.18 * rows_of_legend).panels()
        for number, (values, line) in enumerate(lines):
            name = ", ".join(f"{shorten(other, 40)} = {value:.3g}" for other, value in zip(others, values, strict=True))
            _draw_line(axes, line, parameter, name=name.replace("_", " "), strength=1.0 - 0.75 * number / len(lines))
        if is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(_as_power)
            axes.xaxis.set_minor_formatter("")
        _mark_candidates(axes, frame, options, selected=selected)
        axes.yaxis.set_major_formatter(_as_percent)
        axes.set_xlabel(shorten(parameter, 40).replace("_", " ") + (" (log scale)" if is_log else ""))
        axes.set_ylabel("accuracy in selection")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, ncols=3, handlelength=1.2)
        _rule(axes)
        return _svg(figure)


def _draw_line(axes: Axes, line: pd.DataFrame, parameter: str, *, name: str, strength: float) -> None:
    """Draw candidates that differ in the parameter alone; errors only where no other line could hide in them."""
    x, y = (line[column].to_numpy(float) for column in (parameter, "accuracy"))
    style = "o-" if len(set(x)) == len(x) else "o"
    axes.plot(x, y, style, color=BLUE, alpha=strength, markersize=3, linewidth=1.3, label=name or None)
    if not name and "standard_error" in line and line["standard_error"].notna().any():
        error = line["standard_error"].to_numpy(float)
        axes.fill_between(x, y - error, y + error, color=BLUE, alpha=0.15, linewidth=0, label="± standard error")


def _mark_candidates(axes: Axes, frame: pd.DataFrame, options: Sequence[str], *, selected: Mapping[str, float]) -> None:
    x, y = (frame[column].to_numpy(float) for column in (options[0], "accuracy"))
    if np.isfinite(y).any():
        best = int(np.nanargmax(y))
        axes.plot([x[best]], [y[best]], "^", color=GREEN, markersize=7, label=_named("most accurate", x[best], x))
    known = [option for option in options if option in selected]
    if known:
        # What was selected may have gone through arithmetic: the nearest candidate is meant.
        distance = sum(_distances(frame[option].to_numpy(float), selected[option]) for option in known)
        near = int(np.argmin(distance))
        axes.axvline(x[near], color=ORANGE, linestyle="--", linewidth=1)
        axes.plot([x[near]], [y[near]], "D", color=ORANGE, markersize=5, label=_named("selected", x[near], x))


def _distances(values: npt.NDArray[Any], wanted: float) -> npt.NDArray[Any]:
    if wanted > 0 and (values > 0).all():
        return np.asarray(np.abs(np.log(values) - math.log(wanted)))
    return np.asarray(np.abs(values - wanted))


def _named(label: str, value: float, x: npt.NDArray[Any]) -> str:
    is_edge = len(x) > 1 and value in (x.min(), x.max())
    return f"{label}: {value:.3g}" + (" (edge of the grid)" if is_edge else "")


_CURVES = (
    ("train_{}_running", "training, running mean over the epoch", BLUE, "--", "o"),
    ("train_{}", "training, at the epoch's end", BLUE, "-", "s"),
    ("validation_{}", "validation, at the epoch's end", ORANGE, "-", "^"),
)


def curves_figure(curves: pd.DataFrame) -> bytes:
    """Draw accuracy and loss per epoch, for training and validation.

    Args:
        curves: a row per epoch, columns `epoch` and those of a run's curves; one that is missing,
            or has no value, is not drawn.
    """
    with our_style():
        figure, panels = _Layout(3.4, 2.3, 0.6, bottom=0.85).panels(columns=2, gap=0.6)
        for axes, name in zip(panels, ("accuracy", "loss"), strict=True):
            for column, label, colour, line, marker in _CURVES:
                key = column.format(name)
                if key in curves and curves[key].notna().any():
                    x, y = curves["epoch"], curves[key]
                    axes.plot(
                        x, y, color=colour, linestyle=line, marker=marker, markersize=4, linewidth=1.4, label=label
                    )
            axes.set_title(name, fontsize=10, loc="left")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _rule(axes)
        panels[0].yaxis.set_major_formatter(_as_percent)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=max(len(labels), 1))
        return _svg(figure)


def confusion_figure(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> bytes:
    """Draw the confusion matrix, each row's colours by its shares.

    Up to 20 classes the counts are written into the cells, up to 60 every class is named, beyond
    that every so many.

    Args:
        counts: shape (classes, classes), a row per true class, a column per predicted class.
        class_names: in label order.
    """
    size = len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_small = size <= _COUNTS_SHOWN
    font = 8.5 if is_small else 6.0
    step = 1 if size <= _NAMES_SHOWN else math.ceil(size / 50)
    names = [shorten(name, 20) for name in class_names[::step]]
    side = max(1.2, 0.4 * size) if is_small else 0.13 * min(size, _NAMES_SHOWN)
    around = _inches(names, font) + 0.4
    with our_style():
        figure, (axes,) = _Layout(side, side, around, bottom=around, top=0.1).panels()
        # interpolation="none" stores one pixel per cell, whatever the size of the figure.
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none", aspect="equal")
        ticks = range(0, size, step)
        axes.set_xticks(ticks, names, fontsize=font, rotation=90 if max(map(len, names), default=0) > 2 else 0)
        axes.set_yticks(ticks, names, fontsize=font)
        axes.tick_params(length=0 if is_small else 2)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        if is_small:
            for (i, j), count in np.ndenumerate(counts):
                if count:
                    ink = "white" if shares[i, j] > 0.55 else INK
                    axes.text(j, i, str(count), ha="center", va="center", fontsize=8, color=ink)
        return _svg(figure)
