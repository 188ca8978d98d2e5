"""Streams that cannot harm the work: what cannot be told is lost, and nothing else.

A log may be closed, full, an ASCII terminal or a pipe whose reader has left. None of that may raise into a job that has
still something to do, nor decide its exit code: only the document of `--json` has to arrive (`Telling.must_arrive`).
"""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

__all__ = ["LogLines", "Telling", "hold_descriptors", "standard_streams", "telling", "visible"]

# C0 and C1 control characters but tab and newline, and those that turn the direction of writing: a terminal acts on
# them, or shows another text than there is.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""Return a text for people with its control characters spelled, such as `\x1b`; tab and newline stay."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def hold_descriptors() -> None:
    """Open what is closed of the descriptors 0, 1 and 2 onto nothing.

    Else the next file that is opened becomes stdout or stderr, and what libraries print goes into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


class Telling(io.TextIOBase):
    """A text stream whose failures are kept instead of raised.

    Args:
        stream: where text goes; None where the process was started without it.

    Attributes:
        failure: why text was lost, once some was; what is written afterwards is dropped.
        must_arrive: whether the command has failed where text was lost.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failure: OSError | None = None if stream else OSError("it is closed")
        self.must_arrive = False

    def write(self, text: str) -> int:
        """Write text; letters that the stream's encoding lacks are spelled as Python spells them."""
        self._try(lambda stream: self._write(stream, text))
        return len(text)

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Flush what was written."""
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Return whether a person may be looking."""
        return self.failure is None and self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor.

        Raises:
            OSError: there is none.
        """
        if self._stream is None:
            raise OSError("it is closed")
        return self._stream.fileno()

    def close(self) -> None:
        """Do nothing: libraries close what they log to, and others go on writing to it."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there
        """The stream's encoding."""
        return (self._stream.encoding if self._stream else None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # an attribute there
        """What becomes of letters that the encoding lacks."""
        return "backslashreplace"

    @property
    def closed(self) -> bool:
        """Whether it is closed: never, for writing to it is always allowed."""
        return False

    def writable(self) -> bool:
        """Return True: see `closed`."""
        return True

    def _try(self, act: Callable[[TextIO], object]) -> None:
        if self.failure is not None or self._stream is None:
            return
        try:
            act(self._stream)
        except OSError as error:
            self._lose(error)
        except ValueError as error:  # it was closed by somebody
            self._lose(OSError(str(error)))

    def _lose(self, error: OSError) -> None:
        self.failure = error
        # What lies in buffers would fail once more when the interpreter ends, and decide its exit code.
        try:
            descriptor = self.fileno()
            if descriptor > 2:
                return
            opened = os.open(os.devnull, os.O_WRONLY)
            os.dup2(opened, descriptor)
            os.close(opened)
        except (OSError, ValueError):
            return  # a stream without a descriptor has nothing that the interpreter flushes


def telling(stream: Any) -> Telling:
    """Return a stream that cannot harm the work; one that cannot already stays itself."""
    return stream if isinstance(stream, Telling) else Telling(stream)


class LogLines(Telling):
    """A log: one event a line, each with its time.

    Args:
        stream: where the lines go.
        log_format: `text`: the time and the text; `json`: an object with `time`, `event` and `message`.
        now: gives the time, UTC, ISO 8601.
    """

    def __init__(self, stream: Telling, log_format: str, now: Callable[[], str]) -> None:
        super().__init__(stream)  # type: ignore[arg-type]  # a Telling has all of TextIO that is used here
        self._is_json = log_format == "json"
        self._now = now
        self._begun = ""

    def write(self, text: str) -> int:
        """Write text; each whole line becomes an event."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                self.event("message", line)
        return len(text)

    def event(self, event: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        """Write an event.

        Args:
            event: `begin`, `end`, `message`, …
            message: for people; its lines become one.
            fields: plain data that the JSON form has besides.
        """
        if self._is_json:
            found = json.dumps({"time": self._now(), "event": event, "message": message, **(fields or {})})
        else:
            found = f"{self._now()} " + " | ".join(part.strip() for part in message.splitlines())
        super().write(f"{found}\n")
        self.flush()

    def isatty(self) -> bool:
        """Return False: a log has no bar."""
        return False


def standard_streams() -> tuple[Telling, Telling]:
    """Return stdout and stderr of this process as they are now, neither of which can harm the work."""
    hold_descriptors()
    return telling(sys.stdout), telling(sys.stderr)
