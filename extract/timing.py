"""Where the time of an extraction goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import TypeVar

__all__ = ["Stopwatch", "TimeSpent"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class TimeSpent:
    """Seconds of an extraction, by what they were spent on.

    The stages work side by side, so they add up to more than the whole; what bounds a job is the one that is
    near the whole (times the cores, for `decode`). Only `forward` and `waiting` share one span: from the
    first batch being asked for to the last rows being committed, without loading the model.

    Attributes:
        read: reading, hashing and looking up images, in one thread.
        decode: decoding and resizing, of all threads together.
        forward: the engine had a batch to compute, or several.
        write: shards and the set were built, hashed and made durable.
        waiting: the engine had none: images were not ready yet, or a shard was being written.
    """

    read: float = 0.0
    decode: float = 0.0
    forward: float = 0.0
    write: float = 0.0
    waiting: float = 0.0

    def __add__(self, other: "TimeSpent") -> "TimeSpent":
        """Return the seconds of two that worked side by side or after another, together."""
        return TimeSpent(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


class Stopwatch:
    """Adds up the seconds of what is done again and again; one thread at a time starts it, any may read it.

    Attributes:
        seconds: until now, without what runs right now.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._told = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time that the body takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    def over(self, items: Iterator[_T]) -> Iterator[_T]:
        """Pass items on, and count the time that they take to come."""
        while True:
            began = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - began
            yield item

    def lap(self) -> float:
        """Return the seconds since this was last asked."""
        seconds = self.seconds
        told, self._told = self._told, seconds
        return seconds - told
