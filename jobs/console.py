"""What a person sees: lines and a progress bar on stderr; stdout is for the result alone."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from extract import Progress

__all__ = ["Console"]

# Where there is no terminal, a line now and then tells a log that the job is alive.
_LOG_SECONDS = 60.0


class Console:
    """Where a job writes.

    Args:
        is_json: whether stdout gets one JSON document rather than text.
        out: stdout.
        err: stderr.
    """

    def __init__(self, is_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.is_json = is_json
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
    def progress(self, title: str) -> Iterator[Callable[[Progress], None]]:
        """Show how far an extraction is: a bar on a terminal, a line a minute in a log."""
        if self._err.isatty():
            with _bar(title, self._err) as update:
                yield update
        else:
            yield _Log(title, self.say)


class _Log:
    def __init__(self, title: str, say: Callable[[str], None]) -> None:
        self._title = title
        self._say = say
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._last >= _LOG_SECONDS:
            self._last = time.monotonic()
            self._say(f"{self._title}: {_counts(progress)}")


def _counts(progress: Progress) -> str:
    total = f" of {progress.candidates:,}" if progress.candidates is not None else ""
    done = progress.computed + progress.reused + progress.quarantined
    return (
        f"{done:,}{total} pictures, {progress.computed:,} computed, "
        f"{progress.reused:,} reused, {progress.quarantined:,} quarantined"
    )


@contextmanager
def _bar(title: str, stream: TextIO) -> Iterator[Callable[[Progress], None]]:
    # Rich is slow to import, and a job without a terminal never needs it.
    import rich.console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} images/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    detail = TextColumn("{task.fields[detail]}")
    with Bar(*columns, detail, console=rich.console.Console(file=stream), transient=True) as bar:
        task = bar.add_task(title, total=None, detail="")

        def update(progress: Progress) -> None:
            done = progress.computed + progress.reused + progress.quarantined
            bar.update(
                task,
                total=progress.candidates,
                completed=done,
                detail=f"{progress.reused:,} reused, {progress.quarantined:,} quarantined",
            )

        yield update
