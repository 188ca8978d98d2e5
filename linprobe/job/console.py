"""What a person sees: lines and a progress bar on stderr; stdout is for the result alone."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from linprobe.job.pace import Pace

if TYPE_CHECKING:
    from extract import Progress

__all__ = ["Console"]

# Where there is no terminal, a line now and then tells a log that the job is alive: soon once, then each minute.
_FIRST_LOG_SECONDS = 10.0
_LOG_SECONDS = 60.0


class Console:
    """Where a job writes.

    Args:
        is_json: whether stdout gets one JSON document rather than text.
        out: stdout.
        err: stderr.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        is_json: bool,
        out: TextIO | None = None,
        err: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_json = is_json
        self._clock = clock
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    def say(self, text: str) -> None:
        """Write a line for people, to stderr."""
        self.status("")
        print(text, file=self._err, flush=True)

    def status(self, text: str) -> None:
        """Show what goes on right now, on a terminal only; the next line takes its place."""
        if self._err.isatty():
            print(f"\r\x1b[2K{text}\r", end="", file=self._err, flush=True)

    def result(self, text: str, document: dict[str, Any]) -> None:
        """Write the command's result to stdout: the document with --json, else the text."""
        if self.is_json:
            print(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False), file=self._out, flush=True)
        elif text:
            print(text, file=self._out, flush=True)

    @contextmanager
    def progress(self, title: str) -> "Iterator[Callable[[Progress], None]]":
        """Show how far an extraction is, how fast and how long still: a bar on a terminal, a line a minute in a log."""
        if self._err.isatty():
            with _bar(title, self._err, self._clock) as update:
                yield update
        else:
            yield _Log(title, self.say, self._clock)


class _Log:
    def __init__(self, title: str, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._title = title
        self._say = say
        self._clock = clock
        self._pace = Pace()
        self._next = clock() + _FIRST_LOG_SECONDS

    def __call__(self, progress: "Progress") -> None:
        now = self._clock()
        self._pace.note(progress, now)
        if now >= self._next:
            self._next = now + _LOG_SECONDS
            self._say(f"{self._title}: {_counts(progress)}; {self._pace.text()}")


def _counts(progress: "Progress") -> str:
    total = f" of {progress.candidates:,}" if progress.candidates is not None else ""
    return (
        f"{progress.done:,}{total} images, {progress.computed:,} computed, "
        f"{progress.reused:,} reused, {progress.quarantined:,} quarantined"
    )


@contextmanager
def _bar(title: str, stream: TextIO, clock: Callable[[], float]) -> "Iterator[Callable[[Progress], None]]":
    # Rich is slow to import, and a job without a terminal never needs it.
    import rich.console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}"))
    pace = Pace()
    with Bar(*columns, console=rich.console.Console(file=stream), transient=True) as bar:
        task = bar.add_task(title, total=None, detail="")

        def update(progress: "Progress") -> None:
            pace.note(progress, clock())
            bar.update(
                task,
                total=progress.candidates,
                completed=progress.done,
                detail=f"{pace.text()}; {progress.reused:,} reused, {progress.quarantined:,} quarantined",
            )

        yield update
