"""Data that shrank: told by every job, and no new answer of a night that did not expect it.

A folder that is not mounted, a sync that stopped half-way, a class that somebody moved: the images that are left make a
sound dataset, and a believable number. So a base split is held against the size that was last accepted: the largest
since somebody agreed to a smaller one, lest a few per cent a night slip through.
"""

from dataclasses import dataclass

from extract.errors import DataShrank
from extract.sources.example import DatasetSource
from extract.survey import Budget, Survey
from store.sizes import Size

__all__ = ["SizeChange", "require_not_shrunk", "size_of", "way_out"]


@dataclass(frozen=True)
class SizeChange:
    """A base split's size against the accepted one.

    Attributes:
        before: what was accepted; None for a base split that is new.
        now: what was found.
    """

    before: Size | None
    now: Size

    @property
    def lost_classes(self) -> tuple[str, ...]:
        """The classes that have no image any more."""
        return self.now.lost_since(self.before) if self.before else ()

    @property
    def is_shrink(self) -> bool:
        """Whether images or a class are gone."""
        return self.before is not None and self.now.is_smaller_than(self.before)

    def text(self) -> str:
        """Return what changed, such as `18 images before, 6 now; 3 classes before, 2 now: 'dark' is gone`."""
        if self.before is None or self.before == self.now:
            return ""
        parts = []
        if self.before.images != self.now.images:
            parts.append(f"{self.before.images:,} images before, {self.now.images:,} now")
        if self.before.classes != self.now.classes:
            gone = ", ".join(repr(name) for name in self.lost_classes[:5])
            more = f" and {len(self.lost_classes) - 5} more" if len(self.lost_classes) > 5 else ""
            are = "are" if len(self.lost_classes) > 1 else "is"
            told = f": {gone}{more} {are} gone" if self.lost_classes else ""
            parts.append(f"{len(self.before.classes):,} classes before, {len(self.now.classes):,} now{told}")
        return "; ".join(parts)


def size_of(source: DatasetSource, survey: Survey) -> Size:
    """Return how large a base split is that was read to its end."""
    names = source.class_names
    return Size.of(len(survey.candidates), (names[label] for label in {one.label for one in survey.candidates}))


def require_not_shrunk(dataset: str, split: str, change: SizeChange, *, allowed: Budget) -> None:
    """Let only a base split pass that has shrunk by no more than is allowed.

    Raises:
        DataShrank: by more, or a class is gone; the sentence says how to accept it.
    """
    if change.before is None:
        return
    lost = change.before.images - change.now.images
    if change.lost_classes or not allowed.allows(max(0, lost), change.before.images):
        share = f"{lost / change.before.images:.0%} fewer, " if lost > 0 else ""
        raise DataShrank(
            f"{dataset} / {split}: {change.text()} ({share}{allowed.text()} allowed); the answers of before stay. "
            f"{way_out(dataset)}"
        )


def way_out(dataset: str) -> str:
    """Return what somebody can do whose data shrank."""
    return (
        "Is something not mounted, or half copied? If it is meant, accept it for one night: "
        f"'linprobe nightly CONFIG --accept-shrink {dataset}'."
    )
