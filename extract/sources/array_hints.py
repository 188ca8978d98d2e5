"""Why arrays cannot be taken for images or labels, and what makes them into such: a sentence for each common cause."""

from collections.abc import Sequence

import numpy as np

__all__ = ["images_hint", "labels_hint", "names_hint"]

# Array names of others → ours: as keras.datasets returns them, and as many scripts save them.
_OTHERS = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
_OTHERS |= {"X": "images", "x": "images", "data": "images", "y": "labels", "target": "labels"}


def names_hint(names: Sequence[str]) -> str:
    """Return how arrays have to be renamed, where their names are usual ones of others; else nothing."""
    found = {name: ours for name, ours in _OTHERS.items() if name in names}
    listed = ", ".join(f"{ours}=data[{name!r}]" for name, ours in found.items())
    return f" Under their usual names elsewhere; np.savez(path, {listed}) gives them ours." if listed else ""


def images_hint(dtype: np.dtype, shape: tuple[int, ...], name: str = "image") -> str:
    """Return the cause for one image or N of them; nothing where none is known.

    Args:
        dtype, shape: of the array.
        name: what it is called in the code that is proposed.
    """
    several = "s" if name.endswith("s") else ""
    sides = shape[1:] if several else shape
    if dtype.kind == "f":
        return " Numbers without a stated range are not guessed: scale them to 0 to 255 and round."
    if dtype.kind == "b":
        return f" They are true or false: ({name} * 255).astype(np.uint8) makes black and white of them."
    if len(sides) == 3 and sides[0] in (1, 3) and sides[2] not in (1, 3):
        return f" Channels come last: np.moveaxis({name}, -3, -1)."
    if len(sides) == 3 and sides[2] == 4:
        return " Composite the alpha channel first: what lies under transparent pixels is not seen."
    if len(sides) == 3 and sides[2] not in (1, 3):
        return f" {sides[2]} channels are no picture: of a volume or a stack, choose 1 or 3 of them."
    if dtype.kind in "iu" and dtype != np.uint8:
        return " Whole numbers of another width have no stated range: scale them to 0 to 255, then .astype(np.uint8)."
    return ""


def labels_hint(labels: np.ndarray) -> str:
    """Return the cause why labels are not (N,) whole numbers; nothing where none is known."""
    if labels.dtype.kind == "b":
        return " They are true or false: labels.astype(np.uint8)."
    if labels.dtype.kind in "US":
        return " They are names: class_names, labels = np.unique(labels, return_inverse=True), and save both."
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "iuf":
        if set(np.unique(labels).tolist()) <= {0, 1} and (labels.sum(axis=1) == 1).all():
            return " They are one-hot: labels.argmax(axis=1)."
        return f" They are {labels.shape[1]} labels an image: a probe tells classes apart, one an image; take a column."
    if labels.dtype.kind == "f" and (labels == np.round(labels)).all():
        return " They are whole in fact: labels.astype(np.int64)."
    return " They are measures, not classes." if labels.dtype.kind == "f" else ""
