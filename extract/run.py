"""One base split through one extractor: pictures to rows, rows to the pool, the set published."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from extract.canary import CanaryWatch
from extract.engines.engine import Engine
from extract.errors import BadData
from extract.extractors.extractor import Extractor
from extract.flight import Flight
from extract.outcome import Extraction, Naming, Progress
from extract.pipeline import Batch, Pending, load_decoder, stream_batches
from extract.sources.example import DatasetSource
from extract.survey import STRICT, Budget, Survey, known_verdicts, set_key
from extract.timing import Stopwatch, TimeSpent
from store import FeatureStore, Pool, Provenance

__all__ = ["CHUNK", "extract_features"]

# Consecutive candidates whose missing rows become one shard: the unit of work and of loss.
CHUNK = 1024


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
) -> Extraction:
    """Bring one base split's rows into the pool, as far as they lack, and publish its set.

    Args:
        source: where the pictures come from.
        split: the base split.
        extractor: whose rows.
        store: what has them, or will.
        open_engine: loads the extractor; called once, and only if a row lacks.
        naming: what the set will be called.
        budget: how many pictures may be undecodable.
        on_progress: called now and then.
        has_canary: whether the canary pictures are looked at before rows are added.
        is_drift_accepted: whether rows are added although they have drifted.

    Raises:
        CanaryDrift: the numbers do not come out as when the pool was begun. No row is added.
        BadData: the budget is exceeded, an id stands twice, or nothing is left. No set is published.
    """
    began = time.perf_counter()
    pool = store.pool(extractor.pool_key())
    survey = Survey(source, split, pool, known_verdicts(store, naming.dataset, split, extractor))
    watch = CanaryWatch(pool, extractor, is_drift_accepted) if has_canary else None
    work = _Work(survey, pool, extractor, open_engine, source.count(split), budget, on_progress, watch, began)
    work.run()
    return _publish(survey, source, split, extractor, store, pool, naming, work)


def _publish(
    survey: Survey,
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore,
    pool: Pool,
    naming: Naming,
    work: "_Work",
) -> Extraction:
    began = time.perf_counter()
    engine, worked, forward_passes = work.engine, work.seconds, work.progress.computed
    key = set_key(survey, source, split, pool)
    reused = len(survey.candidates) - survey.bad - forward_passes
    feature_set = store.find_set(key.digest, pool)
    is_cached = feature_set is not None
    ignored = source.ignored(split)
    if feature_set is None:
        provenance = Provenance(
            created=naming.created,
            dataset=naming.dataset,
            source=source.name,
            extractor=extractor.name,
            engine=engine.name if engine else "",
            host=naming.host,
            device=engine.device if engine else "",
            threads=engine.threads if engine else 0,
            versions=naming.versions,
            canary=work.canary,
            seconds=round(worked + time.perf_counter() - began, 3),
            forward_passes=forward_passes,
            reused=reused,
            ignored=ignored,
        )
        feature_set = store.publish_set(key, survey.ledger(), pool, provenance)
    for name in dict.fromkeys((naming.dataset, source.name)):
        store.name_set(name, split, extractor.name, key.digest, naming.created)
    seconds = time.perf_counter() - began
    return Extraction(
        feature_set=feature_set,
        status="cached" if is_cached and not forward_passes else "extracted",
        forward_passes=forward_passes,
        reused=reused,
        ignored=ignored,
        seconds=worked + seconds,
        time=work.time_spent + TimeSpent(write=seconds),
        engine=engine.name if engine else "",
        parameters=engine.parameters if engine else None,
    )


class _Work:
    """The part of an extraction that needs an engine; nothing of it runs where no row lacks."""

    def __init__(
        self,
        survey: Survey,
        pool: Pool,
        extractor: Extractor,
        open_engine: Callable[[], Engine],
        candidates: int | None,
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
        self.progress = Progress(candidates)
        self.engine: Engine | None = None

    @property
    def seconds(self) -> float:
        """Since the extraction began, without loading the model."""
        return time.perf_counter() - self._began - self._loading.seconds

    @property
    def time_spent(self) -> TimeSpent:
        """Where they went."""
        return self._time + TimeSpent(read=self._reading.seconds, write=self._writing.seconds)

    @property
    def canary(self) -> Mapping[str, Any]:
        """What provenance says of the canary pictures."""
        return self._watch.report if self._watch else {}

    def run(self) -> None:
        """Compute and commit every row that lacks.

        Raises:
            BadData: more pictures are undecodable than the budget allows; what was computed is kept.
        """
        lacking = self._reading.over(self._survey.lacking())
        first = next(lacking, None)
        if first is not None:
            with self._loading.running():
                load_decoder()
                self.engine = self._open_engine()
                if self._watch:
                    self._watch.look(self.engine)
            self._compute(chain([first], lacking), self.engine)
        # A share can be held against the total at last, where only reading tells it.
        self.progress = replace(self.progress, candidates=len(self._survey.candidates))
        self._report()
        _require_within_budget(self._survey, self._budget)

    def _compute(self, lacking: Iterator[Pending], engine: Engine) -> None:
        began = time.perf_counter()
        with Flight(engine) as flight:
            for batch in stream_batches(lacking, self._extractor.preprocessing, engine.batch_size):
                # Before more is computed, so that a kill costs a chunk and not two.
                if batch.pending and batch.pending[0].ordinal // CHUNK != self._chunk:
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
            for picture, reason in batch.failed:
                self._survey.refuse(picture.content, reason)
            if self.engine and batch.pending:
                _require_finite(features, batch, self.engine)
            for picture, row in zip(batch.pending, features, strict=True):
                self._enter_chunk(picture)
                self._rows.append(row)
                self._contents.append(picture.content)
            self.progress = replace(self.progress, computed=self.progress.computed + len(batch.pending))
            self._report()

    def _enter_chunk(self, picture: Pending) -> None:
        if picture.ordinal // CHUNK != self._chunk:
            # Pictures come in order: the chunk before this one is complete.
            self._commit()
            self._chunk = picture.ordinal // CHUNK

    def _commit(self) -> None:
        if self._rows:
            with self._writing.running():
                if self._watch:
                    self._watch.keep()
                self._pool.add(np.stack(self._rows), self._contents)
            self._rows, self._contents = [], []

    def _report(self) -> None:
        survey = self._survey
        read, reused = len(survey.candidates), survey.reused
        self.progress = replace(self.progress, read=read, reused=reused, quarantined=survey.bad)
        self._on_progress(self.progress)


def _require_within_budget(survey: Survey, budget: Budget) -> None:
    if budget.allows(survey.bad, len(survey.candidates)):
        return
    bad = survey.quarantined()
    shown = "; ".join(f"{c.example_id}: {survey.verdicts[c.known.content]}" for c in bad[:3])
    raise BadData(
        f"{len(bad)} of the {len(survey.candidates)} pictures read so far cannot be decoded, more than the "
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
