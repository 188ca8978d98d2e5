"""`linprobe fetch`: every model and dataset of a job into the caches, for a machine that will have no network."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from extract import open_source
from linprobe.job.config import DatasetConfig, ExtractorConfig, JobConfig
from linprobe.job.failures import Failure, noted
from linprobe.job.session import Session
from linprobe.models.extractors import open_configured, readiness
from linprobe.models.pins import pin, pins_of

__all__ = ["Fetched", "fetch_all", "list_splits"]


@dataclass
class Fetched:
    """What is ready.

    Attributes:
        models: a document per extractor.
        datasets: a document per dataset.
        failures: what is unavailable.
    """

    models: list[dict[str, Any]] = field(default_factory=list)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        errors = [failure.row() for failure in self.failures]
        return {"models": self.models, "datasets": self.datasets, "errors": errors}


def fetch_all(job: JobConfig, session: Session) -> Fetched:
    """Bring every model and dataset of a job into the caches; what fails does not stop the rest.

    Nothing is computed and no store is needed. What is cached already is only looked at.

    Args:
        job: datasets and extractors.
        session: where the caches are, and who is told.
    """
    fetched = Fetched()
    session.environment.prepare_frameworks()
    steps = [(entry.name, partial(_fetch_model, entry)) for entry in job.extractors]
    steps += [(entry.name, partial(_fetch_dataset, entry)) for entry in job.datasets]
    for name, fetch in steps:
        session.console.status(f"{name} …")
        with noted(name, fetched.failures, session.console):
            fetch(fetched, session)
    return fetched


def _fetch_model(entry: ExtractorConfig, fetched: Fetched, session: Session) -> None:
    # Its digest is part of what it is, so opening it brings the weights here.
    extractor = open_configured(entry, session.environment)
    pins = replace(pins_of(session), is_required=False)
    pins.require(extractor)
    if pins.path.parent != session.store_path or session.has_store():
        pin(extractor, session, is_trusted=entry.trust)
    fetched.models.append({"extractor": entry.name, "weights_sha256": extractor.weights_sha256})
    session.say(f"{entry.name}: {readiness(extractor)}")


def _fetch_dataset(entry: DatasetConfig, fetched: Fetched, session: Session) -> None:
    source = open_source(entry.source, session.environment.source_caches(), reading=entry.reading)
    counts = {split: source.count(split) for split in source.splits}
    fetched.datasets.append({"dataset": entry.name, "source": entry.source, "splits": counts})
    session.say(f"{entry.name}: ready, {list_splits(counts)}")


def list_splits(counts: Mapping[str, int | None]) -> str:
    """Return base splits with their numbers of images, where those are known."""
    return ", ".join(f"{split} {count:,}" if count is not None else split for split, count in counts.items())
