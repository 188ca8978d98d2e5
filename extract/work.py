"""What an extraction does where a row is missing: batches through the engine, rows to the pool, chunk by chunk."""

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
from extract.outcome import Computed, Progress
from extract.pipeline import Batch, Look, load_decoder, stream_batches
from extract.shares import chunk_of
from extract.sources.example import Pending
from extract.survey import Budget, Survey, require_within_budget
from extract.timing import Stopwatch, TimeSpent
from store import Pool

__all__ = ["Work", "is_complete"]


def is_complete(survey: Survey, extractor: Extractor) -> bool:
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


class Work:
    """The part of an extraction that needs an engine; nothing of it runs where no row is missing.

    Args:
        survey: what reads the base split, or a share of it.
        pool: gets the rows.
        extractor: whose rows.
        open_engine: loads it; called once, and only if a row is missing.
        watch: looks at the canary images before rows are added.
        budget: how many of these images may be undecodable.
        progress: how many candidates there are, and how many others have computed just now.
        on_progress: called now and then.
        began: when the extraction began, by `time.perf_counter`.
        look: see `stream_batches`.
    """

    def __init__(
        self,
        survey: Survey,
        pool: Pool,
        extractor: Extractor,
        *,
        open_engine: Callable[[], Engine],
        watch: CanaryWatch,
        budget: Budget,
        progress: Progress,
        on_progress: Callable[[Progress], None],
        began: float,
        look: Look | None,
    ) -> None:
        self._survey = survey
        self._look = look
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

    def run(self) -> Computed:
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
                self._watch.look(self.engine)
            self._compute(chain([first], missing), self.engine)
        adopted = self._survey.bring_adopted()
        # A share can be held against the total at last, where only reading tells it.
        self.progress = replace(self.progress, candidates=len(self._survey.candidates))
        self._report()
        require_within_budget(self._survey, self._budget)
        return replace(self._computed(), adopted=adopted)

    def _compute(self, missing: Iterator[Pending], engine: Engine) -> None:
        began = time.perf_counter()
        with Flight(engine) as flight:
            stream = stream_batches(missing, self._extractor.preprocessing, engine.batch_size, look=self._look)
            for batch in stream:
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
                self._watch.keep()
                self._pool.add(np.stack(self._rows), self._contents)
            self._rows, self._contents = [], []

    def _report(self) -> None:
        survey = self._survey
        reused = max(0, survey.reused - self._elsewhere)
        self.progress = replace(self.progress, read=len(survey.candidates), reused=reused, quarantined=survey.bad)
        self._on_progress(self.progress)

    def _computed(self) -> Computed:
        engine, loading = self.engine, self._loading.seconds
        return Computed(
            candidates=len(self._survey.candidates),
            bad=self._survey.bad,
            forward_passes=self.progress.computed - self._elsewhere,
            seconds=time.perf_counter() - self._began - loading,
            time=self._time + TimeSpent(read=self._reading.seconds, write=self._writing.seconds),
            engine=engine.name if engine else "",
            device=engine.device if engine else "",
            threads=engine.threads if engine else 0,
            parameters=engine.parameters if engine else None,
            canary=self._watch.report,
            decode_failures=self._survey.decode_failures,
            survey=self._survey,
        )


def _require_finite(features: np.ndarray, batch: Batch, engine: Engine) -> None:
    if features.shape != (len(batch.pending), engine.dim):
        raise BadData(f"{engine.name}: ({len(batch.pending)}, {engine.dim}) features expected, {features.shape} found.")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        which = batch.pending[int(np.flatnonzero(~finite)[0])].example.example_id
        raise BadData(f"{which}: the {engine.name} engine gives NaN or infinity for it; check weights and range.")
