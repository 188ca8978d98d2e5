"""`linprobe extract`: every dataset through every extractor, each base split once."""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from extract import (
    Budget,
    DatasetSource,
    Engine,
    Extraction,
    Extractor,
    LostSplit,
    Naming,
    TimeSpent,
    end_lost_splits,
    extract_features,
    find_lost_splits,
    open_engine,
    open_source,
    plan_extraction,
)
from jobs.config import DatasetConfig, JobConfig
from jobs.console import Console
from jobs.errors import ConfigError
from jobs.extractors import open_configured
from jobs.failures import Failure, foreseen
from jobs.surroundings import Surroundings, installed_versions
from store import FeatureStore, StoreNotFound
from store.documents import digest

__all__ = ["ExtractOptions", "ExtractOutcome", "extract_all"]


@dataclass(frozen=True)
class ExtractOptions:
    """What the command line adds to the job.

    Attributes:
        splits: base splits to extract; none means those that the job needs.
        engine, device: instead of the configured ones.
        max_bad: instead of the configured budget, `N` or `P%`.
        is_dry_run: say what would be done, and do nothing.
        is_drift_accepted: add rows though the canary pictures come out otherwise than when the pool was begun.
    """

    splits: tuple[str, ...] = ()
    engine: str | None = None
    max_bad: str | None = None
    is_dry_run: bool = False
    device: str | None = None
    is_drift_accepted: bool = False


@dataclass
class ExtractOutcome:
    """What became of an extract job.

    Attributes:
        rows: a document per (dataset, split, extractor), in the order of the work.
        failures: parts that failed.
        failed_pairs: (dataset, extractor) of those.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failed_pairs: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True)
class _Part:
    """One base split of one dataset through one extractor."""

    dataset: DatasetConfig
    source: DatasetSource
    split: str
    extractor: Extractor
    budget: Budget


def extract_all(
    job: JobConfig,
    store: Callable[[], FeatureStore],
    cache: Path,
    options: ExtractOptions,
    surroundings: Surroundings,
    console: Console,
) -> ExtractOutcome:
    """Extract what a job lacks; a part that fails does not stop the others.

    Args:
        job: datasets and extractors.
        store: opens or makes the store; called when a first part is known to be sound.
        cache: the store's folder for what is disposable; used once the store is there.
        options: what the command line adds.
        surroundings: where the job runs.
        console: who is told.
    """
    outcome = ExtractOutcome()
    surroundings.prepare_frameworks()
    known_files = (cache / "stat", int(surroundings.timestamp() * 1e9))
    sources = functools.cache(lambda source: open_source(source, surroundings.tfds_data_dir, known_files))
    for configured in job.extractors:
        loaded: dict[str, Engine] = {}
        for dataset in job.datasets:
            pair = f"{dataset.name} / {configured.name}"
            try:
                extractor = open_configured(configured, surroundings)
                source = sources(dataset.source)
                budget = _budget(options.max_bad, dataset)
                parts = [_Part(dataset, source, s, extractor, budget) for s in _splits(dataset, source, options.splits)]
                _end_lost(parts[0], store, options, surroundings, console)
                for part in parts:
                    if options.is_dry_run:
                        outcome.rows.append(_planned(part, store))
                    else:
                        engine, device = options.engine or configured.engine, options.device or configured.device
                        opened = _engine_opener(extractor, engine, device, loaded, console)
                        outcome.rows.append(_extract(part, store(), opened, options, surroundings, console))
                    console.say(_line(outcome.rows[-1]))
            except foreseen() as error:
                outcome.failures.append(Failure(pair, error))
                outcome.failed_pairs.add((dataset.name, configured.name))
                console.say(f"{pair}: {error}")
    return outcome


def _budget(flag: str | None, dataset: DatasetConfig) -> Budget:
    text = flag if flag is not None else str(dataset.max_bad)
    try:
        return Budget.parse(text)
    except ValueError as error:
        raise ConfigError(
            f"{'--max-bad' if flag is not None else f'datasets.{dataset.name}.max_bad'}: {error}"
        ) from error


def _splits(dataset: DatasetConfig, source: DatasetSource, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the base splits to extract: those asked for, configured, or all that there are."""
    found = asked or dataset.splits or source.splits
    if not found:
        raise ConfigError(f"{source.name}: does not say which base splits it has; name them with --split.")
    return found


def _end_lost(
    part: _Part,
    store: Callable[[], FeatureStore],
    options: ExtractOptions,
    surroundings: Surroundings,
    console: Console,
) -> None:
    """End the names of base splits that the source has no more.

    Before its other splits are extracted: no probe in between may take the old ones for part of the new.
    """
    try:
        opened = store()
    except StoreNotFound:
        return  # a dry run on a new path
    lost = find_lost_splits(part.source, part.extractor, opened, part.dataset.stored_name, options.splits)
    if not options.is_dry_run:
        end_lost_splits(lost, part.extractor, opened, surroundings.now())
    for entry in lost:
        console.say(_farewell(entry, part.extractor, options.is_dry_run))


