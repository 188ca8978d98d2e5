"""A command as a process: signals, what goes to stderr, and the exit code."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from linprobe.cli.app import app

__all__ = ["main"]

# Typer carries its own copy of Click and exports only this subclass of its error for bad usage.
_UsageError: Any = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no user's mistake ends in a traceback."""
    stdout = sys.stdout
    try:
        with _stopping_softly():
            found = app(args=arguments, prog_name="linprobe", standalone_mode=False)
        return int(found or 0)
    except _UsageError as error:
        error.show()
        return 2
    except BrokenPipeError:
        return _leave_quietly()
    except SystemExit as error:
        # What Typer makes of a broken pipe; nobody else here exits so.
        if isinstance(error.__context__, BrokenPipeError):
            return _leave_quietly()
        if error.code is None or isinstance(error.code, int):
            # Completion ends so, also where what asks for it cannot be read.
            return error.code or 0
        return _report_error(error)
    # The one place that catches everything: what it is decides the exit code.
    except BaseException as error:  # noqa: BLE001
        return _report_error(error)
    finally:
        sys.stdout = stdout


class _Stopped(BaseException):
    """The process was told to stop. Not a KeyboardInterrupt, of which Typer makes an exit code of its own."""


def _leave_quietly() -> int:
    # The reader of stdout has left (head, less): there is nobody to tell.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return 0


def _report_error(error: BaseException) -> int:
    from linprobe.job.errors import ExitCode, exit_code, sentence

    code = ExitCode.TRY_AGAIN if isinstance(error, _Stopped) else exit_code(error)
    if code is ExitCode.OUR_FAULT:
        import traceback

        traceback.print_exception(error)
        print("linprobe: this is a fault of ours; nothing that was published is affected.", file=sys.stderr)
    elif isinstance(error, _Stopped):
        print("linprobe: interrupted; what was computed is kept, run it again to go on.", file=sys.stderr)
    else:
        print(f"linprobe: {sentence(error)}", file=sys.stderr)
    return int(code)


@contextmanager
def _stopping_softly() -> Iterator[None]:
    """Make a scheduler's SIGTERM and a person's Ctrl-C end the job in the same way."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
