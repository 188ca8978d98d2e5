"""From an error to an exit code: what a scheduler learns of a job."""

import functools
import os
from enum import IntEnum

__all__ = ["ConfigError", "ExitCode", "GateFailed", "Interrupted", "exit_code", "sentence", "worst"]


class ConfigError(ValueError):
    """A configuration, or a command line, that cannot be meant so."""


class GateFailed(Exception):
    """A result is worse than the gate allows."""


class Interrupted(KeyboardInterrupt):
    """The process was told to stop."""


class ExitCode(IntEnum):
    """What the process ends with."""

    DONE = 0
    USAGE = 2
    GATE = 3
    BAD_DATA = 65
    UNAVAILABLE = 69
    OUR_FAULT = 70
    IO = 74
    TRY_AGAIN = 75


# The packages are imported when something has gone wrong, not before: a job that finds all its work done
# would spend more time on the heads' libraries than on its work.
@functools.cache
def _codes() -> tuple[tuple[type[BaseException], ExitCode], ...]:
    import extract
    import probe
    import reports
    import store

    return (
        # The first that fits counts: subclasses stand before their bases.
        (ConfigError, ExitCode.USAGE),
        (GateFailed, ExitCode.GATE),
        (extract.UnknownName, ExitCode.USAGE),
        (extract.InvalidSetting, ExitCode.USAGE),
        (probe.HeadNotFound, ExitCode.USAGE),
        (probe.OptionError, ExitCode.USAGE),
        (store.RunNotFound, ExitCode.USAGE),
        (reports.NotAReport, ExitCode.USAGE),
        (extract.SourceUnavailable, ExitCode.UNAVAILABLE),
        (extract.ModelUnavailable, ExitCode.UNAVAILABLE),
        (extract.EngineUnavailable, ExitCode.UNAVAILABLE),
        (store.FeatureSetNotFound, ExitCode.UNAVAILABLE),
        (probe.ViewMissing, ExitCode.UNAVAILABLE),
        (store.StoreNotFound, ExitCode.UNAVAILABLE),
        (reports.NothingToReport, ExitCode.UNAVAILABLE),
        (extract.BadData, ExitCode.BAD_DATA),
        (store.InvalidFeatures, ExitCode.BAD_DATA),
        (extract.ModelMismatch, ExitCode.BAD_DATA),
        (extract.ExtractError, ExitCode.BAD_DATA),
        (probe.ProbeError, ExitCode.BAD_DATA),
        (reports.ReportError, ExitCode.BAD_DATA),
        (store.StoreBusy, ExitCode.TRY_AGAIN),
        (KeyboardInterrupt, ExitCode.TRY_AGAIN),
        (store.StoreError, ExitCode.IO),
        (OSError, ExitCode.IO),
    )


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of an error; what nobody foresaw is a fault of ours."""
    return next((code for kind, code in _codes() if isinstance(error, kind)), ExitCode.OUR_FAULT)


def sentence(error: BaseException) -> str:
    """Return what an error says; of the system's own which path and why, without its number."""
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}."
    return str(error)


# A job of several parts ends with the first of these that one of its parts ended with.
_PRECEDENCE = (
    ExitCode.OUR_FAULT,
    ExitCode.TRY_AGAIN,
    ExitCode.IO,
    ExitCode.UNAVAILABLE,
    ExitCode.BAD_DATA,
    ExitCode.USAGE,
    ExitCode.GATE,
)


def worst(codes: list[ExitCode]) -> ExitCode:
    """Return what a job of several parts ends with."""
    return next((code for code in _PRECEDENCE if code in codes), ExitCode.DONE)
