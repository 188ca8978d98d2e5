"""`linprobe report`: the store's runs as a site, or as a table on stdout."""

import json
from collections.abc import Sequence
from pathlib import Path

from linprobe.job.environment import Environment
from linprobe.models.thumbnails import StoreImages
from probe import Verdict, judge_runs
from reports import leaderboard, to_csv, to_json, to_markdown, write_site
from store import FeatureStore, ProbeResult

__all__ = ["TABLE_FORMATS", "judge", "report_table", "write_report"]

TABLE_FORMATS = ("markdown", "csv", "json")


def write_report(store: FeatureStore, out: Path, environment: Environment) -> Path:
    """Write the site of all runs, and return its first page."""
    runs = list(store.runs())
    return write_site(runs, out, StoreImages(store, environment), created=environment.now(), verdicts=judge(runs))


def judge(runs: Sequence[ProbeResult]) -> dict[str, Verdict]:
    """Judge the runs that are rows of the leaderboard, one of each question, in each other's company."""
    shown = set(leaderboard(runs)["run_id"])
    return judge_runs({run.run_id: run for run in runs if run.run_id in shown}.values())


def report_table(store: FeatureStore, table_format: str) -> tuple[str, list[dict[str, object]]]:
    """Return the leaderboard as text of a format, and as documents."""
    runs = list(store.runs())
    frame = leaderboard(runs, judge(runs))
    render = {"markdown": to_markdown, "csv": to_csv, "json": to_json}[table_format]
    documents = json.loads(to_json(frame))
    return render(frame).rstrip("\n"), documents if isinstance(documents, list) else documents["runs"]
