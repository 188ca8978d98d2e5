"""The views of a training part: rows of crops and flips of its images, found by the images' content."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from probe.errors import ViewMissing
from probe.parts import Part
from store import FeatureSet

__all__ = ["ViewSets", "require_view_sets", "view_part"]

# View 1, view 2, …: base split → its set.
ViewSets = Sequence[Mapping[str, FeatureSet]]


def require_view_sets(views: int, splits: Sequence[str], view_sets: ViewSets) -> None:
    """Check that every view of every base split is there.

    Args:
        views: how many are asked for.
        splits: the base splits that train draws on.
        view_sets: those that there are.

    Raises:
        ViewMissing: one lacks.
    """
    for number in range(1, views + 1):
        for split in splits:
            if number > len(view_sets) or split not in view_sets[number - 1]:
                raise ViewMissing(
                    f"view {number} of {split!r} expected, and no set of it found; extract it with views = {views}."
                )


def view_part(train: Part, number: int, sets: Mapping[str, FeatureSet]) -> Part:
    """Return the part that has the same images, labels and order as train, and the rows of a view.

    Args:
        train: the training part.
        number: of the view, for messages.
        sets: base split → the view's set.

    Raises:
        ViewMissing: the view's set lacks an image of train.
    """
    pieces = []
    start = 0
    for features, rows in train.pieces:
        found = sets[features.split]
        row_of = {content.tobytes().hex(): row for row, content in enumerate(np.asarray(found.content_sha256))}
        contents = train.contents[start : start + len(rows)]
        missing = [at for at, content in enumerate(contents) if content not in row_of]
        if missing:
            raise ViewMissing(
                f"view {number} of {features.split!r} lacks {len(missing)} of the {len(rows)} training images, such "
                f"as {train.example_ids[start + missing[0]]!r}; they were added since: run 'linprobe extract' with its "
                "views again."
            )
        pieces.append((found, np.array([row_of[content] for content in contents], np.int64)))
        start += len(rows)
    return replace(train, name=f"view {number} of {train.name}", pieces=tuple(pieces))
