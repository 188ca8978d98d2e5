"""A table for a terminal: texts to the left, numbers to the right."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["text_table"]


def text_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as lines below a heading.

    Args:
        rows: column → value; a float is shown with four places, what is missing not at all.
        columns: those that are shown, in order.
    """
    cells = [[_text(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, (name, *column))) for name, column in zip(columns, zip(*cells, strict=True), strict=True)]
    is_number = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in columns]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_number, strict=True)
        )
        for line in ([*columns], *cells)
    ]
    return "\n".join(line.rstrip() for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    # A name with a line break in it must not look like two rows.
    return f"{value:.4f}" if isinstance(value, float) else str(value).replace("\n", "\\n")
