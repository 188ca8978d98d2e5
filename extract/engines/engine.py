"""What runs an extractor."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Engine", "ParameterCounts"]


@dataclass(frozen=True)
class ParameterCounts:
    """How many numbers a network has, as Keras's `model.summary()` counts them.

    Attributes:
        frozen: constants of the graph.
        trainable: what training could still change.
    """

    frozen: int
    trainable: int


class Engine(Protocol):
    """A loaded extractor: images in, rows out.

    Attributes:
        name: such as `tensorflow`.
        device: what it runs on.
        threads: how many it uses, 0 where the framework decides.
        batch_size: how many images it likes at once.
        in_flight: how many batches may be handed to it side by side.
        dim: D.
        parameters: of the frozen network.
    """

    name: str
    device: str
    threads: int
    batch_size: int
    in_flight: int
    dim: int
    parameters: ParameterCounts

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Args:
            images: (N, H, W, 3), RGB, 0 to 255, in the preprocessing's pixel type, N ≥ 1.

        Returns:
            (N, D) float32; a row depends on its image alone.
        """
