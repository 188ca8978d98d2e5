"""The extraction of one base split, as one value, and the three things that are done with it.

    job = SplitJob(source=…, split="train", extractor=…, store=…, dataset="flowers")
    plan(job)                                  what is missing
    computed = compute(job, open_engine)       the missing rows into the pool (of the job's share)
    publish(job, computed, context)            the set, as soon as no share lacks a row

A share is what one of several jobs or workers computes; the whole split is a share like any other. Whoever finds that
no row is missing publishes the set.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.adoption import Adoption
from extract.canary import CanaryWatch
from extract.engines.engine import Engine
from extract.extractors.extractor import Extractor
from extract.fingerprints import Fingerprints, complete_fingerprints
from extract.handling import degenerate_of
from extract.outcome import NOTHING, Computed, Extraction, Plan, Progress, combine
from extract.shares import WHOLE, Share, chunk_of
from extract.shrink import SizeChange, require_not_shrunk, size_of
from extract.sources.example import DatasetSource
from extract.survey import STRICT, Budget, Survey, known_decode_failures, require_within_budget, set_key
from extract.timing import TimeSpent
from extract.work import Work, is_complete
from store import DamagedStore, FeatureStore, Pool, Provenance, RowsUnavailable, StoreNotFound

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunContext", "SplitJob", "compute", "has_missing_rows", "plan", "publish"]


# Kinds of ignored files that a line names.
_KINDS = 5


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The circumstances of an extraction that its caller knows; they are in no key.

    Attributes:
        created: UTC, ISO 8601 to the second.
        host: the machine's name.
        versions: package name → version.
    """

    created: str
    host: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SplitJob:
    """One base split of one dataset through one extractor.

    Attributes:
        source: where the images come from.
        split: the base split.
        extractor: whose rows.
        store: what has them, or will; None where there is none yet: then there is nothing but a plan.
        dataset: what the set is called.
        share: the chunks that are computed here.
        budget: how many images of the whole base split may be undecodable.
        accept_drift: whether rows are added although the canary images come out otherwise than when the pool was begun.
        max_shrink: how many images a base split may have lost against the size last accepted, and no class; None tells
            of it, and names what is left.
        accepts_shrink: whether its size is accepted, whatever it was.
    """

    source: DatasetSource
    split: str
    extractor: Extractor
    store: FeatureStore | None
    dataset: str
    share: Share = WHOLE
    budget: Budget = STRICT
    accept_drift: bool = False
    max_shrink: Budget | None = None
    accepts_shrink: bool = False

    def __post_init__(self) -> None:
        # The source's own world says how its images are shown, unless the extractor was told.
        object.__setattr__(self, "extractor", self.extractor.seeing(self.source.orientation))

    def size_change(self, survey: Survey) -> SizeChange:
        """Return how large the base split is, which was read to its end, and how large it was accepted to be."""
        before = self.store.accepted_size(self.dataset, self.split, self.extractor.name) if self.store else None
        return SizeChange(before, size_of(self.source, survey))

    def require_size(self, survey: Survey) -> SizeChange:
        """Let only a base split pass that has not shrunk by more than the job allows; return its size.

        Raises:
            DataShrank: it has.
        """
        change = self.size_change(survey)
        if self.max_shrink is not None and not self.accepts_shrink:
            require_not_shrunk(self.dataset, self.split, change, allowed=self.max_shrink)
        return change

    def pool(self) -> Pool:
        """Return the extractor's pool."""
        key = self.extractor.pool_key()
        return self.store.pool(key) if self.store else Pool(Path(key.digest), key)

    def opened_store(self) -> FeatureStore:
        """Return the store.

        Raises:
            StoreNotFound: there is none; only `plan` does without.
        """
        if self.store is None:
            raise StoreNotFound(f"{self.dataset} / {self.split}: a store expected, none given; make one first.")
        return self.store

    def survey(
        self,
        pool: Pool,
        computed: Computed = NOTHING,
        is_wanted: Callable[[int], bool] | None = None,
        *,
        allows: Callable[[int], bool] = lambda bad: True,
    ) -> Survey:
        """Return a reading of the base split that has not begun.

        Args:
            pool: whose rows are known.
            computed: what was found undecodable just now.
            is_wanted: whether the candidate at a place, from 0, is looked at; without, those of the share.
            allows: see `Survey`.
        """
        known = known_decode_failures(self.store, self.dataset, self.split, extractor=self.extractor)
        failures = known | dict(computed.decode_failures)
        return Survey(
            self.source,
            self.split,
            pool,
            failures=failures,
            is_wanted=is_wanted or self.share.has_candidate,
            allows=allows,
            adoption=Adoption(self.store, pool, self.extractor.preprocessing.decoding),
        )


