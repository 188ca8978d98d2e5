"""One base split through one extractor: pictures to rows, rows to the pool, the set published."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import pandas as pd

from extract.decoding import Header, Undecodable, read_header
from extract.engines.engine import Engine, ParameterCounts
from extract.errors import BadData
from extract.extractors.extractor import Extractor
from extract.pipeline import Batch, Pending, load_decoder, stream_batches
from extract.sources.example import DatasetSource, Example
from store import (
    LEDGER_COLUMNS,
    FeatureSet,
    FeatureSetNotFound,
    FeatureStore,
    Pool,
    Provenance,
    SetKey,
    rows_digest,
)

__all__ = ["CHUNK", "Budget", "Extraction", "Naming", "Progress", "extract_features"]

# Consecutive candidates whose missing rows become one shard: the unit of work and of loss.
CHUNK = 1024


@dataclass(frozen=True)
class Budget:
    """How many pictures may be undecodable before a base split counts as bad data.

    Attributes:
        pictures: an absolute number, or None.
        share: of the candidates, 0 to 1, or None.
    """

    pictures: int | None = 0
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Parse `N` or `P%`.

        Raises:
            ValueError: it is neither.
        """
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(None, share)
            elif int(text) >= 0:
                return cls(int(text))
        except ValueError:
            pass
        raise ValueError(f"{text!r}: a number of pictures (12) or a share (0.5%) expected.")

    def allows(self, bad: int, candidates: int | None) -> bool:
        """Return whether so many bad pictures are within the budget; a share needs the total."""
        if self.pictures is not None:
            return bad <= self.pictures
        return candidates is None or bad <= (self.share or 0.0) * candidates


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


@dataclass
class _Candidate:
    example_id: str
    label: int
    group: str
    content: bytes
    header: Header | None
    size: int


class _Survey:
    """Reads a base split once: remembers every candidate, passes on those that the pool lacks."""

    def __init__(self, source: DatasetSource, split: str, pool: Pool, verdicts: dict[bytes, str]) -> None:
        self._source = source
        self._split = split
        self._known = pool.index()
        self._scheduled: set[bytes] = set()
        self._times: Counter[bytes] = Counter()
        self.candidates: list[_Candidate] = []
        self.verdicts = verdicts
        self.reused = 0

    def lacking(self) -> Iterator[Pending]:
        """Yield the pictures whose rows have to be computed, each content once."""
        for ordinal, example in enumerate(self._source.examples(self._split)):
            content = example.content_sha256()
            header = self._header(example, content)
            size = len(example.data) if isinstance(example.data, bytes) else example.data.nbytes
            self.candidates.append(_Candidate(example.example_id, example.label, example.group, content, header, size))
            self._times[content] += 1
            if content in self._known or content in self._scheduled:
                self.reused += 1
            elif content not in self.verdicts and header is not None:
                self._scheduled.add(content)
                yield Pending(ordinal, example, content, header)

    def _header(self, example: Example, content: bytes) -> Header | None:
        if isinstance(example.data, np.ndarray):
            height, width, channels = example.data.shape
            return Header("pixels", "L" if channels == 1 else "RGB", width, height)
        try:
            return read_header(example.data)
        except Undecodable as error:
            self.verdicts.setdefault(content, str(error))
            return None

    def count_quarantined(self) -> int:
        return sum(self._times[content] for content in self.verdicts)

    def quarantined(self) -> list[_Candidate]:
        return [candidate for candidate in self.candidates if candidate.content in self.verdicts]

    def ledger(self) -> pd.DataFrame:
        rows = []
        for candidate in self.candidates:
            reason = self.verdicts.get(candidate.content)
            header = candidate.header or Header("", "", 0, 0)
            rows.append(
                (
                    candidate.example_id, candidate.label, candidate.group,
                    "ok" if reason is None else "quarantined", reason or "", candidate.content.hex(),
                    header.format, header.mode, header.width, header.height, candidate.size,
                )
            )  # fmt: skip
        return pd.DataFrame(rows, columns=list(LEDGER_COLUMNS))


