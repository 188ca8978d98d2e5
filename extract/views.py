"""Views: seeded crops and flips of an image, on which heads may train beside the image itself.

View v of an image is a function of its bytes and of v alone, so rows of views lie in pools as all others do: batch,
worker, host and order change nothing.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["VIEW_RULES", "Window", "draw_window"]

# Part of the key of a view's pool. Raise it when a view comes out otherwise than before.
VIEW_RULES = 1

# Source: torchvision.transforms.RandomResizedCrop, whose ratio and number of attempts these are. Its smallest area,
# 0.08, is meant for networks that see another crop in each of a hundred epochs; a cache holds a few for good, and takes
# what the caches of the field take: Zhang et al. 2022, Tip-Adapter (main.py: scale=(0.5, 1)).
_AREA = (0.5, 1.0)
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_FLIPPED = 0.5


@dataclass(frozen=True)
class Window:
    """The part of an image that a view shows, in pixels of the decoded image.

    Attributes:
        top, left: of its first row and column.
        height, width: at least 1 each.
        is_flipped: whether left and right are exchanged.
    """

    top: int
    left: int
    height: int
    width: int
    is_flipped: bool


def draw_window(content: bytes, view: int, *, height: int, width: int) -> Window:
    """Draw what a view shows of an image.

    Args:
        content: SHA-256 of the image's bytes.
        view: its number, from 1 on.
        height, width: of the decoded image.

    Source: torchvision.transforms.RandomResizedCrop.get_params, and RandomHorizontalFlip.
    """
    numbers = _numbers(content, view)
    is_flipped = next(numbers) < _FLIPPED
    for _ in range(_ATTEMPTS):
        area = height * width * _between(*_AREA, next(numbers))
        ratio = math.exp(_between(math.log(_RATIO[0]), math.log(_RATIO[1]), next(numbers)))
        tall, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        down, right = next(numbers), next(numbers)
        if 0 < tall <= height and 0 < wide <= width:
            return Window(int(down * (height - tall + 1)), int(right * (width - wide + 1)), tall, wide, is_flipped)
    # An image that is far wider than high, or higher than wide: its middle, as little as the ratio allows cut off.
    wide = min(width, max(1, round(height * _RATIO[1])))
    tall = min(height, max(1, round(width / _RATIO[0])))
    return Window((height - tall) // 2, (width - wide) // 2, tall, wide, is_flipped)


def _numbers(content: bytes, view: int) -> Iterator[float]:
    """Yield numbers in [0, 1): SHA-256 in counter mode, which is the same with every library for good."""
    seed = hashlib.sha256(f"linprobe/view/{view}/".encode() + content).digest()
    counter = 0
    while True:
        block = hashlib.sha256(seed + counter.to_bytes(8, "big")).digest()
        # 53 bits: what a float64 holds exactly, so that a number stays below 1.
        yield from ((int.from_bytes(block[at : at + 8], "big") >> 11) / 2**53 for at in range(0, 32, 8))
        counter += 1


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
