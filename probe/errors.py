"""What can go wrong between features and a head, each error with the builtin a caller would expect."""

import difflib
from collections.abc import Iterable

__all__ = [
    "FeatureError",
    "HashesMissing",
    "HeadNotFound",
    "LabelError",
    "NotComparable",
    "OptionError",
    "ProbeError",
    "SplitError",
    "ViewMissing",
    "nearest",
]


class ProbeError(Exception):
    """Base of everything that `probe` raises on purpose."""


class SplitError(ProbeError, ValueError):
    """A split cannot be read, names nothing, selects nothing, or overlaps another."""


class LabelError(ProbeError, ValueError):
    """Labels or classes with which no honest head can be trained or tested."""


class ViewMissing(ProbeError, LookupError):
    """A view of a training image that was asked for is not at hand."""


class HashesMissing(ProbeError, LookupError):
    """Images that nobody has looked at for near duplicates, of a draw that keeps these together."""


class FeatureError(ProbeError, ValueError):
    """Features with which nothing can be computed."""


class NotComparable(ProbeError, ValueError):
    """Two runs that answer different questions, or have no image left to be compared on.

    Attributes:
        n_conflicting: shared images that were left out, because they stand under several labels.
        n_relabelled: shared images that were left out, because the runs do not agree on their class.
    """

    n_conflicting = 0
    n_relabelled = 0


class HeadNotFound(ProbeError, LookupError):
    """There is no head of this name."""


class OptionError(ProbeError, ValueError):
    """A head has no such option, or not with this value."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence: the known name nearest to `name`, if one is near, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(names) or 'none'}"
