"""Images with what a head says of them, on one sheet."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from reports.wording import confidence, shorten

__all__ = ["GridCell", "draw_prediction_grid"]

_COLUMNS = 6


@dataclass(frozen=True)
class GridCell:
    """An image of the grid.

    Attributes:
        image: PNG bytes.
        predicted: the class.
        confidence: its probability, 0 to 1.
        label: the true class, or None where nobody knows.
    """

    image: bytes
    predicted: str
    confidence: float
    label: str | None = None


def draw_prediction_grid(cells: Sequence[GridCell]) -> bytes:
    """Draw images with their predictions, six in a row.

    As in the lesson, a right prediction is blue and a wrong one red, then with the true class in brackets; where no
    label is known it is black.

    Args:
        cells: N ≥ 1, row by row.

    Returns:
        PNG bytes.
    """
    # Reading this module must not wait for matplotlib.
    from matplotlib.figure import Figure

    from reports.drawing_style import BLUE, INK, RED, our_style

    rows = math.ceil(len(cells) / _COLUMNS)
    with our_style():
        figure = Figure(figsize=(1.9 * _COLUMNS, 2.2 * rows), layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for panel, cell in zip(panels, cells, strict=False):
            shown = Image.open(io.BytesIO(cell.image))
            # Small images are enlarged without smoothing: their pixels are what the network saw.
            panel.imshow(shown, interpolation="nearest" if max(shown.size) <= 64 else "antialiased")
            colour = INK if cell.label is None else BLUE if cell.label == cell.predicted else RED
            panel.set_title(_title(cell), fontsize=9, color=colour)
        for panel in panels:
            panel.set_axis_off()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        return buffer.getvalue()


def _title(cell: GridCell) -> str:
    text = f"{shorten(cell.predicted, 18)} {confidence(cell.confidence)}"
    is_wrong = cell.label is not None and cell.label != cell.predicted
    return f"{text}\n({shorten(cell.label, 22)})" if is_wrong else text
