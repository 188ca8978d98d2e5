"""Images that a notebook holds, as a dataset: arrays of pixels, or a DataFrame that lists files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from extract import BadData
from extract.sources.lookalikes import class_order, unified
from extract.sources.memory import MemorySource

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Images", "images"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images with their labels, not yet called anything; `Workspace.extract(…, name=…)` gives the name.

    Attributes:
        data: N arrays (H, W[, 1 or 3]) uint8, or N paths.
        labels: N numbers of classes.
        class_names: in label order.
        example_ids: N ids.
        groups: N groups, or none at all.
        splits: N base splits, or none at all.
    """

    data: Sequence[Any]
    labels: Sequence[int]
    class_names: tuple[str, ...]
    example_ids: tuple[str, ...]
    groups: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{len(self)} images of {len(self.class_names)} classes>"

    def source(self, name: str) -> MemorySource:
        """Return them as the source of a dataset of this name.

        Raises:
            BadData: an image is none, or an id is duplicated.
        """
        return MemorySource(
            name,
            self.data,
            self.labels,
            class_names=self.class_names,
            example_ids=self.example_ids,
            groups=self.groups,
            splits=self.splits,
        )


def images(
    data: "np.ndarray | Sequence[Any] | pd.DataFrame",
    labels: Sequence[int] | Sequence[str] | None = None,
    *,
    path: str = "path",
    label: str = "label",
    split: str | Sequence[str] | None = None,
    group: str | Sequence[str] | None = None,
    example_id: str | Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Images:
    """Return images and labels as a dataset for `Workspace.extract`.

    Args:
        data: (N, H, W, 3), (N, H, W, 1) or (N, H, W) uint8; or N such images of any sizes; or N paths; or a DataFrame
            with a row per image.
        labels: N classes by number (0 and on) or by name; not with a DataFrame, whose column `label` has them.
        path, label: columns of a DataFrame.
        split, group, example_id: columns of a DataFrame; else N values each. Without, all images are the base split
            `all`, none belong together, and ids are positions, of files their paths.
        class_names: in label order; without, the distinct labels, sorted, whole numbers as such.

    Raises:
        BadData: arrays of a wrong shape, or a DataFrame without the columns.
    """
    if hasattr(data, "columns"):
        if labels is not None:
            raise BadData(
                "images: the labels of a DataFrame are its column; name it with label=…, and leave labels out."
            )
        columns = _columns(data, path=path, label=label, split=split, group=group, example_id=example_id)
        data, labels, split, group, example_id = (columns[name] for name in ("path", "label", "split", "group", "id"))
    if labels is None:
        raise BadData("images: labels expected, one for each image; give images(data, labels).")
    items = _items(data)
    numbers, names = _numbered(list(labels), class_names)
    if len(numbers) != len(items):
        raise BadData(f"images: one label for each of {len(items)} images expected, {len(numbers)} found.")
    if example_id is None:
        example_id = [str(item) if _is_path(item) else f"{at:07d}" for at, item in enumerate(items)]
    return Images(
        data=items,
        labels=numbers,
        class_names=names,
        example_ids=tuple(map(str, example_id)),
        groups=tuple(map(str, group)) if group is not None else (),
        splits=tuple(map(str, split)) if split is not None else (),
    )


def _is_path(item: Any) -> bool:
    return not hasattr(item, "shape")


def _items(data: Any) -> Sequence[Any]:
    if isinstance(data, np.ndarray) and (data.dtype != np.uint8 or data.ndim not in (3, 4)) and data.dtype != object:
        raise BadData(
            f"images: (N, H, W), (N, H, W, 1) or (N, H, W, 3) uint8 expected, {data.dtype} {data.shape} found."
        )
    if isinstance(data, np.ndarray) and data.ndim == 4 and data.shape[3] not in (1, 3):
        raise BadData(f"images: (N, H, W, 1) or (N, H, W, 3) uint8 expected, channels last, {data.shape} found.")
    if isinstance(data, str):
        raise BadData(f"images: a sequence of paths expected, one text found; a folder is named by 'folder:{data}'.")
    items = list(data)
    if not items:
        raise BadData("images: at least one image expected, none given.")
    return items


def _numbered(labels: list[Any], class_names: Sequence[str] | None) -> tuple[list[int], tuple[str, ...]]:
    """Return labels as numbers, and the names of the classes in that order."""
    values = np.asarray(labels)
    if values.ndim != 1:
        raise BadData(f"images: labels (N,) expected, {values.shape} found.")
    if values.dtype.kind in "iu":
        if values.size and values.min() < 0:
            raise BadData(f"images: labels from 0 on expected, {values.min()} found.")
        highest = int(values.max()) if values.size else -1
        names = tuple(class_names) if class_names is not None else tuple(map(str, range(highest + 1)))
        return values.tolist(), names
    if not all(isinstance(value, str) for value in labels):
        wrong = next(value for value in labels if not isinstance(value, str))
        raise BadData(f"images: labels as whole numbers or texts expected, {wrong!r} found.")
    if class_names is None:
        spelt = unified(Counter(labels), "images: labels", merge=False)
        labels = [spelt[value] for value in labels]
    distinct = set(labels)
    names = tuple(class_names) if class_names is not None else tuple(sorted(distinct, key=class_order(distinct)))
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise BadData(f"images: labels among {', '.join(names)} expected, {unknown[0]!r} found.")
    number = {name: at for at, name in enumerate(names)}
    return [number[value] for value in labels], names


def _columns(frame: Any, **named: Any) -> dict[str, Any]:
    """Return what stands in a DataFrame's columns; what is no text is values already."""
    found: dict[str, Any] = {}
    known = list(map(str, frame.columns))
    for role, name in named.items():
        key = "id" if role == "example_id" else role
        if not isinstance(name, str):
            found[key] = name
            continue
        if name not in known:
            raise BadData(
                f"images: a column {name!r} expected ({role}=…), the DataFrame has {', '.join(known) or 'no columns'}."
            )
        empty = int(frame[name].isna().sum())
        if empty:
            raise BadData(f"images: a value in every row of {name!r} expected, {empty} of {len(frame)} are empty.")
        found[key] = frame[name].tolist()
    return found
