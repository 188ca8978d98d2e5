"""From an error to an exit code: what a scheduler learns of a job."""

from enum import IntEnum

from extract import (
    BadData,
    EngineUnavailable,
    ExtractError,
    InvalidSetting,
    ModelMismatch,
    ModelUnavailable,
    SourceUnavailable,
    UnknownName,
)
from probe import HeadNotFound, OptionError, ProbeError
from reports import NotAReport, ReportError
from store import FeatureSetNotFound, InvalidFeatures, RunNotFound, StoreBusy, StoreError, StoreNotFound

__all__ = ["ConfigError", "ExitCode", "GateFailed", "Interrupted", "exit_code", "worst"]


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


_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    # The first that fits counts: subclasses stand before their bases.
    (ConfigError, ExitCode.USAGE),
    (GateFailed, ExitCode.GATE),
    (UnknownName, ExitCode.USAGE),
    (InvalidSetting, ExitCode.USAGE),
    (HeadNotFound, ExitCode.USAGE),
    (OptionError, ExitCode.USAGE),
    (RunNotFound, ExitCode.USAGE),
    (NotAReport, ExitCode.USAGE),
    (SourceUnavailable, ExitCode.UNAVAILABLE),
    (ModelUnavailable, ExitCode.UNAVAILABLE),
    (EngineUnavailable, ExitCode.UNAVAILABLE),
    (FeatureSetNotFound, ExitCode.UNAVAILABLE),
    (StoreNotFound, ExitCode.UNAVAILABLE),
    (BadData, ExitCode.BAD_DATA),
    (InvalidFeatures, ExitCode.BAD_DATA),
    (ModelMismatch, ExitCode.BAD_DATA),
    (ExtractError, ExitCode.BAD_DATA),
    (ProbeError, ExitCode.BAD_DATA),
    (ReportError, ExitCode.BAD_DATA),
    (StoreBusy, ExitCode.TRY_AGAIN),
    (KeyboardInterrupt, ExitCode.TRY_AGAIN),
    (StoreError, ExitCode.IO),
    (OSError, ExitCode.IO),
)


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of an error; what nobody foresaw is a fault of ours."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.OUR_FAULT)


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