def plan(job: SplitJob) -> Plan:
    """Say what `compute` and `publish` would do, reading every image but computing and writing nothing."""
    pool = job.pool()
    survey = job.survey(pool)
    missing = sum(1 for _ in survey.missing())
    published = ""
    if job.share.is_whole:
        digest = set_key(survey, job.source, job.split, pool=pool).digest
        published = digest if job.store and not missing and job.store.has_set(digest, pool) else ""
    return Plan(
        key=published,
        rows=len(survey.candidates) - survey.bad,
        quarantined=survey.bad,
        ignored=sum(job.source.ignored(job.split).values()),
        missing=missing,
        told=tuple(survey.handling(job.extractor.preprocessing.decoding).sentences() + _left_out(job)),
    )


def has_missing_rows(job: SplitJob) -> bool:
    """Return whether there is an image to compute, reading no further than the first."""
    return next(job.survey(job.pool()).missing(), None) is not None


def ignore(progress: Progress) -> None:
    """Let nobody be told."""


def compute(
    job: SplitJob,
    open_engine: Callable[[], Engine],
    *,
    on_progress: Callable[[Progress], None] = ignore,
    by_workers: Computed = NOTHING,
) -> Computed:
    """Bring the rows of a share into the pool, as far as they are missing; publish nothing.

    Args:
        job: the share.
        open_engine: loads the extractor; called once, and only if a row is missing.
        on_progress: called now and then.
        by_workers: what workers have computed of it just now.

    Raises:
        CanaryDrift: the numbers do not come out as when the pool was begun. No row is added.
        BadData: more images are undecodable than the budget allows; what was computed is kept.
    """
    began = time.perf_counter()
    pool = job.opened_store().pool(job.extractor.pool_key())
    total = job.source.count(job.split)
    budget = job.budget if job.share.is_whole else job.budget.for_share(total)
    with Fingerprints(job.opened_store().perceptual_hashes()) as prints:
        work = Work(
            job.survey(pool, by_workers, allows=lambda bad: budget.allows(bad, total)),
            pool,
            job.extractor,
            open_engine=open_engine,
            watch=CanaryWatch(pool, job.extractor, accept_drift=job.accept_drift),
            budget=budget,
            progress=Progress(job.share.candidates(total), computed=by_workers.forward_passes),
            on_progress=on_progress,
            began=began,
            look=None if job.extractor.preprocessing.view else prints.look,
        )
        found = work.run()
    return found.after(by_workers)


def publish(job: SplitJob, computed: Computed, context: RunContext) -> Extraction | None:
    """Publish the set of a base split if no share of it lacks a row any more; compute nothing.

    Who is done early reads hardly more than its own share: the last chunks of the others are looked at first,
    and a row is missing there as long as they are at work. Of two that end at once, both see all rows, since each
    commits its own before it looks.

    Args:
        job: the share that was computed here; the set is the whole base split's.
        computed: what `compute` gave for it.
        context: when and where.

    Returns:
        None if a row is missing.

    Raises:
        BadData: the budget is exceeded, an id is duplicated, or nothing is left. No set is published.
        DataShrank: the base split has lost more than the job allows; no set is published, and no name is written.
    """
    if job.share.is_whole and computed.survey is not None:
        # It was read to its end just now, and every row was committed.
        return _publish(job, computed, computed.survey, context=context)
    began = time.perf_counter()
    survey = _complete_survey(job, computed)
    if survey is None:
        return None
    require_within_budget(survey, job.budget)
    seconds = time.perf_counter() - began
    looked = Computed(seconds=seconds, time=TimeSpent(read=seconds))
    return _publish(job, combine([computed, looked]), survey, context=context)