def _farewell(lost: LostSplit, extractor: Extractor, is_dry_run: bool) -> str:
    why = "was an import, and the source" if lost.is_import else "the source"
    ends = "would end" if is_dry_run else "has ended"
    kept = f"; its set {lost.set_key[:12]} stays, as_of= and key= reach it" if lost.set_key else ""
    name = f"{lost.name} / {lost.split} / {extractor.name}"
    return (
        f"{name}: {why} has no base split {lost.split!r}{'' if lost.is_import else ' any more'}; the name {ends}{kept}"
    )


def _engine_opener(
    extractor: Extractor, engine: str, device: str, loaded: dict[str, Engine], console: Console
) -> Callable[[], Engine]:
    def opened() -> Engine:
        if engine not in loaded:
            loaded[engine] = open_engine(extractor, engine, console.say, device)
            console.say(_summary(extractor, loaded[engine]))
        return loaded[engine]

    return opened


def _summary(extractor: Extractor, engine: Engine) -> str:
    counts = engine.parameters
    precision = "" if extractor.precision == "float32" else f" in {extractor.precision}"
    first = f"{extractor.name}: {extractor.about}; {engine.dim} features, {engine.name} on {engine.device}{precision}"
    if not counts.frozen:
        # A floor has none; a Python function keeps them to itself.
        return first
    return (
        f"{first}\n"
        f"  Total params: {counts.frozen + counts.trainable:,}\n"
        f"  Trainable params: {counts.trainable:,}\n"
        f"  Non-trainable params: {counts.frozen:,} (constants of the graph)"
    )


def _extract(
    part: _Part,
    store: FeatureStore,
    opened: Callable[[], Engine],
    options: ExtractOptions,
    surroundings: Surroundings,
    console: Console,
) -> dict[str, Any]:
    naming = Naming(part.dataset.stored_name, surroundings.now(), surroundings.host, installed_versions())
    title = f"{part.dataset.name}/{part.split} {part.extractor.name}"
    lock = digest([part.source.name, part.split, part.extractor.pool_key().digest])[:32]
    holder = f"{surroundings.process}, at {title}"
    with (
        store.lock(f"extract-{lock}", True, holder, lambda text: console.say(f"{title}: {text}")),
        console.progress(title) as update,
    ):
        extraction = extract_features(
            part.source,
            part.split,
            part.extractor,
            store,
            opened,
            naming,
            part.budget,
            update,
            is_drift_accepted=options.is_drift_accepted,
        )
    return _row(part, extraction)


def _row(part: _Part, extraction: Extraction) -> dict[str, Any]:
    manifest = extraction.feature_set.manifest
    seconds = extraction.seconds
    return {
        "key": extraction.feature_set.key,
        "dataset": part.dataset.name,
        "split": part.split,
        "extractor": part.extractor.name,
        "dim": manifest["dim"],
        "rows": manifest["rows"],
        "quarantined": manifest["quarantined"],
        "ignored": extraction.ignored,
        "forward_passes": extraction.forward_passes,
        "reused": extraction.reused,
        "status": extraction.status,
        "seconds": round(seconds, 3),
        "images_per_second": round(extraction.forward_passes / seconds, 1) if extraction.forward_passes else 0.0,
        "engine": extraction.engine,
        "time": _seconds(extraction.time),
    }


def _seconds(spent: TimeSpent) -> dict[str, float]:
    return {stage: round(seconds, 3) for stage, seconds in asdict(spent).items()}


def _planned(part: _Part, store: Callable[[], FeatureStore]) -> dict[str, Any]:
    try:
        existing = store()
    except StoreNotFound:
        existing = None
    plan = plan_extraction(part.source, part.split, part.extractor, existing, part.dataset.stored_name)
    return {
        "key": plan.key,
        "dataset": part.dataset.name,
        "split": part.split,
        "extractor": part.extractor.name,
        "dim": part.extractor.dim,
        "rows": plan.rows,
        "quarantined": plan.quarantined,
        "ignored": plan.ignored,
        "forward_passes": plan.lacking,
        "reused": plan.rows - plan.lacking,
        "status": "cached" if plan.key else "planned",
        "seconds": 0.0,
        "images_per_second": 0.0,
        "engine": "",
        "time": _seconds(TimeSpent()),
    }


def _line(row: dict[str, Any]) -> str:
    name = f"{row['dataset']}/{row['split']} {row['extractor']}"
    counts = f"{row['rows']:,} rows"
    for field_name in ("quarantined", "ignored"):
        counts += f", {row[field_name]:,} {field_name}" if row[field_name] else ""
    if row["status"] == "cached":
        return f"{name}: cached, {counts}, no forward pass"
    work = f"{row['forward_passes']:,} forward passes, {row['reused']:,} reused"
    if row["status"] == "planned":
        return f"{name}: would take {work} ({counts})"
    speed = f"{work} in {row['seconds']:.1f} s ({row['images_per_second']:,.0f} images/s)"
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["time"].items())
    return f"{name}: {counts}; {speed}; seconds: {spent}"
