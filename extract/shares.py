"""A share of a base split: every N-th chunk, so that N jobs or workers can part it without talking to each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from extract.errors import InvalidSetting
from extract.sources.example import DatasetSource, Example

__all__ = ["CHUNK", "WHOLE", "PartlyReadSource", "Share", "chunk_of", "numbered_examples"]

# Consecutive candidates whose missing rows become one shard: the unit of work and of loss.
CHUNK = 1024


def chunk_of(ordinal: int) -> int:
    """Return the index of the chunk in which the candidate at a place, from 0, lies."""
    return ordinal // CHUNK


@dataclass(frozen=True)
class Share:
    """The chunks whose index leaves the remainder `index` when divided by `count`.

    Attributes:
        index: 0 to count - 1.
        count: how many shares there are.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Parse `I/N`, I from 0 to N - 1, as array jobs count.

        Raises:
            InvalidSetting: it is none.
        """
        index, slash, count = text.partition("/")
        if slash and index.isdecimal() and count.isdecimal() and int(index) < int(count):
            return cls(int(index), int(count))
        raise InvalidSetting(f"shard {text!r}: I/N expected, I from 0 to N - 1, such as 0/4.")

    @property
    def is_whole(self) -> bool:
        """Whether there is no other share."""
        return self.count == 1

    def has_candidate(self, ordinal: int) -> bool:
        """Return whether the candidate at a place, from 0, is of this share."""
        return chunk_of(ordinal) % self.count == self.index

    def part(self, index: int, count: int) -> "Share":
        """Return one of so many equal parts of this share."""
        return Share(self.index + self.count * index, self.count * count)

    def candidates(self, total: int | None) -> int | None:
        """Return how many of so many candidates are of this share; None where nobody knows the total."""
        if total is None or self.is_whole:
            return total
        return sum(min(CHUNK, total - at) for at in range(self.index * CHUNK, total, self.count * CHUNK))

    def chunks(self, total: int | None) -> int | None:
        """Return how many chunks of so many candidates are of this share; None where nobody knows the total."""
        return None if total is None else len(range(self.index * CHUNK, total, self.count * CHUNK))

    def __str__(self) -> str:
        """Write it as it is parsed."""
        return f"{self.index}/{self.count}"


WHOLE = Share()


@runtime_checkable
class PartlyReadSource(Protocol):
    """A source that need not read the images that nobody wants."""

    def numbered_examples(self, split: str, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, Example]]:
        """Yield the examples of a base split whose place is wanted, each with its place."""


def numbered_examples(
    source: DatasetSource, split: str, is_wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Example]]:
    """Yield the wanted examples of a base split, each with its place, reading no others where that can be avoided.

    Args:
        source: where they come from.
        split: the base split.
        is_wanted: whether the example at a place, from 0, is wanted.
    """
    if isinstance(source, PartlyReadSource):
        yield from source.numbered_examples(split, is_wanted)
        return
    for ordinal, example in enumerate(source.examples(split)):
        if is_wanted(ordinal):
            yield ordinal, example
