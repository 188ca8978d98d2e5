"""Rows of single pictures, without a store."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from extract.engines.engine import Engine
from extract.extractors.extractor import Extractor
from extract.pipeline import Pending, load_decoder, stream_batches
from extract.sources.example import Example

__all__ = ["Row", "compute_rows"]


@dataclass(frozen=True)
class Row:
    """What became of one picture.

    Attributes:
        example: the picture.
        features: (D,) float32, or None where it could not be decoded.
        reason: why not, or empty.
    """

    example: Example
    features: np.ndarray | None
    reason: str = ""


def compute_rows(examples: Iterable[Example], extractor: Extractor, open_engine: Callable[[], Engine]) -> Iterator[Row]:
    """Compute pictures' rows exactly as an extraction would, and keep nothing.

    Args:
        examples: the pictures; not the same object twice.
        extractor: whose rows.
        open_engine: loads the extractor; called once, and only if a picture looks decodable.

    Yields:
        A row per picture; those that cannot be decoded may come before pictures that stood before them.
    """
    refused: list[Row] = []
    pictures = _pending(examples, refused)
    first = next(pictures, None)
    if first is not None:
        load_decoder()
        engine = open_engine()
        for batch in stream_batches(chain([first], pictures), extractor.preprocessing, engine.batch_size):
            rows = engine(batch.images) if batch.pending else ()
            for picture, features in zip(batch.pending, rows, strict=True):
                yield Row(picture.example, features)
            for picture, reason in batch.failed:
                yield Row(picture.example, None, reason)
    # Only now: a thread of the pipeline adds to the list while it reads.
    yield from refused


def _pending(examples: Iterable[Example], refused: list[Row]) -> Iterator[Pending]:
    for ordinal, example in enumerate(examples):
        known = example.look()
        if known.header is None:
            refused.append(Row(example, None, known.reason))
        else:
            yield Pending(ordinal, example, known.content, known.header)
