"""The site: which files it is made of.

OUT/index.html                      the leaderboard
    leaderboard.csv, .md, .json     the same numbers
    runs/<run id, 12 digits>.html   a page per run
    figures/*.svg                   its charts
    thumbnails/<hash>.png           its images
    linprobe-report.json            the marker, see `reports.folder`
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.errors import DuplicateRun, InvalidRun, NothingToReport
from reports.examples import confident_mistakes, grid_examples
from reports.folder import replace_report
from reports.ranking import Verdict, leaderboard
from reports.tables import to_csv, to_json, to_markdown
from reports.thumbnails import ImageLookup, Thumbnail, Thumbnails
from store import ProbeResult
from store.names import shortest_ends

if TYPE_CHECKING:
    from reports.rendering import Page

__all__ = ["write_site"]


def write_site(
    runs: Sequence[ProbeResult],
    out: Path,
    images: ImageLookup,
    *,
    created: str,
    verdicts: Mapping[str, Verdict] | None = None,
    answers: Sequence[str] | None = None,
    data: Callable[[ProbeResult], Sequence[str]] = lambda run: (),
    made_of: Callable[[], str] = lambda: "",
) -> Path:
    """Write a site of plain files that opens from disk.

    The site appears at once: an interrupted call leaves the old one as it was.

    Args:
        runs: the runs to show; the leaderboard takes those that answer a question now, and every run
            gets a page.
        out: the site's folder: missing, empty, or a report of ours, which is replaced.
        images: finds the images of a run's test examples; those that are not at hand get a
            tile that says so.
        created: when, as the pages shall say it.
        verdicts: run id → verdict, see `reports.ranking`.
        answers: which runs answer a question now, see `reports.leaderboard`.
        data: gives sentences about what was done to the images of a run's dataset, and what was left out.
        made_of: gives a digest of all that the site shows, see `reports.folder.is_current`; asked when the images have
            been looked for.

    Returns:
        The path of index.html.

    Raises:
        NothingToReport: if there are no runs.
        InvalidRun: if a run contradicts itself or has an id that cannot name a page.
        DuplicateRun: if two runs would have the same page.
        NotAReport: if `out` holds anything that a report of ours did not write.
    """
    unique = list({run.run_id: run for run in runs}.values())
    _require_runs(unique)
    # Late, so that `import reports` loads neither jinja2 nor matplotlib nor scikit-learn.
    from reports.index_page import index_page
    from reports.run_page import run_page

    frame = leaderboard(unique, verdicts, answers=answers)
    # Pages are sent around: they show what tells datasets apart, and nobody's whole path.
    names = shortest_ends({run.config["dataset"] for run in unique})
    with replace_report(out, made_of) as folder:
        for name in ("runs", "figures", "thumbnails"):
            (folder / name).mkdir()
        thumbnails = Thumbnails(folder / "thumbnails")
        for run in unique:
            page = run_page(
                run,
                frame,
                _images_of(run, images, thumbnails),
                created=created,
                dataset=names[run.config["dataset"]],
                data=data(run),
            )
            _write_page(folder, f"runs/{run.run_id[:12]}.html", page)
        _write(folder / "leaderboard.csv", to_csv(frame))
        _write(folder / "leaderboard.md", to_markdown(frame))
        _write(folder / "leaderboard.json", to_json(frame))
        _write_page(folder, "index.html", index_page(unique, frame, created, names=names))
    return out / "index.html"


def _images_of(run: ProbeResult, images: ImageLookup, thumbnails: Thumbnails) -> dict[str, Thumbnail]:
    wanted = list(dict.fromkeys([*grid_examples(run), *confident_mistakes(run)]))
    found = images(run, wanted)
    added = {name: thumbnails.add(found[name]) for name in wanted if name in found}
    return {name: thumbnail for name, thumbnail in added.items() if thumbnail is not None}


def _write_page(folder: Path, name: str, page: "Page") -> None:
    for figure, data in page.figures.items():
        (folder / "figures" / figure).write_bytes(data)
    _write(folder / name, page.html)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _require_runs(runs: Sequence[ProbeResult]) -> None:
    if not runs:
        raise NothingToReport("There are no probe runs to report; run 'linprobe probe' first.")
    pages: dict[str, str] = {}
    for run in runs:
        # The id names files: nothing but letters and digits may come from it.
        if not re.fullmatch(r"[0-9A-Za-z]{12,}", run.run_id):
            raise InvalidRun(f"Run {run.run_id!r}: an id of 12 or more letters and digits expected.")
        _require_labels(run)
        other = pages.setdefault(run.run_id[:12], run.run_id)
        if other != run.run_id:
            raise DuplicateRun(f"Runs {other} and {run.run_id}: both would be runs/{run.run_id[:12]}.html.")


def _require_labels(run: ProbeResult) -> None:
    if run.predictions.empty:
        raise InvalidRun(f"Run {run.run_id}: a prediction per test example expected, none found.")
    classes = len(run.class_names)
    for name in ("label", "predicted"):
        low, high = run.predictions[name].min(), run.predictions[name].max()
        if low < 0 or high >= classes:
            raise InvalidRun(f"Run {run.run_id}: {name} in 0 to {classes - 1} expected, {low} to {high} found.")
