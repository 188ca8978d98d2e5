"""What an extraction would do, without doing it."""

from dataclasses import dataclass
from pathlib import Path

from extract.extractors.extractor import Extractor
from extract.shares import WHOLE, Share
from extract.sources.example import DatasetSource
from extract.survey import Survey, known_verdicts, set_key
from store import FeatureStore, Pool

__all__ = ["Plan", "has_lacking_rows", "plan_extraction"]


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
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore | None,
    dataset: str,
    share: Share = WHOLE,
) -> Plan:
    """Say what `extract_features` would do, reading every picture but computing and writing nothing.

    Args:
        source, split, extractor: as there.
        store: None where there is none yet.
        dataset: what the set would be called.
        share: of the base split.
    """
    key = extractor.pool_key()
    pool = store.pool(key) if store else Pool(Path(key.digest), key)
    verdicts = known_verdicts(store, dataset, split, extractor) if store else {}
    survey = Survey(source, split, pool, verdicts, share.has_candidate)
    lacking = sum(1 for _ in survey.lacking())
    published = ""
    if share.is_whole:
        digest = set_key(survey, source, split, pool).digest
        published = digest if store and not lacking and store.has_set(digest, pool) else ""
    bad = survey.bad
    return Plan(published, len(survey.candidates) - bad, bad, source.ignored(split), lacking)


def has_lacking_rows(
    source: DatasetSource, split: str, extractor: Extractor, store: FeatureStore, dataset: str, share: Share = WHOLE
) -> bool:
    """Return whether there is a picture to compute, reading no further than the first.

    Args:
        source, split, extractor, store: as for `extract_features`.
        dataset: what the set would be called.
        share: of the base split.
    """
    pool = store.pool(extractor.pool_key())
    survey = Survey(source, split, pool, known_verdicts(store, dataset, split, extractor), share.has_candidate)
    return next(survey.lacking(), None) is not None
