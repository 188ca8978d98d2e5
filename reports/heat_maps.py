"""What a network sees in an image, drawn: evidence for classes, and the channels of a layer."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.wording import confidence, shorten

__all__ = ["ClassMap", "draw_channels", "draw_class_maps"]

_PANEL_INCHES = 2.9
# A layer's sheet is at least so many pixels wide, whatever its channels' size.
_SHEET_PIXELS = 900


@dataclass(frozen=True)
class ClassMap:
    """Where the evidence for one class lies.

    Attributes:
        name: of the class.
        probability: of the class, 0 to 1.
        logit: of the class: the mean of `places` plus the intercept.
        intercept: what the class has without any image.
        places: (h, w) floating: shares of the logit.
    """

    name: str
    probability: float
    logit: float
    intercept: float
    places: np.ndarray


def draw_class_maps(view: np.ndarray, aspect: float, maps: Sequence[ClassMap]) -> bytes:
    """Draw an image, and beside it where the evidence for each class lies.

    Red places speak for the class, blue ones against it; all maps share one scale, so that they can be compared.

    Args:
        view: (S, S, 3) uint8, what the network saw.
        aspect: width by height at which it is shown.
        maps: the classes, from left to right.

    Returns:
        PNG bytes.
    """
    # Reading this module must not wait for matplotlib.
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from reports.drawing_style import our_style

    # A panorama is shown less wide than it is, or the maps beside it would be lost.
    width, height = max(1.0, min(aspect, 2.5)), max(1.0, min(1 / aspect, 2.5))
    size = (_PANEL_INCHES * width * (len(maps) + 1) + 0.6, _PANEL_INCHES * height + 0.7)
    limit = max((float(np.abs(entry.places).max()) for entry in maps), default=0.0) or 1.0
    box = (0.0, width, height, 0.0)
    with our_style():
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.04))
        panels = figure.subplots(1, len(maps) + 1, squeeze=False).ravel()
        panels[0].imshow(view, extent=box)
        panels[0].set_title("image\n", fontsize=10)
        grey = np.asarray(view, np.float64).mean(axis=2)
        for panel, entry in zip(panels[1:], maps, strict=True):
            panel.imshow(grey, extent=box, cmap="gray", vmin=0, vmax=255)
            places = _enlarged(entry.places, view.shape[:2])
            # Where there is no evidence, the image stays as it is.
            strength = np.minimum(np.abs(places) / limit * 1.5, 0.85)
            panel.imshow(places, extent=box, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=strength)
            mean = entry.logit - entry.intercept
            panel.set_title(
                f"{shorten(entry.name, 30)} {confidence(entry.probability)}\n"
                f"logit {entry.logit:.2f} = map {mean:+.2f}, intercept {entry.intercept:+.2f}",
                fontsize=10,
            )
        for panel in panels:
            panel.set_axis_off()
        scale = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
        figure.colorbar(scale, ax=panels, label="share of the logit", fraction=0.03, pad=0.01)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        return buffer.getvalue()


def _enlarged(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.asarray(places, np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def draw_channels(activations: np.ndarray) -> bytes:
    """Draw every channel of a layer as a tile, row by row, each from its own least value (dark) to its greatest.

    A channel that is the same everywhere says nothing about this image, and stays dark.

    Args:
        activations: (h, w, C) floating.

    Returns:
        PNG bytes.
    """
    from matplotlib import colormaps
    from PIL import Image

    height, width, channels = activations.shape
    columns = math.ceil(math.sqrt(channels * height / width))
    rows = math.ceil(channels / columns)
    least, greatest = activations.min(axis=(0, 1)), activations.max(axis=(0, 1))
    span = np.where(greatest > least, greatest - least, 1)
    sheet = np.zeros((rows * (height + 1) + 1, columns * (width + 1) + 1))
    for channel in range(channels):
        top, left = 1 + channel // columns * (height + 1), 1 + channel % columns * (width + 1)
        tile = (activations[:, :, channel] - least[channel]) / span[channel]
        sheet[top : top + height, left : left + width] = tile
    coloured = (colormaps["viridis"](sheet)[:, :, :3] * 255).astype(np.uint8)
    coloured[:: height + 1], coloured[:, :: width + 1] = 255, 255
    unused = columns * rows - channels
    if unused:
        coloured[-height - 1 :, -unused * (width + 1) :] = 255
    image = Image.fromarray(coloured)
    factor = max(1, round(_SHEET_PIXELS / image.width))
    # Whole multiples without smoothing: a place of the layer stays a square.
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
