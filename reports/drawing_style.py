"""What all drawings share: colours, fonts, and matplotlib set to the same values whatever stands in its files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

__all__ = ["BLUE", "FONT", "GREEN", "INK", "LINE", "MUTED", "ORANGE", "RED", "our_style"]

INK, MUTED, LINE = "#1c2024", "#6b7280", "#d8dce2"
BLUE, ORANGE, GREEN = "#1d4ed8", "#b45309", "#047857"
RED = "#b91c1c"
FONT = 9.0

_STYLE: Any = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": FONT,
    "legend.fontsize": 8,
    "legend.frameon": False,
    # Text stays text: small files, and a reader can search and copy it.
    "svg.fonttype": "none",
    "svg.hashsalt": "linprobe",
    "text.color": INK,
    # A class may be called "$x$".
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def our_style() -> Iterator[None]:
    """Draw within in our style; everything is as before afterwards."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Class names in scripts that the measuring font lacks are drawn by the browser all the same.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield
