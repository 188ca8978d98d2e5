"""`linprobe extract`: every dataset through every extractor, each base split once."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from extract import (
    WHOLE,
    Budget,
    Contribution,
    DatasetSource,
    Engine,
    Extraction,
    Extractor,
    LostSplit,
    Naming,
    Progress,
    Share,
    compute_share,
    end_lost_splits,
    extract_features,
    find_lost_splits,
    has_missing_rows,
    open_source,
    plan_extraction,
    publish_if_complete,
)
from linprobe.commands.extract_rows import extracted_row, line_of, partial_row, planned_row
from linprobe.executors import Crew, Task
from linprobe.job.config import DatasetConfig, ExtractorConfig, JobConfig
from linprobe.job.console import Console
from linprobe.job.environment import Environment, installed_versions
from linprobe.job.errors import ConfigError, sentence
from linprobe.job.failures import Failure, foreseen
from linprobe.models.extractors import EngineKeeper, open_configured
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
        is_drift_accepted: add rows though the canary images come out otherwise than when the pool was begun.
        workers: instead of the configured number.
        share: of each base split.
        views: how many views of each training image, instead of the configured number.
        sources: what opens a source that only this process can, by its name.
    """

    splits: tuple[str, ...] = ()
    engine: str | None = None
    max_bad: str | None = None
    is_dry_run: bool = False
    device: str | None = None
    is_drift_accepted: bool = False
    workers: int | Literal["auto"] | None = None
    share: Share = WHOLE
    views: int | None = None
    sources: Mapping[str, Callable[[], DatasetSource]] = field(default_factory=dict)


