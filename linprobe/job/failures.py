"""What went wrong in a job of several parts, while the other parts went on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from linprobe.job.errors import ConfigError, ExitCode, GateFailed, exit_code, sentence, worst

if TYPE_CHECKING:
    from linprobe.job.console import Console

__all__ = ["Failure", "foreseen", "noted", "worst_of"]


def foreseen() -> tuple[type[Exception], ...]:
    """Return what a part of a job may fail with without taking the rest along.

    Anything else is a fault of ours, and ends the job where it stands. A function, so that `except
    foreseen()` imports the packages' errors only when there is one.
    """
    from extract import ExtractError
    from probe import ProbeError
    from reports import ReportError
    from store import StoreError

    return ConfigError, ExtractError, ProbeError, ReportError, StoreError, OSError, GateFailed


@dataclass(frozen=True)
class Failure:
    """One part that failed.

    Attributes:
        part: which, such as `digits / efficientnet_lite0`.
        error: why.
    """

    part: str
    error: Exception

    @property
    def code(self) -> ExitCode:
        """The exit code that this part alone would have."""
        return exit_code(self.error)

    def row(self) -> dict[str, object]:
        """Return the failure as it stands in a JSON document."""
        return {"part": self.part, "error": sentence(self.error), "exit_code": int(self.code)}


@contextmanager
def noted(part: str, failures: list[Failure], console: "Console") -> Iterator[None]:
    """Do a part; where it fails as foreseen, tell of it and go on."""
    try:
        yield
    except foreseen() as error:
        failures.append(Failure(part, error))
        console.say(f"{part}: {sentence(error)}")


def worst_of(failures: list[Failure]) -> ExitCode:
    """Return what a job with these failures ends with."""
    return worst([failure.code for failure in failures])
