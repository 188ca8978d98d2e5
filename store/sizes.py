"""How large a base split is, and how large it was when somebody last agreed to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Size"]


@dataclass(frozen=True)
class Size:
    """How many images a base split has, and of which classes.

    Attributes:
        images: candidates, undecodable ones too.
        classes: those that have an image, sorted.
    """

    images: int
    classes: tuple[str, ...]

    @classmethod
    def of(cls, images: int, classes: Iterable[str]) -> "Size":
        """Return the size of so many images of these classes, each named once or more."""
        return cls(images, tuple(sorted(set(classes))))

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> "Size":
        """Return what `document` gave."""
        return cls(int(document["images"]), tuple(document["classes"]))

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"images": self.images, "classes": list(self.classes)}

    def grown(self, other: "Size") -> "Size":
        """Return the larger number of images, and the classes of either."""
        return Size.of(max(self.images, other.images), (*self.classes, *other.classes))

    def lost_since(self, before: "Size") -> tuple[str, ...]:
        """Return the classes that were there before and are not any more."""
        return tuple(name for name in before.classes if name not in self.classes)

    def is_smaller_than(self, before: "Size") -> bool:
        """Return whether images or a class are gone."""
        return self.images < before.images or bool(self.lost_since(before))
