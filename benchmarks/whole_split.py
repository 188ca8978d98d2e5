"""One base split, `all`, extracted in one call."""

from collections.abc import Callable

from extract import DatasetSource, Engine, Extraction, Extractor, RunContext, SplitJob, compute, publish
from store import FeatureStore

__all__ = ["extract_whole"]


def extract_whole(
    source: DatasetSource, extractor: Extractor, store: FeatureStore, *, open_engine: Callable[[], Engine]
) -> Extraction:
    job = SplitJob(source=source, split="all", extractor=extractor, store=store, dataset="bench")
    done = publish(job, compute(job, open_engine), RunContext(created="2000-01-01T00:00:00Z"))
    assert done is not None
    return done
