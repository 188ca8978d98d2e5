"""A command as a process: signals, what goes to stderr, and the exit code."""

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from linprobe.cli.app import app
from linprobe.job.streams import Telling, standard_streams, visible

__all__ = ["main"]

# Typer carries its own copy of Click and exports only this subclass of its error for bad usage.
_UsageError: Any = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no user's mistake ends in a traceback, and no stream harms the work."""
    given = sys.stdout, sys.stderr
    out, err = standard_streams()
    sys.stdout, sys.stderr = out, err
    try:
        with _stopping_softly(), _logging():
            code = _run(arguments)
        out.flush()
        err.flush()
        return _undelivered(out, code) if out.must_arrive and out.failure else code
    finally:
        sys.stdout, sys.stderr = given


def _run(arguments: Sequence[str] | None) -> int:
    try:
        found = app(args=arguments, prog_name="linprobe", standalone_mode=False)
        return int(found or 0)
    except _UsageError as error:
        error.show()
        return 2
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            # Completion ends so, also where what asks for it cannot be read.
            return error.code or 0
        return _report_error(error)
    # The one place that catches everything: what it is decides the exit code.
    except BaseException as error:  # noqa: BLE001
        return _report_error(error)


def _undelivered(out: Telling, code: int) -> int:
    """Return the exit code where the document of --json was lost, which is all that a program gets of the work."""
    from linprobe.job.errors import ExitCode, worst

    reason = str(out.failure.strerror or out.failure).lower() if out.failure else ""
    print(f"linprobe: the document of --json could not be written ({reason}); the work is done.", file=sys.stderr)
    return int(worst([ExitCode(code), ExitCode.IO]))


@contextmanager
def _logging() -> Iterator[None]:
    """Send what packages log to stderr, as Python does by itself, with control characters made visible."""
    handler = _StderrHandler(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(visible(self.format(record)), file=sys.stderr, flush=True)


class _Stopped(BaseException):
    """The process was told to stop. Not a KeyboardInterrupt, of which Typer makes an exit code of its own."""


def _report_error(error: BaseException) -> int:
    from linprobe.job.errors import ExitCode, exit_code, sentence

    code = ExitCode.TRY_AGAIN if isinstance(error, _Stopped) else exit_code(error)
    if isinstance(error, UnicodeEncodeError) and _has_surrogates(error.object):
        text = visible(error.object[:80].encode("ascii", "backslashreplace").decode())
        print(
            f"linprobe: {text}: not UTF-8, or not read as such in this locale; rename it, or set LC_ALL=C.UTF-8.",
            file=sys.stderr,
        )
        return int(ExitCode.USAGE)
    if code is ExitCode.OUR_FAULT:
        import traceback

        traceback.print_exception(error)
        print("linprobe: this is a fault of ours; nothing that was published is affected.", file=sys.stderr)
    elif isinstance(error, _Stopped):
        print("linprobe: interrupted; what was computed is kept, run it again to go on.", file=sys.stderr)
    else:
        print(f"linprobe: {visible(sentence(error))}", file=sys.stderr)
    return int(code)


def _has_surrogates(text: str) -> bool:
    """Return whether a text stands for bytes that could not be decoded: a name on a disk, or an argument."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


@contextmanager
def _stopping_softly() -> Iterator[None]:
    """Make a scheduler's SIGTERM, a person's Ctrl-C and a terminal that goes away end the job in the same way."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    # Who started it with nohup wants it to go on without a terminal.
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT, *hangup)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
