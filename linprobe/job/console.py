"""What a person sees: lines and a progress bar on stderr; stdout is for the result alone."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from linprobe.job.pace import Pace
from linprobe.job.streams import LogLines, Telling, telling, visible

if TYPE_CHECKING:
    from extract import Progress

__all__ = ["Console", "nothing"]

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
        self._out = telling(out or sys.stdout)
        self._err = telling(err or sys.stderr)
        self._out.must_arrive = is_json

    def say(self, text: str) -> None:
        """Write a line for people, to stderr; further lines of it are indented, so that none passes for one of ours."""
        self.status("")
        first, *others = visible(text).split("\n")
        lines = [first, *(line if line.startswith(" ") else f"  {line}" for line in others)]
        self._tell("\n".join(lines))

    def warn(self, text: str) -> None:
        """Write a line that nobody must miss."""
        self.say(text)

    def _tell(self, text: str) -> None:
        if isinstance(self._err, LogLines):
            self._err.event("message", text)
        else:
            print(text, file=self._err, flush=True)

    def event(self, event: str, text: str, **fields: Any) -> None:
        """Tell a log that something begins or ends; without a log there is nobody to tell.

        Args:
            event: what, such as `begin`.
            text: the same for people.
            fields: plain data for the JSON form.
        """
        if isinstance(self._err, LogLines):
            self._err.event(event, visible(text), fields)

    def status(self, text: str) -> None:
        """Show what goes on right now, on a terminal only; the next line takes its place."""
        if self._err.isatty():
            print(f"\r\x1b[2K{visible(text)}\r", end="", file=self._err, flush=True)

    def result(self, text: str, document: dict[str, Any]) -> None:
        """Write the command's result to stdout: the document with --json, else the text."""
        if self.is_json:
            # An ASCII stream gets the same document: JSON has escapes of its own.
            is_ascii = not _is_unicode(self._out.encoding)
            print(json.dumps(document, indent=1, allow_nan=False, ensure_ascii=is_ascii), file=self._out, flush=True)
        elif text:
            print(visible(text), file=self._out, flush=True)

    @contextmanager
    def progress(self, title: str) -> "Iterator[Callable[[Progress], None]]":
        """Show how far an extraction is, how fast and how long still: a bar on a terminal, a line a minute in a log."""
        if self._err.isatty():
            with _bar(visible(title), self._err, self._clock) as update:
                yield update
        else:
            yield _Log(title, self.say, self._clock)

    @contextmanager
    def steps(self, title: str, total: int) -> "Iterator[Callable[[], None]]":
        """Show how many of some steps are done; a command's lines tell that already, and a notebook has a bar.

        Args:
            title: what the steps are.
            total: how many there are.
        """
        yield nothing


def _is_unicode(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith("utf")


def nothing() -> None:
    """Let nobody be told."""


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
def _bar(title: str, stream: Telling, clock: Callable[[], float]) -> "Iterator[Callable[[Progress], None]]":
    # Rich is slow to import, and a job without a terminal never needs it.
    import rich.console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}"))
    pace = Pace()
    with Bar(*columns, console=rich.console.Console(file=cast(TextIO, stream)), transient=True) as bar:
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