def _complete_survey(job: SplitJob, computed: Computed) -> Survey | None:
    """Return the whole base split as it was read, None where a row is missing."""
    pool, found = job.pool(), computed
    total = job.source.count(job.split)
    if total is not None:
        last = chunk_of(total - 1)
        ends = job.survey(pool, found, lambda ordinal: chunk_of(ordinal) > last - job.share.count)
        if not is_complete(ends, job.extractor):
            return None
        found = replace(found, decode_failures=ends.decode_failures)
    survey = job.survey(pool, found, lambda ordinal: True)
    return survey if is_complete(survey, job.extractor) else None


def _publish(job: SplitJob, done: Computed, survey: Survey, *, context: RunContext) -> Extraction:
    began = time.perf_counter()
    pool, store = survey.pool, job.opened_store()
    change = job.require_size(survey)
    survey.bring_adopted()
    key = set_key(survey, job.source, job.split, pool=pool)
    # An image that stands in two shares is computed in both.
    reused = max(0, len(survey.candidates) - survey.bad - done.forward_passes)
    feature_set = store.find_set(key.digest, pool)
    is_cached = feature_set is not None
    ignored = sum(job.source.ignored(job.split).values())
    if feature_set is None:
        provenance = Provenance(
            created=context.created,
            dataset=job.dataset,
            source=job.source.name,
            extractor=job.extractor.name,
            engine=done.engine,
            host=context.host,
            device=done.device,
            threads=done.threads,
            versions=context.versions,
            canary=done.canary,
            seconds=round(done.seconds + time.perf_counter() - began, 3),
            forward_passes=done.forward_passes,
            reused=reused,
            ignored=ignored,
            preset=job.extractor.preset,
        )
        ledger = survey.ledger(job.extractor.preprocessing.decoding)
        notes = _notes(job, survey, ledger)
        feature_set = store.publish_set(key, ledger, pool, provenance=provenance, notes=notes)
    hashes = store.perceptual_hashes()
    if not job.extractor.preprocessing.view and not hashes.has(key.digest):
        complete_fingerprints(hashes, key.digest, job.source, split=job.split, headers=survey.headers())
    for name in dict.fromkeys((job.dataset, job.source.name)):
        store.name_set(
            name,
            job.split,
            job.extractor.name,
            key=key.digest,
            created=context.created,
            size=change.now,
            is_accepted=job.accepts_shrink,
        )
    seconds = time.perf_counter() - began
    return Extraction(
        feature_set=feature_set,
        status="cached" if is_cached and not done.forward_passes else "extracted",
        forward_passes=done.forward_passes,
        reused=reused,
        ignored=ignored,
        adopted=done.adopted,
        seconds=done.seconds + seconds,
        time=done.time + TimeSpent(write=seconds),
        engine=done.engine,
        parameters=done.parameters,
        size=change,
    )


def _notes(job: SplitJob, survey: Survey, ledger: "pd.DataFrame") -> dict[str, Any] | None:
    """Return what people are to be told of a set, None where there is nothing."""
    handling = survey.handling(job.extractor.preprocessing.decoding)
    ok = ledger[ledger["status"] == "ok"]
    contents = [bytes.fromhex(content) for content in ok["content_sha256"]]
    try:
        degenerate = degenerate_of(
            survey.pool.rows(contents),
            np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 32),
            labels=ok["label"].to_numpy(),
            class_names=job.source.class_names,
        )
    except (RowsUnavailable, DamagedStore):
        # `gc` took rows away meanwhile: the set will not be published, and who publishes it says so.
        return None
    told = [*degenerate.sentences(), *handling.sentences(), *_left_out(job)]
    if not told:
        return None
    return {
        "told": told,
        "handling": asdict(handling),
        "degenerate": asdict(degenerate) if degenerate.sentences() else {},
        "ignored": dict(job.source.ignored(job.split)),
    }


def _left_out(job: SplitJob) -> list[str]:
    """Return what lies beside the candidates and was not looked at, each kind with its number, the most first."""
    kinds = sorted(job.source.ignored(job.split).items(), key=lambda item: (-item[1], item[0]))
    if not kinds:
        return []
    shown = ", ".join(f"{count:,} {kind}" for kind, count in kinds[:_KINDS])
    more = f" and {len(kinds) - _KINDS} more kinds" if len(kinds) > _KINDS else ""
    return [f"ignored: {shown}{more}"]
