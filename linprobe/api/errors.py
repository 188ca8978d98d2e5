"""What can go wrong between a notebook and the service, beyond what the packages raise."""

__all__ = ["LinprobeError", "WorkspaceClosed"]


class LinprobeError(Exception):
    """Base of what the API itself raises."""


class WorkspaceClosed(LinprobeError, ValueError):
    """A workspace was used after it had been closed."""
