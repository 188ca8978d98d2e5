"""What is computed of single images, without a store: rows, or whatever else a network gives."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

import numpy as np

from extract.pipeline import load_decoder, stream_batches
from extract.preprocessing import Preprocessing
from extract.sources.example import Example, Pending

__all__ = ["Computed", "ImageFunction", "compute_each"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class ImageFunction(Protocol[_T_co]):
    """Anything that takes batches of images, such as an `Engine`.

    Attributes:
        batch_size: how many it likes at once.
    """

    @property
    def batch_size(self) -> int:
        """How many images it likes at once."""

    def __call__(self, images: np.ndarray) -> Iterable[_T_co]:
        """Return a value per image of (N, H, W, 3), 0 to 255, in the preprocessing's pixel type."""


@dataclass(frozen=True)
class Computed(Generic[_T]):
    """Result of one image.

    Attributes:
        example: the image.
        value: what the function gave for it, or None where it could not be decoded.
        reason: why not, or empty.
    """

    example: Example
    value: _T | None
    reason: str = ""


def compute_each(
    examples: Iterable[Example],
    preprocessing: Preprocessing,
    open_function: Callable[[], ImageFunction[_T]],
    *,
    is_trusted: bool = False,
) -> Iterator[Computed[_T]]:
    """Send images through a function, decoded and resized exactly as an extraction would, and keep nothing.

    Args:
        examples: the images.
        preprocessing: how they are decoded and resized.
        open_function: loads the function; called once, and only if an image looks decodable.
        is_trusted: see `stream_batches`.

    Yields:
        An outcome per image; those that cannot be decoded may come later than they stood.
    """
    refused: list[Computed[_T]] = []
    images = _pending(examples, refused)
    first = next(images, None)
    if first is not None:
        load_decoder()
        function = open_function()
        for batch in stream_batches(chain([first], images), preprocessing, function.batch_size, is_trusted=is_trusted):
            values = function(batch.images) if batch.pending else ()
            for image, value in zip(batch.pending, values, strict=True):
                yield Computed(image.example, value)
            for image, reason in batch.failed:
                yield Computed(image.example, None, reason)
    # Only now: a thread of the pipeline adds to the list while it reads.
    yield from refused


def _pending(examples: Iterable[Example], refused: list[Computed[_T]]) -> Iterator[Pending]:
    for ordinal, example in enumerate(examples):
        known = example.look()
        if known.header is None:
            refused.append(Computed(example, None, known.reason))
        else:
            yield Pending(ordinal, example, known.content, known.header)
