"""What can go wrong with a report, each error with the builtin that a caller would expect."""

__all__ = ["DuplicateRun", "InvalidRun", "NotAReport", "NothingToReport", "ReportError"]


class ReportError(Exception):
    """Base of everything that `reports` raises on purpose."""


class NotAReport(ReportError, FileExistsError):
    """The place for the report holds something that is not a report of ours."""


class NothingToReport(ReportError, LookupError):
    """There are no runs to write about."""


class InvalidRun(ReportError, ValueError):
    """A run contradicts itself, or has an id that cannot name a page."""


class DuplicateRun(ReportError, ValueError):
    """Two runs would have the same page."""
