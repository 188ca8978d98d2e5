"""`linprobe extract`: every dataset through every extractor, each base split once."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from extract import (
    NOTHING,
    WHOLE,
    Budget,
    Computed,
    DatasetSource,
    ExtractError,
    Extractor,
    LostSplit,
    Progress,
    Reading,
    RunContext,
    Share,
    SplitJob,
    compute,
    end_lost_splits,
    find_lost_splits,
    has_missing_rows,
    open_source,
    plan,
    publish,
    require_no_lost_split,
)
from linprobe.commands.extract_rows import extracted_row, line_of, partial_row, planned_row
from linprobe.executors import Crew, SplitSpec
from linprobe.job.config import DatasetConfig, ExtractorConfig, JobConfig
from linprobe.job.environment import installed_versions
from linprobe.job.errors import ConfigError, sentence
from linprobe.job.failures import Failure, foreseen
from linprobe.job.session import Session
from linprobe.models.extractors import EngineKeeper, open_configured
from linprobe.models.pins import pin, pinning, pins_of
from store import FeatureStore, StoreNotFound
from store.documents import digest

__all__ = ["ExtractOptions", "ExtractOutcome", "extract_all"]


# Names of classes that a line shows.
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """What the command line adds to the job.

    Attributes:
        splits: base splits to extract; none means those that the job needs.
        engine, device: instead of the configured ones.
        max_bad: instead of the configured budget, `N` or `P%`.
        is_dry_run: say what would be done, and do nothing.
        accept_drift: add rows though the canary images come out otherwise than when the pool was begun.
        workers: instead of the configured number.
        share: of each base split.
        views: how many views of each training image, instead of the configured number.
        sources: what opens a source that only this process can, by its name.
        is_guarded: whether a dataset that shrank by more than its `max_shrink` keeps its names, and fails.
        accepted: datasets whose size is accepted all the same, by their names in the job.
        trust: whether SavedModels may run operations outside of the list, though the job does not say so of them.
    """

    splits: tuple[str, ...] = ()
    engine: str | None = None
    max_bad: str | None = None
    is_dry_run: bool = False
    device: str | None = None
    accept_drift: bool = False
    workers: int | Literal["auto"] | None = None
    share: Share = WHOLE
    views: int | None = None
    sources: Mapping[str, Callable[[], DatasetSource]] = field(default_factory=dict)
    is_guarded: bool = False
    accepted: frozenset[str] = frozenset()
    trust: bool = False


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


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One base split of one dataset through one extractor: what was configured, and the job that it makes."""

    dataset: DatasetConfig
    configured: ExtractorConfig
    job: SplitJob
    shown_name: str

    @property
    def title(self) -> str:
        return f"{self.shown_name}/{self.job.split} {self.job.extractor.name}"


def extract_all(job: JobConfig, session: Session, *, options: ExtractOptions | None = None) -> ExtractOutcome:
    """Extract what a job lacks; a part that fails does not stop the others.

    The store is made when a first part is known to be sound; of a job that failed or was stopped before there was a
    row, nothing stays.

    Args:
        job: datasets and extractors.
        session: where the job runs, where its store is or will be, and who is told.
        options: what the command line adds.
    """
    from store.opening import remove_empty_store

    outcome = ExtractOutcome()
    options = options or ExtractOptions()
    session.environment.prepare_frameworks()
    had_store = session.has_store()
    try:
        with Crew(options.workers or job.workers, session.say) as crew:
            extracting = _Extracting(session, options, crew)
            shown_names = session.shown_names([dataset.stored_name for dataset in job.datasets])
            for configured in job.extractors:
                if options.trust:
                    configured = configured.model_copy(update={"trust": True})
                for dataset in job.datasets:
                    shown_name = shown_names[dataset.stored_name]
                    try:
                        for row in extracting.rows(dataset, configured, shown_name):
                            outcome.rows.append(row)
                            session.say(line_of(row, shown_name))
                            if row["status"] != "cached":
                                extracting.tell(row, shown_name)
                    except foreseen() as error:
                        outcome.failures.append(Failure(f"{dataset.name} / {configured.name}", error))
                        outcome.failed_pairs.add((dataset.name, configured.name))
                        session.say(f"{shown_name} / {configured.name}: {sentence(error)}")
    finally:
        if not had_store:
            remove_empty_store(session.store_path)
    return outcome


