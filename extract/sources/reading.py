"""What a job says of how its source is to be read, beyond where it is."""

import re
from dataclasses import dataclass

from extract.errors import InvalidSetting

__all__ = ["AS_IT_IS", "LAYOUTS", "LENIENT", "Reading"]

LAYOUTS = ("classes", "parts")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a source is read.

    Attributes:
        layout: of a folder that can be read in two ways: its folders are `classes`, or `parts` that hold the classes.
            None: what their names say, and an error where they say nothing.
        group: a regular expression; what it finds in an image's relative path is the group that never parts: its own
            groups if it has some, else all of it.
        merge: whether classes and splits that look alike are one.
        is_lenient: whether what looks wrong is read all the same: for images of a set that was published.
    """

    layout: str | None = None
    group: str | None = None
    merge: bool = False
    is_lenient: bool = False

    def __post_init__(self) -> None:
        if self.layout not in (None, *LAYOUTS):
            raise InvalidSetting(f"layout {self.layout!r}: {' or '.join(LAYOUTS)} expected.")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise InvalidSetting(f"group {self.group!r}: a regular expression expected ({error}).") from error

    def group_of(self, path: str) -> str:
        """Return the group of an image by its relative path; empty where there is none."""
        found = re.search(self.group, path) if self.group else None
        if found is None:
            return ""
        return "/".join(part or "" for part in found.groups()) if found.re.groups else found.group()


AS_IT_IS = Reading()
LENIENT = Reading(merge=True, is_lenient=True)
