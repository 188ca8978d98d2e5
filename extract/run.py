"""One base split through one extractor: images to rows, rows to the pool, the set published.

The rows may come from several: each share is brought into the pool by whoever has it, and whoever finds that
no row is missing publishes the set.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from extract.canary import CanaryWatch
from extract.engines.engine import Engine
from extract.errors import BadData
from extract.extractors.extractor import Extractor
from extract.flight import Flight
from extract.outcome import NOTHING, Contribution, Extraction, Naming, Progress, combine
from extract.pipeline import Batch, Pending, load_decoder, stream_batches
from extract.shares import Share, chunk_of
from extract.sources.example import DatasetSource
from extract.survey import STRICT, Budget, Survey, known_decode_failures, set_key
from extract.timing import Stopwatch, TimeSpent
from store import FeatureStore, Pool, Provenance

__all__ = ["compute_share", "extract_features", "publish_if_complete"]


def extract_features(
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore,
    open_engine: Callable[[], Engine],
    naming: Naming,
    budget: Budget = STRICT,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    has_canary: bool = True,
    is_drift_accepted: bool = False,
    contributed: Contribution = NOTHING,
) -> Extraction:
    """Bring one base split's rows into the pool, as far as they are missing, and publish its set.

    Args:
        source: where the images come from.
        split: the base split.
        extractor: whose rows.
        store: what has them, or will.
        open_engine: loads the extractor; called once, and only if a row is missing.
        naming: what the set will be called.
        budget: how many images may be undecodable.
        on_progress: called now and then.
        has_canary: whether the canary images are looked at before rows are added.
        is_drift_accepted: whether rows are added although they have drifted.
        contributed: what workers have computed for it just now.

    Raises:
        CanaryDrift: the numbers do not come out as when the pool was begun. No row is added.
        BadData: the budget is exceeded, an id is duplicated, or nothing is left. No set is published.
    """
    began = time.perf_counter()
    pool = store.pool(extractor.pool_key())
    decode_failures = known_decode_failures(store, naming.dataset, split, extractor) | dict(contributed.decode_failures)
    survey = Survey(source, split, pool, decode_failures)
    watch = CanaryWatch(pool, extractor, is_drift_accepted) if has_canary else None
    progress = Progress(source.count(split), computed=contributed.forward_passes)
    own = _Work(survey, pool, extractor, open_engine, progress, budget, on_progress, watch, began).run()
    return _publish(survey, source, split, extractor, store, pool, naming, own.after(contributed))


def compute_share(
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore,
    open_engine: Callable[[], Engine],
    share: Share,
    dataset: str,
    budget: Budget = STRICT,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    has_canary: bool = True,
    is_drift_accepted: bool = False,
    contributed: Contribution = NOTHING,
) -> Contribution:
    """Bring the rows of one share of a base split into the pool, as far as they are missing; publish nothing.

    Args:
        source, split, extractor, store, open_engine, on_progress, has_canary, is_drift_accepted, contributed: as for
            `extract_features`.
        share: which chunks.
        dataset: what the set is called, whose decode_failures on broken images hold.
        budget: how many images of the whole base split may be undecodable.

    Raises:
        CanaryDrift, BadData: as there.
    """
    began = time.perf_counter()
    pool = store.pool(extractor.pool_key())
    decode_failures = known_decode_failures(store, dataset, split, extractor) | dict(contributed.decode_failures)
    total = source.count(split)
    survey = Survey(source, split, pool, decode_failures, share.has_candidate)
    watch = CanaryWatch(pool, extractor, is_drift_accepted) if has_canary else None
    progress = Progress(share.candidates(total), computed=contributed.forward_passes)
    allowed = budget.for_share(total)
    own = _Work(survey, pool, extractor, open_engine, progress, allowed, on_progress, watch, began).run()
    return own.after(contributed)


def publish_if_complete(
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore,
    share: Share,
    naming: Naming,
    budget: Budget = STRICT,
    contributed: Contribution = NOTHING,
) -> Extraction | None:
    """Publish a base split's set if no share of it lacks a row any more; compute nothing.

    Who is done early reads hardly more than its own share: the last chunks of the others are looked at first,
    and a row lacks there as long as they are at work. Of two that end at once, both see all rows, since each
    commits its own before it looks.

    Args:
        source, split, extractor, store, naming: as for `extract_features`.
        share: the one that was computed here.
        budget: how many images of the whole base split may be undecodable.
        contributed: what was computed for that share.

    Returns:
        None if a row is missing.

    Raises:
        BadData: the budget is exceeded, an id is duplicated, or nothing is left. No set is published.
    """
    began = time.perf_counter()
    pool = store.pool(extractor.pool_key())
    decode_failures = known_decode_failures(store, naming.dataset, split, extractor) | dict(contributed.decode_failures)
    total = source.count(split)
    if total is not None:
        last = chunk_of(total - 1)
        ends = Survey(source, split, pool, decode_failures, lambda ordinal: chunk_of(ordinal) > last - share.count)
        if not _is_complete(ends, extractor):
            return None
        decode_failures = ends.decode_failures
    survey = Survey(source, split, pool, decode_failures)
    if not _is_complete(survey, extractor):
        return None
    _require_within_budget(survey, budget)
    seconds = time.perf_counter() - began
    looked = Contribution(seconds=seconds, time=TimeSpent(read=seconds))
    return _publish(survey, source, split, extractor, store, pool, naming, combine([contributed, looked]))


def _is_complete(survey: Survey, extractor: Extractor) -> bool:
    """Return whether every image has a row or cannot be decoded; at the first that is missing reading ends."""
    missing = survey.missing()
    first = next(missing, None)
    if first is None:
        return True
    load_decoder()
    # Of a broken image nobody has left a note that others could read: whoever publishes tries it again.
    for batch in stream_batches(chain([first], missing), extractor.preprocessing, 1):
        for image, reason in batch.failed:
            survey.refuse(image.content, reason)
        if batch.pending:
            return False
    return True


def _publish(
    survey: Survey,
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore,
    pool: Pool,
    naming: Naming,
    done: Contribution,
) -> Extraction:
    began = time.perf_counter()
    key = set_key(survey, source, split, pool)
    # An image that stands in two shares is computed in both.
    reused = max(0, len(survey.candidates) - survey.bad - done.forward_passes)
    feature_set = store.find_set(key.digest, pool)
    is_cached = feature_set is not None
    ignored = source.ignored(split)
    if feature_set is None:
        provenance = Provenance(
            created=naming.created,
            dataset=naming.dataset,
            source=source.name,
            extractor=extractor.name,
            engine=done.engine,
            host=naming.host,
            device=done.device,
            threads=done.threads,
            versions=naming.versions,
            canary=done.canary,
            seconds=round(done.seconds + time.perf_counter() - began, 3),
            forward_passes=done.forward_passes,
            reused=reused,
            ignored=ignored,
        )
        feature_set = store.publish_set(key, survey.ledger(), pool, provenance)
    for name in dict.fromkeys((naming.dataset, source.name)):
        store.name_set(name, split, extractor.name, key.digest, naming.created)
    seconds = time.perf_counter() - began
    return Extraction(
        feature_set=feature_set,
        status="cached" if is_cached and not done.forward_passes else "extracted",
        forward_passes=done.forward_passes,
        reused=reused,
        ignored=ignored,
        seconds=done.seconds + seconds,
        time=done.time + TimeSpent(write=seconds),
        engine=done.engine,
        parameters=done.parameters,
    )


class _Work:
    """The part of an extraction that needs an engine; nothing of it runs where no row is missing."""

    def __init__(
        self,
        survey: Survey,
        pool: Pool,
        extractor: Extractor,
        open_engine: Callable[[], Engine],
        progress: Progress,
        budget: Budget,
        on_progress: Callable[[Progress], None],
        watch: CanaryWatch | None,
        began: float,
    ) -> None:
        self._survey = survey
        self._pool = pool
        self._extractor = extractor
        self._open_engine = open_engine
        self._budget = budget
        self._on_progress = on_progress
        self._watch = watch
        self._rows: list[np.ndarray] = []
        self._contents: list[bytes] = []
        self._chunk = -1
        self._loading, self._reading, self._writing = Stopwatch(), Stopwatch(), Stopwatch()
        self._began = began
        # The pool was listed since, which is reading too.
        self._time = TimeSpent(read=time.perf_counter() - began)
        # What others have computed meets this survey as rows that the pool has.
        self._elsewhere = progress.computed
        self.progress = progress
        self.engine: Engine | None = None

    def run(self) -> Contribution:
        """Compute and commit every row that is missing.

        Raises:
            BadData: more images are undecodable than the budget allows; what was computed is kept.
        """
        missing = self._reading.over(self._survey.missing())
        first = next(missing, None)
        if first is not None:
            with self._loading.running():
                load_decoder()
                self.engine = self._open_engine()
                if self._watch:
                    self._watch.look(self.engine)
            self._compute(chain([first], missing), self.engine)
        # A share can be held against the total at last, where only reading tells it.
        self.progress = replace(self.progress, candidates=len(self._survey.candidates))
        self._report()
        _require_within_budget(self._survey, self._budget)
        return self._contribution()

    def _compute(self, missing: Iterator[Pending], engine: Engine) -> None:
        began = time.perf_counter()
        with Flight(engine) as flight:
            for batch in stream_batches(missing, self._extractor.preprocessing, engine.batch_size):
                # Before more is computed, so that a kill costs a chunk and not two.
                if batch.pending and chunk_of(batch.pending[0].ordinal) != self._chunk:
                    self._take(flight.land())
                    self._enter_chunk(batch.pending[0])
                flight.launch(batch)
                # One is computed while the next is copied to the device, or waits.
                self._take(flight.land(leave=1))
                if not self._budget.allows(self.progress.quarantined, self.progress.candidates):
                    break
            self._take(flight.land())
        self._commit()
        waiting = time.perf_counter() - began - flight.busy
        self._time += TimeSpent(forward=flight.busy, waiting=waiting)

    def _take(self, landed: Iterator[tuple[Batch, np.ndarray]]) -> None:
        for batch, features in landed:
            self._time += TimeSpent(read=batch.read_seconds, decode=batch.decode_seconds)
            for image, reason in batch.failed:
                self._survey.refuse(image.content, reason)
            if self.engine and batch.pending:
                _require_finite(features, batch, self.engine)
            for image, row in zip(batch.pending, features, strict=True):
                self._enter_chunk(image)
                self._rows.append(row)
                self._contents.append(image.content)
            self.progress = replace(self.progress, computed=self.progress.computed + len(batch.pending))
            self._report()

    def _enter_chunk(self, image: Pending) -> None:
        if chunk_of(image.ordinal) != self._chunk:
            # Images come in order: the chunk before this one is complete.
            self._commit()
            self._chunk = chunk_of(image.ordinal)

    def _commit(self) -> None:
        if self._rows:
            with self._writing.running():
                if self._watch:
                    self._watch.keep()
                self._pool.add(np.stack(self._rows), self._contents)
            self._rows, self._contents = [], []

    def _report(self) -> None:
        survey = self._survey
        reused = max(0, survey.reused - self._elsewhere)
        self.progress = replace(self.progress, read=len(survey.candidates), reused=reused, quarantined=survey.bad)
        self._on_progress(self.progress)

    def _contribution(self) -> Contribution:
        engine, loading = self.engine, self._loading.seconds
        return Contribution(
            candidates=len(self._survey.candidates),
            bad=self._survey.bad,
            forward_passes=self.progress.computed - self._elsewhere,
            seconds=time.perf_counter() - self._began - loading,
            loading=loading,
            time=self._time + TimeSpent(read=self._reading.seconds, write=self._writing.seconds),
            engine=engine.name if engine else "",
            device=engine.device if engine else "",
            threads=engine.threads if engine else 0,
            parameters=engine.parameters if engine else None,
            canary=self._watch.report if self._watch else {},
            decode_failures=self._survey.decode_failures,
        )


def _require_within_budget(survey: Survey, budget: Budget) -> None:
    if budget.allows(survey.bad, len(survey.candidates)):
        return
    bad = survey.quarantined()
    shown = "; ".join(f"{c.example_id}: {survey.decode_failures[c.known.content]}" for c in bad[:3])
    raise BadData(
        f"{len(bad)} of the {len(survey.candidates)} images read so far cannot be decoded, more than the "
        f"budget allows ({shown}{'; …' if len(bad) > 3 else ''}); mend or remove them, or raise --max-bad. "
        "Rows computed until now are kept."
    )


def _require_finite(features: np.ndarray, batch: Batch, engine: Engine) -> None:
    if features.shape != (len(batch.pending), engine.dim):
        raise BadData(f"{engine.name}: ({len(batch.pending)}, {engine.dim}) features expected, {features.shape} found.")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        which = batch.pending[int(np.flatnonzero(~finite)[0])].example.example_id
        raise BadData(f"{which}: the {engine.name} engine gives NaN or infinity for it; check weights and range.")
