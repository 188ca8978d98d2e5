"""One base split through one extractor: pictures to rows, rows to the pool, the set published."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from extract.canary import CanaryWatch
from extract.engines.engine import Engine, ParameterCounts
from extract.errors import BadData
from extract.extractors.extractor import Extractor
from extract.flight import Flight
from extract.pipeline import Batch, Pending, load_decoder, stream_batches
from extract.sources.example import DatasetSource
from extract.survey import STRICT, Budget, Candidate, Survey, known_verdicts, set_key
from store import FeatureSet, FeatureStore, Pool, Provenance

__all__ = ["CHUNK", "Extraction", "Naming", "Plan", "Progress", "extract_features", "plan_extraction"]

# Consecutive candidates whose missing rows become one shard: the unit of work and of loss.
CHUNK = 1024


@dataclass(frozen=True)
class Progress:
    """How far an extraction is.

    Attributes:
        candidates: how many there are, or None where only reading tells.
        read: candidates read and hashed.
        computed: pictures through the engine.
        reused: rows that the pool had.
        quarantined: pictures that could not be decoded.
    """

    candidates: int | None
    read: int = 0
    computed: int = 0
    reused: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Extraction:
    """What became of one base split.

    Attributes:
        feature_set: the published set.
        status: `extracted`, or `cached` where the very set was published before.
        forward_passes: pictures computed for it, without canary and padding.
        reused: rows that the pool had.
        ignored: files that are no pictures.
        seconds: from the first read to the publication, without loading and compiling the model.
        engine: what ran it, empty where nothing had to run.
        parameters: of the network, None where nothing had to run.
    """

    feature_set: FeatureSet
    status: str
    forward_passes: int
    reused: int
    ignored: int
    seconds: float
    engine: str
    parameters: ParameterCounts | None


@dataclass(frozen=True)
class Naming:
    """What a set is called and when: the circumstances that its caller knows.

    Attributes:
        dataset: the name of the configuration, or the source.
        created: UTC, ISO 8601 to the second.
        host: the machine's name.
        versions: package name → version.
    """

    dataset: str
    created: str
    host: str = ""
    versions: dict[str, str] = field(default_factory=dict)


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
    started = time.perf_counter()
    pool = store.pool(extractor.pool_key())
    survey = Survey(source, split, pool, known_verdicts(store, naming.dataset, split, extractor))
    watch = CanaryWatch(pool, extractor, is_drift_accepted) if has_canary else None
    work = _Work(survey, pool, extractor, open_engine, source.count(split), budget, on_progress, watch)
    work.run()
    key = set_key(survey, source, split, pool)
    reused = len(survey.candidates) - survey.bad - work.progress.computed
    feature_set = store.find_set(key.digest, pool)
    is_cached = feature_set is not None
    seconds = time.perf_counter() - started - work.loading
    engine = work.engine
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
            canary=watch.report if watch else {},
            seconds=round(seconds, 3),
            forward_passes=work.progress.computed,
            reused=reused,
            ignored=ignored,
        )
        feature_set = store.publish_set(key, survey.ledger(), pool, provenance)
    for name in dict.fromkeys((naming.dataset, source.name)):
        store.name_set(name, split, extractor.name, key.digest, naming.created)
    return Extraction(
        feature_set=feature_set,
        status="cached" if is_cached and not work.progress.computed else "extracted",
        forward_passes=work.progress.computed,
        reused=reused,
        ignored=ignored,
        seconds=time.perf_counter() - started - work.loading,
        engine=engine.name if engine else "",
        parameters=engine.parameters if engine else None,
    )


@dataclass(frozen=True)
class Plan:
    """What an extraction of one base split would do.

    Attributes:
        key: of the set that is published already, or empty.
        rows: candidates that look decodable, by their headers.
        quarantined: those that do not.
        ignored: files that are no pictures.
        lacking: pictures that would have to be computed.
    """

    key: str
    rows: int
    quarantined: int
    ignored: int
    lacking: int


def plan_extraction(
    source: DatasetSource, split: str, extractor: Extractor, store: FeatureStore | None, dataset: str
) -> Plan:
    """Say what `extract_features` would do, reading every picture but computing and writing nothing.

    Args:
        source, split, extractor: as there.
        store: None where there is none yet.
        dataset: what the set would be called.
    """
    key = extractor.pool_key()
    pool = store.pool(key) if store else Pool(Path(key.digest), key)
    survey = Survey(source, split, pool, known_verdicts(store, dataset, split, extractor) if store else {})
    lacking = sum(1 for _ in survey.lacking())
    digest = set_key(survey, source, split, pool).digest
    bad = survey.bad
    published = digest if store and not lacking and store.has_set(digest, pool) else ""
    return Plan(published, len(survey.candidates) - bad, bad, source.ignored(split), lacking)


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
        self.progress = Progress(candidates)
        self.engine: Engine | None = None
        self.loading = 0.0

    def run(self) -> None:
        """Compute and commit every row that lacks.

        Raises:
            BadData: more pictures are undecodable than the budget allows; what was computed is kept.
        """
        lacking = self._survey.lacking()
        first = next(lacking, None)
        if first is not None:
            began = time.perf_counter()
            load_decoder()
            self.engine = self._open_engine()
            if self._watch:
                self._watch.look(self.engine)
            self.loading = time.perf_counter() - began
            self._compute(chain([first], lacking), self.engine)
        # A share can be held against the total at last, where only reading tells it.
        self.progress = replace(self.progress, candidates=len(self._survey.candidates))
        self._report()
        if not self._is_within_budget():
            self._refuse(self._survey.quarantined())

    def _compute(self, lacking: Iterator[Pending], engine: Engine) -> None:
        with Flight(engine) as flight:
            for batch in stream_batches(lacking, self._extractor.preprocessing, engine.batch_size):
                # Before more is computed, so that a kill costs a chunk and not two.
                if batch.pending and batch.pending[0].ordinal // CHUNK != self._chunk:
                    self._take(flight.land())
                    self._enter_chunk(batch.pending[0])
                flight.launch(batch)
                # One is computed while the next is copied to the device, or waits.
                self._take(flight.land(leave=1))
                if not self._is_within_budget():
                    break
            self._take(flight.land())
        self._commit()

    def _take(self, landed: Iterator[tuple[Batch, np.ndarray]]) -> None:
        for batch, features in landed:
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
            if self._watch:
                self._watch.keep()
            self._pool.add(np.stack(self._rows), self._contents)
            self._rows, self._contents = [], []

    def _report(self) -> None:
        bad = self._survey.bad
        self.progress = replace(
            self.progress, read=len(self._survey.candidates), reused=self._survey.reused, quarantined=bad
        )
        self._on_progress(self.progress)

    def _is_within_budget(self) -> bool:
        return self._budget.allows(self.progress.quarantined, self.progress.candidates)

    def _refuse(self, bad: list[Candidate]) -> None:
        shown = "; ".join(f"{c.example_id}: {self._survey.verdicts[c.known.content]}" for c in bad[:3])
        raise BadData(
            f"{len(bad)} of the {len(self._survey.candidates)} pictures read so far cannot be decoded, more than the "
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
