"""`linprobe report`: the store's runs as a site, or as a table on stdout."""

import json
from pathlib import Path

from jobs.pictures import StorePictures
from jobs.surroundings import Surroundings
from reports import leaderboard, to_csv, to_json, to_markdown, write_site
from store import FeatureStore

__all__ = ["TABLE_FORMATS", "report_table", "write_report"]

TABLE_FORMATS = ("markdown", "csv", "json")


def write_report(store: FeatureStore, out: Path, surroundings: Surroundings) -> Path:
    """Write the site of all runs, and return its first page."""
    return write_site(list(store.runs()), out, StorePictures(store, surroundings), surroundings.now())


def report_table(store: FeatureStore, table_format: str) -> tuple[str, list[dict[str, object]]]:
    """Return the leaderboard as text of a format, and as documents."""
    frame = leaderboard(list(store.runs()))
    render = {"markdown": to_markdown, "csv": to_csv, "json": to_json}[table_format]
    documents = json.loads(to_json(frame))
    return render(frame), documents if isinstance(documents, list) else documents["runs"]
