"""Which columns and parts there must be, and which there may be: later versions add, and older stores stay sound."""

from collections.abc import Collection, Sequence

__all__ = ["unexpected"]


def unexpected(found: Sequence[str], required: Sequence[str], optional: Collection[str]) -> str | None:
    """Return what is wrong with the names of columns, or of parts; None if nothing is.

    Args:
        found: the names, in their order.
        required: those that must be there.
        optional: those that may be there besides.
    """
    missing = [name for name in required if name not in found]
    strange = [name for name in found if name not in required and name not in optional]
    if not missing and not strange and len(set(found)) == len(found):
        return None
    besides = f", and perhaps {', '.join(optional)}" if optional else ""
    return f"{', '.join(required)} expected{besides}, {', '.join(found)} found"