def extract_features(
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore,
    open_engine: Callable[[], Engine],
    naming: Naming,
    budget: Budget = Budget(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
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

    Raises:
        BadData: the budget is exceeded, an id stands twice, or nothing is left. No set is published.
    """
    started = time.perf_counter()
    pool = store.pool(extractor.pool_key())
    survey = _Survey(source, split, pool, _known_verdicts(store, naming.dataset, split, extractor))
    work = _Work(survey, pool, extractor, open_engine, source.count(split), budget, on_progress)
    work.run()
    ledger = survey.ledger()
    _require_sound(ledger, source.name, split)
    reused = int((ledger["status"] == "ok").sum()) - work.progress.computed
    key = SetKey(
        pool=pool.folder.name,
        split=split,
        class_names=source.class_names,
        candidates=len(ledger),
        rows_sha256=rows_digest(
            zip(ledger.example_id, ledger.content_sha256, ledger.label.tolist(), ledger.status, strict=True)
        ),
        origin=source.origin,
    )
    is_cached = store.has_set(key.digest)
    seconds = time.perf_counter() - started - work.loading
    engine = work.engine
    ignored = source.ignored(split)
    if is_cached:
        feature_set = store.get(key=key.digest)
    else:
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
            seconds=round(seconds, 3),
            forward_passes=work.progress.computed,
            reused=reused,
            ignored=ignored,
        )
        feature_set = store.publish_set(key, ledger, pool, provenance)
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


class _Work:
    """The part of an extraction that needs an engine; nothing of it runs where no row lacks."""

    def __init__(
        self,
        survey: _Survey,
        pool: Pool,
        extractor: Extractor,
        open_engine: Callable[[], Engine],
        candidates: int | None,
        budget: Budget,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._survey = survey
        self._pool = pool
        self._extractor = extractor
        self._open_engine = open_engine
        self._budget = budget
        self._on_progress = on_progress
        self._rows: list[np.ndarray] = []
        self._contents: list[bytes] = []
        self._chunk = -1
        self.progress = Progress(candidates)
        self.engine: Engine | None = None
        self.loading = 0.0

    def run(self) -> None:
        """Compute and commit every row that lacks."""
        lacking = self._survey.lacking()
        first = next(lacking, None)
        if first is not None:
            began = time.perf_counter()
            load_decoder()
            self.engine = self._open_engine()
            self.loading = time.perf_counter() - began
            batches = stream_batches(chain([first], lacking), self._extractor.preprocessing, self.engine.batch_size)
            for batch in batches:
                self._take(batch, self.engine)
            self._commit()
        self._report()

    def _take(self, batch: Batch, engine: Engine) -> None:
        for picture, reason in batch.failed:
            self._survey.verdicts[picture.content] = reason
        if batch.pending:
            features = engine(batch.images)
            _require_finite(features, batch, engine)
            for picture, row in zip(batch.pending, features, strict=True):
                if picture.ordinal // CHUNK != self._chunk:
                    # Pictures come in order: the chunk before this one is complete.
                    self._commit()
                    self._chunk = picture.ordinal // CHUNK
                self._rows.append(row)
                self._contents.append(picture.content)
        self.progress = replace(self.progress, computed=self.progress.computed + len(batch.pending))
        self._report()

    def _commit(self) -> None:
        if self._rows:
            self._pool.add(np.stack(self._rows), self._contents)
            self._rows, self._contents = [], []

    def _report(self) -> None:
        bad = self._survey.count_quarantined()
        self.progress = replace(
            self.progress, read=len(self._survey.candidates), reused=self._survey.reused, quarantined=bad
        )
        self._on_progress(self.progress)
        if not self._budget.allows(bad, self.progress.candidates):
            self._commit()
            self._refuse(self._survey.quarantined())

    def _refuse(self, bad: list[_Candidate]) -> None:
        shown = "; ".join(f"{c.example_id}: {self._survey.verdicts[c.content]}" for c in bad[:3])
        raise BadData(
            f"{len(bad)} of the {len(self._survey.candidates)} pictures read so far cannot be decoded, more than the "
            f"budget allows ({shown}{'; …' if len(bad) > 3 else ''}); mend or remove them, or raise --max-bad. "
            "Rows computed until now are kept."
        )


def _known_verdicts(store: FeatureStore, dataset: str, split: str, extractor: Extractor) -> dict[bytes, str]:
    """Return what the current set of this name found undecodable: a function of the same bytes and rules."""
    try:
        current = store.get(dataset, split, extractor.name)
    except FeatureSetNotFound:
        return {}
    if not current.manifest["quarantined"] or current.manifest["pool"] != extractor.pool_key().digest:
        return {}
    ledger = current.ledger()
    bad = ledger[ledger["status"] == "quarantined"]
    return {
        bytes.fromhex(content): reason for content, reason in zip(bad["content_sha256"], bad["reason"], strict=True)
    }


def _require_finite(features: np.ndarray, batch: Batch, engine: Engine) -> None:
    if features.shape != (len(batch.pending), engine.dim):
        raise BadData(f"{engine.name}: ({len(batch.pending)}, {engine.dim}) features expected, {features.shape} found.")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        which = batch.pending[int(np.flatnonzero(~finite)[0])].example.example_id
        raise BadData(f"{which}: the {engine.name} engine gives NaN or infinity for it; check weights and range.")


def _require_sound(ledger: pd.DataFrame, source: str, split: str) -> None:
    if not len(ledger):
        raise BadData(f"{source} {split}: holds no example.")
    twice = ledger["example_id"][ledger["example_id"].duplicated()]
    if len(twice):
        raise BadData(f"{source} {split}: the example id {twice.iloc[0]!r} stands twice.")
    if not (ledger["status"] == "ok").any():
        raise BadData(
            f"{source} {split}: none of its {len(ledger)} pictures can be decoded ({ledger['reason'].iloc[0]})."
        )
