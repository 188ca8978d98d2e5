"""What can go wrong between an image and its row."""

import difflib
from collections.abc import Iterable

__all__ = [
    "BadData",
    "CanaryDrift",
    "DataShrank",
    "EngineUnavailable",
    "ExtractError",
    "InvalidSetting",
    "ModelMismatch",
    "ModelUnavailable",
    "OutOfMemory",
    "SourceUnavailable",
    "UnknownName",
    "UntrustedModel",
]


# A list that fills the screen helps nobody.
_LISTED = 24


class ExtractError(Exception):
    """Base of everything that `extract` raises on purpose."""


class UnknownName(ExtractError, LookupError):
    """No source, extractor, split or engine has this name.

    Args:
        kind: what was looked for, such as `extractor`.
        name: the name that was given.
        known: the names that there are; the nearest is suggested.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        # As arguments, so that the error can be sent from one process to another.
        super().__init__(kind, name, list(known))

    def __str__(self) -> str:
        """Say what was looked for, and what there is."""
        kind, name, known = self.args
        listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        return f"{name}: no such {kind}; {hint}known: {listed or 'none'}."


class InvalidSetting(ExtractError, ValueError):
    """A setting of an extractor that cannot be meant so."""


class SourceUnavailable(ExtractError, OSError):
    """A dataset is unavailable: it is not there, not prepared, or cannot be downloaded."""


class BadData(ExtractError, ValueError):
    """A dataset's content is not what can be worked with."""


class DataShrank(BadData):
    """A dataset has lost more than its job allows; nothing was named, and the answers of before stay."""


class CanaryDrift(BadData):
    """The canary images do not come out as when the pool was begun: rows computed now would not match its rows."""


class ModelUnavailable(ExtractError, OSError):
    """A model's weights are unavailable."""


class UntrustedModel(ModelUnavailable):
    """A model is a program that nobody has trusted, or one that no lock knows where a job requires that."""


class ModelMismatch(ExtractError, ValueError):
    """A model is not what was declared of it."""


class EngineUnavailable(ExtractError, RuntimeError):
    """The engine that was asked for cannot run here."""


class OutOfMemory(ExtractError, MemoryError):
    """A batch of images does not fit into the memory of what runs it."""