@dataclass
class ExtractOutcome:
    """Result of an extract job.

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
    configured: ExtractorConfig
    extractor: Extractor
    budget: Budget

    @property
    def title(self) -> str:
        return f"{self.dataset.name}/{self.split} {self.extractor.name}"


def extract_all(
    job: JobConfig,
    store: Callable[[], FeatureStore],
    cache: Path,
    options: ExtractOptions,
    environment: Environment,
    console: Console,
) -> ExtractOutcome:
    """Extract what a job lacks; a part that fails does not stop the others.

    Args:
        job: datasets and extractors.
        store: opens or makes the store; called when a first part is known to be sound.
        cache: the store's folder for what is disposable; used once the store is there.
        options: what the command line adds.
        environment: where the job runs.
        console: who is told.
    """
    outcome = ExtractOutcome()
    environment.prepare_frameworks()
    with Crew(options.workers or job.workers, console.say) as crew:
        extracting = _Extracting(store, cache, options, environment, console, crew)
        for configured in job.extractors:
            for dataset in job.datasets:
                pair = f"{dataset.name} / {configured.name}"
                try:
                    for row in extracting.rows(dataset, configured):
                        outcome.rows.append(row)
                        console.say(line_of(row))
                except foreseen() as error:
                    outcome.failures.append(Failure(pair, error))
                    outcome.failed_pairs.add((dataset.name, configured.name))
                    console.say(f"{pair}: {sentence(error)}")
    return outcome


class _Extracting:
    """What the parts of a job have in common."""

    def __init__(
        self,
        store: Callable[[], FeatureStore],
        cache: Path,
        options: ExtractOptions,
        environment: Environment,
        console: Console,
        crew: Crew,
    ) -> None:
        self._store = store
        self._known_files = (cache / "stat", int(environment.timestamp() * 1e9))
        self._options = options
        self._environment = environment
        self._console = console
        self._crew = crew
        self._source = functools.cache(self._open_source)
        self._engines = EngineKeeper(console.say)

    def rows(self, dataset: DatasetConfig, configured: ExtractorConfig) -> Iterator[dict[str, Any]]:
        """Extract the base splits of a dataset one after another; yield the document of each."""
        extractor = open_configured(configured, self._environment)
        source = self._source(dataset.source)
        budget = _budget(self._options.max_bad, dataset)
        splits = _splits(dataset, source, self._options.splits)
        parts = [_Part(dataset, source, split, configured, extractor, budget) for split in splits]
        parts += self._views(parts)
        for part in {part.extractor.name: part for part in parts}.values():
            self._end_lost(part)
        for part in parts:
            yield self._planned(part) if self._options.is_dry_run else self._extract(part, self._store())

    def _views(self, parts: list[_Part]) -> list[_Part]:
        """Return the parts that are views of these: of each base split that training may draw on, so many."""
        configured = parts[0].configured
        views = configured.views if self._options.views is None else self._options.views
        if not views:
            return []
        dataset, splits = parts[0].dataset, [part.split for part in parts]
        trained_on = _training_splits(dataset, parts[0].source.splits or splits)
        viewed = [part for part in parts if part.split in trained_on]
        if not viewed:
            self._console.say(
                f"{dataset.name} / {configured.name}: no views: training draws on {_listed(trained_on)} of its base "
                f"splits, and {_listed(splits)} was to be extracted; a dataset's train = … says what to train on."
            )
        return [
            replace(part, extractor=part.extractor.view(number)) for number in range(1, views + 1) for part in viewed
        ]

    def _open_source(self, source: str) -> DatasetSource:
        if source in self._options.sources:
            return self._options.sources[source]()
        return open_source(source, self._environment.tfds_data_dir, self._known_files)

    def _end_lost(self, part: _Part) -> None:
        """End the names of base splits that the source has no more.

        Before its other splits are extracted: no probe in between may take the old ones for part of the new.
        """
        try:
            store = self._store()
        except StoreNotFound:
            return  # a dry run on a new path
        lost = find_lost_splits(part.source, part.extractor, store, part.dataset.stored_name, self._options.splits)
        if not self._options.is_dry_run:
            end_lost_splits(lost, part.extractor, store, self._environment.now())
        for entry in lost:
            self._console.say(_farewell(entry, part.extractor, self._options.is_dry_run))

    def _planned(self, part: _Part) -> dict[str, Any]:
        try:
            store = self._store()
        except StoreNotFound:
            store = None
        plan = plan_extraction(
            part.source, part.split, part.extractor, store, part.dataset.stored_name, self._options.share
        )
        if not part.budget.allows(plan.quarantined, plan.rows + plan.quarantined):
            self._console.say(
                f"{part.title}: {plan.quarantined} undecodable images are more than the budget allows: without "
                "--dry-run this ends with 65. 'max_bad' of the dataset, or --max-bad, raises it."
            )
        return planned_row(part.dataset.name, part.split, part.extractor, plan)

    def _extract(self, part: _Part, store: FeatureStore) -> dict[str, Any]:
        share, environment = self._options.share, self._environment
        whose = [] if share.is_whole else [str(share)]
        lock = digest([part.source.name, part.split, part.extractor.pool_key().digest, *whose])[:32]
        holder = f"{environment.process}, at {part.title}"
        with (
            store.lock(f"extract-{lock}", True, holder, lambda text: self._console.say(f"{part.title}: {text}")),
            self._console.progress(part.title) as update,
        ):
            if share.is_whole:
                extraction = self._extract_whole(part, store, update)
            else:
                done = self._compute_share(part, store, update)
                published = publish_if_complete(
                    part.source, part.split, part.extractor, store, share, self._naming(part), part.budget, done
                )
                if published is None:
                    ignored = part.source.ignored(part.split)
                    return partial_row(part.dataset.name, part.split, part.extractor, share, done, ignored)
                extraction = published
        return extracted_row(part.dataset.name, part.split, part.extractor, extraction)

    def _extract_whole(self, part: _Part, store: FeatureStore, update: Callable[[Progress], None]) -> Extraction:
        contributed, source = self._contributed(part, store, update)
        return extract_features(
            source,
            part.split,
            part.extractor,
            store,
            self._engine_opener(part),
            self._naming(part),
            part.budget,
            update,
            is_drift_accepted=self._options.is_drift_accepted,
            contributed=contributed,
        )

    def _compute_share(self, part: _Part, store: FeatureStore, update: Callable[[Progress], None]) -> Contribution:
        contributed, source = self._contributed(part, store, update)
        return compute_share(
            source,
            part.split,
            part.extractor,
            store,
            self._engine_opener(part),
            self._options.share,
            part.dataset.stored_name,
            part.budget,
            update,
            is_drift_accepted=self._options.is_drift_accepted,
            contributed=contributed,
        )

    def _contributed(
        self, part: _Part, store: FeatureStore, update: Callable[[Progress], None]
    ) -> tuple[Contribution, DatasetSource]:
        """Let the workers do what they can; what they have left undone is computed here.

        Returns:
            What they did, and the source, which knows the files that they have read.
        """
        share, dataset = self._options.share, part.dataset.stored_name
        chunks = share.chunks(part.source.count(part.split))
        is_here_alone = part.dataset.source in self._options.sources
        if (
            is_here_alone
            or not self._crew.is_worth(chunks)
            or not has_missing_rows(part.source, part.split, part.extractor, store, dataset, share)
        ):
            return Contribution(), part.source
        engine, device = self._where(part)
        task = Task(
            store=store.path,
            dataset=dataset,
            source=part.dataset.source,
            split=part.split,
            extractor=part.configured,
            view=part.extractor.preprocessing.view,
            engine=engine,
            device=device,
            budget=part.budget,
            is_drift_accepted=self._options.is_drift_accepted,
            known_files=self._known_files,
            share=share,
        )
        return self._crew.compute(task, chunks, update), self._open_source(part.dataset.source)

    def _where(self, part: _Part) -> tuple[str, str]:
        """Return engine and device, as asked for or configured."""
        return self._options.engine or part.configured.engine, self._options.device or part.configured.device

    def _naming(self, part: _Part) -> Naming:
        now = self._environment.now()
        return Naming(part.dataset.stored_name, now, self._environment.host, installed_versions())

    def _engine_opener(self, part: _Part) -> Callable[[], Engine]:
        engine, device = self._where(part)
        return self._engines.opener(part.configured, part.extractor, engine=engine, device=device)


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


def _listed(splits: Sequence[str]) -> str:
    return " and ".join(map(repr, splits)) or "none"


def _training_splits(dataset: DatasetConfig, names: Sequence[str]) -> list[str]:
    """Return the base splits that training may draw on; where nothing is configured, as `probe.resolve` does."""
    # Only here does an extraction need to read splits as probes do.
    from probe.splits import base_splits

    if dataset.train:
        return base_splits(dataset.train, names)
    if "train" in names:
        return ["train"]
    held_out = {"test", "validation"}
    held_out |= {name for spec in (dataset.validation, dataset.test) if spec for name in base_splits(spec, names)}
    return [name for name in names if name not in held_out]


def _farewell(lost: LostSplit, extractor: Extractor, is_dry_run: bool) -> str:
    why = "was an import, and the source" if lost.is_import else "the source"
    ends = "would end" if is_dry_run else "has ended"
    kept = f"; its set {lost.set_key[:12]} stays, as_of= and key= reach it" if lost.set_key else ""
    name = f"{lost.name} / {lost.split} / {extractor.name}"
    return (
        f"{name}: {why} has no base split {lost.split!r}{'' if lost.is_import else ' any more'}; the name {ends}{kept}"
    )
