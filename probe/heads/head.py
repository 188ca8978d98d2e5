"""What a kind of head is to the rest of `probe`."""

from typing import Any, Protocol

from probe.heads.options import HeadOptions
from probe.training import Progress, Trained, TrainingData

__all__ = ["Head"]


class Head(Protocol):
    """A kind of head: what can be set of it, and how it is selected, refitted and described.

    A head that was trained is plain arrays, so that predicting is one function for all; see `probe.prediction`.
    """

    @property
    def options(self) -> type[HeadOptions]:
        """The model of its options."""
        ...

    @property
    def meaning(self) -> str:
        """What it is, in a few words."""
        ...

    def train(self, data: TrainingData, options: Any, on_progress: Progress) -> Trained:
        """Select and refit on everything in `data`, which holds nothing of the test.

        Args:
            data: rows, labels, and which rows must stay together.
            options: an instance of `self.options`.
            on_progress: is told in a line what goes on.
        """
        ...
