"""Values that look alike: a class typed in two ways is two classes for a program, and one for a person."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from extract.errors import BadData

__all__ = ["class_order", "unified"]

_SHOWN = 3
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")


def unified(counts: Mapping[str, int], what: str, *, merge: bool) -> dict[str, str]:
    """Return the one spelling of each value.

    Forms of one text in Unicode (NFC and NFD) are one value: no eye can tell them apart. Others that are equal after
    trimming, case folding or reading as numbers are refused, since only their owner knows.

    Args:
        counts: each value as it is spelt, and how often.
        what: they are, for the message, such as `flowers: classes`.
        merge: whether the others are one value too: the spelling that is most frequent.

    Raises:
        BadData: values look alike; both spellings and their counts are named.
    """
    spelt = {value: unicodedata.normalize("NFC", value) for value in counts}
    totals: Counter[str] = Counter()
    for value, count in counts.items():
        totals[spelt[value]] += count
    alike: dict[str, list[str]] = {}
    for value in totals:
        alike.setdefault(_looks(value), []).append(value)
    several = [
        sorted(values, key=lambda value: (-totals[value], value)) for values in alike.values() if len(values) > 1
    ]
    if several and not merge:
        shown = "; ".join(
            " and ".join(f"{value!r} ({totals[value]:,})" for value in values) for values in several[:_SHOWN]
        )
        more = f"; and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
        raise BadData(
            f"{what} that look alike: {shown}{more}; make them one, or say merge = true for this dataset in the job "
            "file if they are one."
        )
    first = {value: values[0].strip() for values in several for value in values}
    return {value: first.get(normal, normal) for value, normal in spelt.items()}


def class_order(names: Collection[str]) -> Callable[[str], Any]:
    """Return by what classes are sorted: whole numbers as such, so that a label is one class in every source."""
    if names and all(re.fullmatch(r"-?[0-9]+", name) for name in names):
        return lambda name: (int(name), name)
    return lambda name: name


def _looks(value: str) -> str:
    text = unicodedata.normalize("NFKC", value).strip().casefold()
    # Digits of a number of any length; a float would lose some.
    return str(int(text.partition(".")[0])) if _WHOLE.fullmatch(text) and len(text) < 400 else text
