"""How fast an extraction goes right now, and how long it will take."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extract import Progress

__all__ = ["Pace"]

# Long enough to even out batches and commits, short enough to follow a change.
_WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class _Moment:
    seconds: float
    computed: int
    done: int


class Pace:
    """Speed and time left, from what was reported in the last minute.

    Attributes:
        images_per_second: images through the engine; rows that the pool had do not count.
        seconds_left: None as long as nobody can tell.
    """

    def __init__(self) -> None:
        self._moments: deque[_Moment] = deque()
        self.images_per_second = 0.0
        self.seconds_left: float | None = None

    def note(self, progress: "Progress", seconds: float) -> None:
        """Take a report.

        Args:
            progress: how far it is.
            seconds: on a clock that never goes back.
        """
        now = _Moment(seconds, progress.computed, progress.done)
        self._moments.append(now)
        while now.seconds - self._moments[0].seconds > _WINDOW_SECONDS and len(self._moments) > 2:
            self._moments.popleft()
        first = self._moments[0]
        passed = now.seconds - first.seconds
        if passed <= 0:
            return
        self.images_per_second = (now.computed - first.computed) / passed
        done_per_second = (now.done - first.done) / passed
        is_known = progress.candidates is not None and done_per_second > 0
        left = (progress.candidates or 0) - now.done
        self.seconds_left = max(0.0, left / done_per_second) if is_known else None

    def text(self) -> str:
        """Return both for people, such as `212 images/s, 1:04:10 left`."""
        left = self.seconds_left
        if left is None:
            return f"{self.images_per_second:,.0f} images/s"
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        return f"{self.images_per_second:,.0f} images/s, {clock} left"
