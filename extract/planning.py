"""What an extraction would do, without doing it."""

from dataclasses import dataclass
from pathlib import Path

from extract.extractors.extractor import Extractor
from extract.shares import WHOLE, Share
from extract.sources.example import DatasetSource
from extract.survey import Survey, known_decode_failures, set_key
from store import FeatureStore, Pool

__all__ = ["Plan", "has_missing_rows", "plan_extraction"]


@dataclass(frozen=True)
class Plan:
    """What an extraction of one base split would do.

    Attributes:
        key: of the set that is published already, or empty.
        rows: candidates that look decodable, by their headers.
        quarantined: those that do not.
        ignored: files that are no images.
        missing: images that would have to be computed.
    """

    key: str
    rows: int
    quarantined: int
    ignored: int
    missing: int


def plan_extraction(
    source: DatasetSource,
    split: str,
    extractor: Extractor,
    store: FeatureStore | None,
    dataset: str,
    share: Share = WHOLE,
) -> Plan:
    """Say what `extract_features` would do, reading every image but computing and writing nothing.

    Args:
        source, split, extractor: as there.
        store: None where there is none yet.
        dataset: what the set would be called.
        share: of the base split.
    """
    key = extractor.pool_key()
    pool = store.pool(key) if store else Pool(Path(key.digest), key)
    decode_failures = known_decode_failures(store, dataset, split, extractor) if store else {}
    survey = Survey(source, split, pool, decode_failures, share.has_candidate)
    missing = sum(1 for _ in survey.missing())
    published = ""
    if share.is_whole:
        digest = set_key(survey, source, split, pool).digest
        published = digest if store and not missing and store.has_set(digest, pool) else ""
    bad = survey.bad
    return Plan(published, len(survey.candidates) - bad, bad, source.ignored(split), missing)


def has_missing_rows(
    source: DatasetSource, split: str, extractor: Extractor, store: FeatureStore, dataset: str, share: Share = WHOLE
) -> bool:
    """Return whether there is an image to compute, reading no further than the first.

    Args:
        source, split, extractor, store: as for `extract_features`.
        dataset: what the set would be called.
        share: of the base split.
    """
    pool = store.pool(extractor.pool_key())
    survey = Survey(source, split, pool, known_decode_failures(store, dataset, split, extractor), share.has_candidate)
    return next(survey.missing(), None) is not None
