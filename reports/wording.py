"""How numbers and names are worded, the same way on every page and in every table."""

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "MISSING",
    "confidence",
    "folds",
    "limits",
    "number",
    "percent",
    "plain",
    "points",
    "shorten",
    "storable",
    "visible",
]

MISSING = "–"

# Controls that reorder the text around them: a class name must not be able to rewrite a page.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# The last two are no characters in XML: one of them in an SVG and no browser shows the figure.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NONCHARACTERS = frozenset("\ufffe\uffff")


def visible(text: object) -> str:
    """Return text with control characters and halves of surrogate pairs written out as escapes.

    Folder names that are not UTF-8 reach us with such halves, which no file can hold.

    Args:
        text: any value; anything but a string is turned into one first.
    """
    return "".join(_written_out(sign) if _is_hidden(sign) else sign for sign in str(text))


def storable(text: str) -> str:
    """Return text that UTF-8, and so a DataFrame, can hold; halves of surrogate pairs written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_hidden(sign: str) -> bool:
    return unicodedata.category(sign) in _ESCAPED_CATEGORIES or sign in _REORDERING or sign in _NONCHARACTERS


def _written_out(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def shorten(text: object, length: int) -> str:
    """Return visible text of at most `length` characters, the middle replaced by an ellipsis."""
    whole = visible(text)
    if len(whole) <= length:
        return whole
    tail = (length - 1) // 2
    return f"{whole[: length - 1 - tail]}…{whole[len(whole) - tail :]}"


def percent(share: float | None, n: int = 0) -> str:
    """Return a share in [0, 1] as a percentage, with as many digits as `n` examples support."""
    if share is None or math.isnan(share):
        return MISSING
    return f"{100 * share:.{2 if n >= 10_000 else 1}f}%"


def points(difference: float | None, n: int = 0) -> str:
    """Return a difference of two shares as signed percentage points, without the unit."""
    if difference is None or math.isnan(difference):
        return MISSING
    return f"{100 * difference:+.{2 if n >= 10_000 else 1}f}".replace("-", "−")


def confidence(share: float) -> str:
    """Return a probability as whole percent; only certainty itself is worded 100%."""
    if math.isnan(share):
        return MISSING
    return ">99%" if 0.995 <= share < 1 else f"{100 * share:.0f}%"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with a fixed count of digits after the point."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def limits(row: Mapping[Any, Any]) -> str:
    """Return how the training of a run, or of a row, was limited: `5-shot`, `10% of train`, or nothing."""
    parts = [] if row["shots"] == "all" else [f"{row['shots']}-shot"]
    if row["train_share"] < 1:
        parts.append(f"{100 * row['train_share']:.3g}% of train")
    return ", ".join(parts)


def training(row: Mapping[Any, Any]) -> str:
    """Return what is special in the training of a leaderboard row: its limits, how many views it had, and its folds."""
    return ", ".join(filter(None, [limits(row), views(row), folds(row)]))


def folds(row: Mapping[Any, Any]) -> str:
    """Return by how many folds every image of a run was tested: `5 folds`, or nothing."""
    count = row.get("folds", 0)
    return f"{count} folds" if count else ""


def views(row: Mapping[Any, Any]) -> str:
    """Return how many views of each image a head was trained on: `4 views`, or nothing."""
    count = row["views"]
    return f"{count} view{'s' * (count > 1)}" if count else ""


def plain(value: object) -> str:
    """Return a value of a configuration as a reader would write it down."""
    if value is None or value == "" or value == {} or value == []:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {plain(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, default=str)
