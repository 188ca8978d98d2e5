"""`linprobe report`: the store's runs as a site, or as a table on stdout."""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linprobe.job.environment import Environment
from reports.folder import is_current
from store import DamagedStore, FeatureSetNotFound, FeatureStore, ProbeResult
from store.disposable import parse_disposable, write_disposable
from store.documents import digest

if TYPE_CHECKING:
    from probe import Verdict

__all__ = ["TABLE_FORMATS", "judge", "report_table", "summarise", "write_report"]

TABLE_FORMATS = ("markdown", "csv", "json")
_CODE = (".py", ".html", ".css", ".js")
_SUMMARY = b"linprobe summary 1"


def write_report(store: FeatureStore, out: Path, environment: Environment) -> Path:
    """Write the site of all runs, and return its first page; one that shows the same already stays as it is."""
    from linprobe.models.thumbnails import StoreImages

    images = StoreImages(store, environment)
    keys = {key for record in store.records() for key in record.config["sets"].values()}
    # An image that is missing is shown as soon as its dataset is there again.
    sources = [[key, images.has_source(key)] for key in sorted(keys)]
    standing = [[one.run_id, one.dataset, one.extractor] for one in store.standing()]
    made_of = digest([_code_digest(), store.run_digests(), standing, sources])
    if is_current(out, made_of):
        return out / "index.html"
    from reports import write_site

    runs, answers = _runs_and_answers(store)
    return write_site(
        runs,
        out,
        images,
        created=environment.now(),
        verdicts=judge(runs, answers),
        answers=answers,
        data=lambda run: _told(store, run),
        made_of=lambda: "" if images.may_find_more else made_of,
    )


@functools.cache
def _code_digest() -> str:
    """Return a digest of what makes numbers and pages of runs: another version may show them otherwise."""
    sha = hashlib.sha256()
    for package in ("probe", "reports"):
        spec = importlib.util.find_spec(package)
        folder = Path(spec.origin).parent if spec and spec.origin else Path()
        for path in sorted(path for path in folder.rglob("*") if path.suffix in _CODE):
            sha.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return sha.hexdigest()


def summarise(store: FeatureStore, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines that end a night: one per row of its leaderboard.

    They are kept in the store's disposable cache: what was said of the same runs is not worked out again.

    Args:
        store: holds the runs.
        rows: the night's runs, as `linprobe.commands.probe` gives them: an equal run may have been trained under
            another name.
    """
    asked = [[row["run_id"], row["dataset"], row["extractor"]] for row in rows]
    digests = store.run_digests([run_id for run_id, _, _ in asked])
    key = digest([_code_digest(), asked, digests])
    path = store.path / "cache" / "summary.json"
    kept = parse_disposable(path, _SUMMARY, _kept_summary)
    if kept is not None and kept[0] == key:
        return kept[1]
    from reports import summary_lines

    runs = [
        replace(run, config={**run.config, "dataset": dataset, "extractor": extractor})
        for run, dataset, extractor in ((store.run(run_id), *names) for run_id, *names in asked)
    ]
    # Tonight's runs are all answers; of one question they differ in the seed alone.
    answers = [run.run_id for run in runs]
    lines = summary_lines(runs, judge(runs, answers), answers=answers)
    write_disposable(path, _SUMMARY, json.dumps({"key": key, "lines": lines}).encode())
    return lines


def _kept_summary(data: bytes) -> tuple[str, list[str]]:
    document = json.loads(data)
    return str(document["key"]), [str(line) for line in document["lines"]]


def _runs_and_answers(store: FeatureStore) -> tuple[list[ProbeResult], list[str]]:
    """Return every run, called as in its question; and the ids of those that answer one now, the last at the end."""
    standing = {one.run_id: one for one in store.standing()}
    runs = []
    for run in store.runs():
        one = standing.get(run.run_id)
        names = {"dataset": one.dataset, "extractor": one.extractor} if one else {}
        runs.append(replace(run, config={**run.config, **names}))
    return runs, list(standing)


def _told(store: FeatureStore, run: ProbeResult) -> list[str]:
    """Return what the sets of a run have to tell of their images, each once."""
    told: dict[str, None] = {}
    for split, key in run.config["sets"].items():
        try:
            sentences = store.get(key=key).notes.get("told", ())
        except (FeatureSetNotFound, DamagedStore):
            continue  # a set that was collected, or is damaged: its run stands all the same
        told.update(dict.fromkeys(f"{split}: {sentence}" for sentence in sentences))
    return list(told)


def judge(runs: Sequence[ProbeResult], answers: Sequence[str] | None = None) -> "dict[str, Verdict]":
    """Judge the runs that are rows of the leaderboard, one of each question, in each other's company.

    Args:
        runs: any runs.
        answers: which of them answer a question now, see `reports.leaderboard`.
    """
    from probe import judge_runs
    from reports import leaderboard

    shown = set(leaderboard(runs, answers=answers)["run_id"])
    return judge_runs({run.run_id: run for run in runs if run.run_id in shown}.values())


def report_table(store: FeatureStore, table_format: str) -> tuple[str, list[dict[str, object]]]:
    """Return the leaderboard as text of a format, and as documents."""
    from reports import leaderboard, to_csv, to_json, to_markdown

    runs, answers = _runs_and_answers(store)
    frame = leaderboard(runs, judge(runs, answers), answers=answers)
    render = {"markdown": to_markdown, "csv": to_csv, "json": to_json}[table_format]
    documents = json.loads(to_json(frame))
    return render(frame).rstrip("\n"), documents if isinstance(documents, list) else documents["runs"]
