"""`linprobe quick`: the first look at a folder: extract, probe and report with the defaults of a careful person."""

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract import SourceUnavailable, open_source
from extract.sources.schemes import SCHEMES, guess_scheme
from linprobe.commands.extract import ExtractOptions, extract_all
from linprobe.commands.probe import probe_all
from linprobe.commands.report import summarise, write_report
from linprobe.job.config import DatasetConfig, ExtractorConfig, JobConfig, ProbeConfig
from linprobe.job.failures import Failure
from linprobe.job.plan import DEFAULT_EXTRACTOR
from linprobe.job.session import Session
from store import FeatureStore
from store.extractor_names import PIXELS

__all__ = ["Look", "look_at"]

_HEAD = "logistic"
# Below so many images a test part would be small, and folds test each image once.
_FOLDS, _FEW_IMAGES = 5, 1000
_LISTED = 20


@dataclass(frozen=True)
class Look:
    """Result of a first look.

    Attributes:
        document: what --json prints.
        lines: the same for people: what is unreadable, a line a result, where the report is, what to do next.
        page: the report's first page, or None where there is nothing to report.
        failures: parts that failed.
    """

    document: dict[str, Any]
    lines: list[str]
    page: Path | None
    failures: list[Failure]


def look_at(place: str, session: Session, *, out: Path, max_bad: str) -> Look:
    """Extract, probe and report.

    Args:
        place: a folder of class folders, a table, an npz file, or any source as it is named elsewhere.
        session: where the store is or will be, where the job runs, and who is told.
        out: the folder of the report.
        max_bad: how many images may be unreadable, a number or a share such as `5%`.

    Raises:
        SourceUnavailable: nothing is there.
        BadData: it is no dataset of images.
    """
    dataset = DatasetConfig(source=_source(place), max_bad=max_bad)
    probe = ProbeConfig(head=_HEAD, folds=_folds(dataset, session))
    extractors = tuple(ExtractorConfig(name=name) for name in (DEFAULT_EXTRACTOR, PIXELS))
    job = JobConfig(datasets=(dataset,), extractors=extractors, probes=(probe,))
    extracted = extract_all(job, session, options=ExtractOptions())
    probed = probe_all(job, session, skipped=frozenset(extracted.failed_pairs))
    failures = extracted.failures + probed.failures
    store = session.open_store()
    unreadable = _unreadable(store, dataset.stored_name) if extracted.rows else []
    document = {
        "feature_sets": extracted.rows, "unreadable": unreadable, "runs": probed.rows, "report": None,
        "errors": [failure.row() for failure in failures],
    }  # fmt: skip
    lines = _listed(unreadable)
    if not probed.rows:
        return Look(document, lines, None, failures)
    page = write_report(store, out, session.environment).absolute()
    run = f"{session.shown_names([dataset.stored_name])[dataset.stored_name]}/{DEFAULT_EXTRACTOR}/{_HEAD}"
    lines += [*summarise(store, probed.rows), f"Report: {page}"]
    lines += [f"Next: linprobe predict --run {shlex.quote(run)} NEW_IMAGE.jpg"]
    return Look(document | {"report": str(page)}, lines, page, failures)


def _source(place: str) -> str:
    """Return the source that a place means."""
    if place.partition(":")[0] in SCHEMES:
        return place
    scheme = guess_scheme(Path(place).expanduser())
    if scheme is None:
        raise SourceUnavailable(
            f"{place}: no such folder; a folder of images for each class expected in one, a table or an npz file."
        )
    return f"{scheme}:{place}"


def _folds(dataset: DatasetConfig, session: Session) -> int:
    """Return by how many folds every image is tested once; 0 where there is a test part, or there are images enough."""
    source = open_source(dataset.source, session.environment.source_caches(), reading=dataset.reading)
    counts = [source.count(split) for split in source.splits]
    if "test" in source.splits or None in counts:
        return 0
    return _FOLDS if sum(count or 0 for count in counts) < _FEW_IMAGES else 0


def _unreadable(store: FeatureStore, dataset: str) -> list[dict[str, str]]:
    found: dict[str, str] = {}
    for split in store.splits(dataset, DEFAULT_EXTRACTOR):
        ledger = store.get(dataset, split, DEFAULT_EXTRACTOR).ledger()
        bad = ledger[ledger["status"] == "quarantined"]
        found.update(zip(map(str, bad["example_id"]), map(str, bad["reason"]), strict=True))
    return [{"image": image, "reason": reason} for image, reason in found.items()]


def _listed(unreadable: list[dict[str, str]]) -> list[str]:
    if not unreadable:
        return []
    lines = [f"Unreadable, and left out: {len(unreadable):,}"]
    lines += [f"  {one['image']}: {one['reason']}" for one in unreadable[:_LISTED]]
    if len(unreadable) > _LISTED:
        reasons = Counter(one["reason"] for one in unreadable[_LISTED:])
        more = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        lines.append(f"  and {len(unreadable) - _LISTED:,} more: {more}")
    return lines