class _Extracting:
    """What the parts of a job have in common."""

    def __init__(self, session: Session, options: ExtractOptions, crew: Crew) -> None:
        self._session = session
        self._options = options
        self._crew = crew
        now_ns = int(session.environment.timestamp() * 1e9)
        self._known_files = (session.store_path / "cache" / "stat", now_ns)
        self._source = functools.cache(self._open_source)
        self._engines = EngineKeeper(session.say)
        self._told: set[tuple[str, str]] = set()

    def rows(self, dataset: DatasetConfig, configured: ExtractorConfig, shown_name: str) -> Iterator[dict[str, Any]]:
        """Extract the base splits of a dataset one after another; yield the document of each."""
        parts = self._parts(dataset, configured, shown_name)
        for part in {part.job.extractor.name: part for part in parts}.values():
            self._end_lost(part)
        if self._options.is_dry_run:
            yield from map(self._planned, parts)
        elif self._options.is_guarded:
            yield from self._extract_guarded(parts)
        else:
            yield from (self._publish(part, *self._compute(part)) for part in parts)

    def _extract_guarded(self, parts: list[_Part]) -> Iterator[dict[str, Any]]:
        """Extract base splits, and name none before all are known to be large enough: they belong together."""
        computed: list[tuple[_Part, SplitJob, Computed]] = []
        error: BaseException | None = None
        try:
            computed.extend((part, *self._compute(part)) for part in parts)
        except foreseen() as found:
            # What is whole is published all the same, if nothing has shrunk.
            error = found
        for _, job, done in computed:
            if done.survey is not None:
                job.require_size(done.survey)
        yield from (self._publish(part, job, done) for part, job, done in computed)
        if error is not None:
            raise error

    def _parts(self, dataset: DatasetConfig, configured: ExtractorConfig, shown_name: str) -> list[_Part]:
        extractor = open_configured(configured, self._session.environment)
        try:
            # Before a large dataset is read; what has rows may be cached, and is asked when a row is missing.
            pins_of(self._session).require(extractor)
        except ExtractError:
            if not self._has_rows_of(extractor):
                raise
        source = self._source(dataset.source, dataset.reading)
        for text in source.left_out:
            self._tell_once(shown_name, text)
        budget = _budget(self._options.max_bad, dataset)
        max_shrink = _max_shrink(dataset) if self._options.is_guarded else None
        jobs = [
            SplitJob(
                source=source,
                split=split,
                extractor=extractor,
                store=None,
                dataset=dataset.stored_name,
                share=self._options.share,
                budget=budget,
                accept_drift=self._options.accept_drift,
                max_shrink=max_shrink,
                accepts_shrink=dataset.name in self._options.accepted,
            )
            for split in _splits(dataset, source, self._options.splits)
        ]
        parts = [_Part(dataset=dataset, configured=configured, job=job, shown_name=shown_name) for job in jobs]
        parts += self._views(parts)
        store = self._store()
        return [replace(part, job=replace(part.job, store=store)) for part in parts]

    def _has_rows_of(self, extractor: Extractor) -> bool:
        try:
            pools = self._session.open_store().pools()
        except StoreNotFound:
            return False
        return any(pool.key.weights_sha256 == extractor.weights_sha256 for pool in pools)

    def _store(self) -> FeatureStore | None:
        """Return the store, made if need be; None in a dry run on a new path."""
        if not self._options.is_dry_run:
            return self._session.create_store()
        try:
            return self._session.open_store()
        except StoreNotFound:
            return None

    def _views(self, parts: list[_Part]) -> list[_Part]:
        """Return the parts that are views of these: of each base split that training may draw on, so many."""
        dataset, configured = parts[0].dataset, parts[0].configured
        views = configured.views if self._options.views is None else self._options.views
        if not views:
            return []
        splits = [part.job.split for part in parts]
        trained_on = _training_splits(dataset, parts[0].job.source.splits or splits)
        viewed = [part for part in parts if part.job.split in trained_on]
        if not viewed:
            pair = f"{parts[0].shown_name} / {configured.name}"
            self._session.say(
                f"{pair}: no views: training draws on {_listed(trained_on)} of its base "
                f"splits, and {_listed(splits)} was to be extracted; a dataset's train = … says what to train on."
            )
        return [
            replace(part, job=replace(part.job, extractor=part.job.extractor.view(number)))
            for number in range(1, views + 1)
            for part in viewed
        ]

    def _tell_once(self, name: str, text: str) -> None:
        if (name, text) not in self._told:
            self._told.add((name, text))
            self._session.say(f"{name}: {text}")

    def tell(self, row: dict[str, Any], shown_name: str) -> None:
        """Tell what was done to a base split's images and what was left out, once for all extractors."""
        name = f"{shown_name}/{row['split']}"
        for text in row["told"]:
            self._tell_once(name, text)

    def _open_source(self, source: str, reading: Reading) -> DatasetSource:
        if source in self._options.sources:
            return self._options.sources[source]()
        return open_source(source, self._session.environment.source_caches(self._known_files), reading=reading)

    def _end_lost(self, part: _Part) -> None:
        """End the names of base splits that the source has no more.

        Before its other splits are extracted: no probe in between may take the old ones for part of the new.
        """
        if part.job.store is None:
            return
        lost = find_lost_splits(part.job, asked=self._options.splits)
        require_no_lost_split(part.job, lost)
        if not self._options.is_dry_run:
            end_lost_splits(lost, part.job, created=self._session.environment.now())
        for entry in lost:
            self._session.say(_farewell(entry, part.job.extractor, self._options.is_dry_run))

    def _planned(self, part: _Part) -> dict[str, Any]:
        found = plan(part.job)
        extractor = part.job.extractor
        if found.missing:
            pins_of(self._session).require(extractor)
            if extractor.program:
                self._tell_once(extractor.name, f"would run {extractor.program()}")
        if not part.job.budget.allows(found.quarantined, found.rows + found.quarantined):
            self._session.say(
                f"{part.title}: {found.quarantined} undecodable images are more than the budget allows: without "
                "--dry-run this ends with 65. 'max_bad' of the dataset, or --max-bad, raises it."
            )
        return planned_row(part.dataset.name, part.job, found)

    def _compute(self, part: _Part) -> tuple[SplitJob, Computed]:
        """Bring the rows of a part into the pool; return the job by which they are published, and what was computed."""
        job, environment = part.job, self._session.environment
        whose = [] if job.share.is_whole else [str(job.share)]
        lock = digest([job.source.name, job.split, job.extractor.pool_key().digest, *whose])[:32]
        holder = f"{environment.process}, at {part.title}"
        with (
            job.opened_store().lock(
                f"extract-{lock}", True, holder, on_wait=lambda text: self._session.say(f"{part.title}: {text}")
            ),
            self._session.console.progress(part.title) as update,
        ):
            by_workers = self._by_workers(part, update)
            if by_workers is not NOTHING:
                # Opened again: it knows the files that the workers have read.
                job = replace(job, source=self._open_source(part.dataset.source, part.dataset.reading))
            engine, device = self._where(part)
            trust = part.configured.trust
            open_engine = pinning(
                self._engines.opener(part.configured, job.extractor, engine=engine, device=device),
                job.extractor,
                self._session,
                is_trusted=trust,
            )
            if by_workers is not NOTHING:
                pin(job.extractor, self._session, is_trusted=trust)
            return job, compute(job, open_engine, on_progress=update, by_workers=by_workers)

    def _publish(self, part: _Part, job: SplitJob, computed: Computed) -> dict[str, Any]:
        environment = self._session.environment
        context = RunContext(created=environment.now(), host=environment.host, versions=installed_versions())
        published = publish(job, computed, context)
        if published is None:
            return partial_row(part.dataset.name, job, computed)
        if published.size.before is None:
            names = [name for name in job.source.class_names if name in published.size.now.classes]
            shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            self._tell_once(part.shown_name, f"new: {len(names):,} classes: {shown}")
        if published.size.is_shrink:
            accepted = "accepted" if job.accepts_shrink else "NOT what was accepted; is something not mounted?"
            self._session.console.warn(f"{part.title}: SHRANK: {published.size.text()}; {accepted}")
        return extracted_row(part.dataset.name, job, published)

    def _by_workers(self, part: _Part, update: Callable[[Progress], None]) -> Computed:
        """Let the workers do what they can; what they have left undone is computed here."""
        job = part.job
        chunks = job.share.chunks(job.source.count(job.split))
        is_here_alone = part.dataset.source in self._options.sources
        if is_here_alone or not self._crew.is_worth(chunks) or not has_missing_rows(job):
            return NOTHING
        pins_of(self._session).require(job.extractor)
        engine, device = self._where(part)
        spec = SplitSpec(
            store=job.opened_store().path,
            dataset=job.dataset,
            source=part.dataset.source,
            reading=part.dataset.reading,
            split=job.split,
            extractor=part.configured,
            view=job.extractor.preprocessing.view,
            engine=engine,
            device=device,
            budget=job.budget,
            accept_drift=job.accept_drift,
            known_files=self._known_files,
            share=job.share,
        )
        return self._crew.compute(spec, chunks, update)

    def _where(self, part: _Part) -> tuple[str, str]:
        """Return engine and device, as asked for or configured."""
        return self._options.engine or part.configured.engine, self._options.device or part.configured.device


def _budget(flag: str | None, dataset: DatasetConfig) -> Budget:
    text = flag if flag is not None else str(dataset.max_bad)
    try:
        return Budget.parse(text)
    except ValueError as error:
        raise ConfigError(
            f"{'--max-bad' if flag is not None else f'datasets.{dataset.name}.max_bad'}: {error}"
        ) from error


def _max_shrink(dataset: DatasetConfig) -> Budget:
    try:
        return Budget.parse(str(dataset.max_shrink))
    except ValueError as error:
        raise ConfigError(f"datasets.{dataset.name}.max_shrink: {error}") from error


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
