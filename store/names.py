"""What people call a dataset: by its name, its SOURCE as typed, or any end that means no other.

A dataset without a name of its own is called after its source, such as `folder:/home/ada/flowers`. Nobody should have
to type that, and no page should show it: `flowers` does, as long as no other dataset ends so.
"""

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Set
from pathlib import Path

__all__ = ["find_dataset", "full_name", "is_url", "shortest_ends"]

# `scheme:rest`; the rest may be a path. A letter alone is a drive.
_SOURCE = re.compile(r"([a-z][a-z0-9+.-]+):(.+)", re.DOTALL)
_SEPARATOR = re.compile(r"[/:]")


def is_url(text: str) -> bool:
    """Tell whether a path is a URL, such as `s3://bucket/flowers`."""
    return "://" in text


def full_name(source: str) -> str:
    """Return a source `SCHEME:PATH` with its path absolute and normalised; symbolic links are not followed.

    Where a `..` leaves a symbolic link, the text alone would lead elsewhere than the path does: it stays.
    """
    found = _SOURCE.fullmatch(source)
    if found is None or is_url(source):
        return source
    absolute = Path(found[2]).expanduser().absolute()
    normalised = os.path.normpath(absolute)
    return f"{found[1]}:{normalised if _is_same(absolute, normalised) else absolute}"


def _is_same(path: Path, normalised: str) -> bool:
    if ".." not in path.parts:
        return True
    try:
        return os.path.samefile(path, normalised)
    except OSError:
        # What is not there leads nowhere.
        return not path.exists()


def find_dataset(asked: str, names: Set[str]) -> list[str]:
    """Return the datasets that a text may mean; of one that is meant exactly, only that.

    Args:
        asked: a dataset's name; its SOURCE as typed, whose path counts from the working directory; or an end of either,
            from a `/` or a `:` on.
        names: the full names there are.

    Returns:
        Full names, sorted: none, one, or those that `asked` does not tell apart.
    """
    if asked in names:
        return [asked]
    if not asked.strip():
        return []
    whole = full_name(asked)
    if whole in names:
        return [whole]
    # Names of older stores were not normalised.
    same = sorted(name for name in names if full_name(name) == whole)
    if same:
        return same
    end = os.path.normpath(asked) if "/" in asked else asked
    found = sorted(name for name in names if _ends_so(name, end))
    # Of two spellings of one path, an older version's and ours, ours is the one that goes on.
    return [name for name in found if full_name(name) == name or full_name(name) not in found]


def _ends_so(name: str, end: str) -> bool:
    return name.endswith(end) and name[: len(name) - len(end)][-1:] in ("/", ":")


def shortest_ends(names: Collection[str]) -> dict[str, str]:
    """Return full name → the shortest end of it that no other of these names has, for people to read.

    Only paths are shortened; `tfds:mnist` and a name that somebody gave stay whole.
    """
    distinct = set(names)
    # Counted once, so that thousands of names take no longer than their length.
    counts = Counter(end for name in distinct for end in _ends(name))
    return {name: _shortest(name, counts) for name in distinct}


def _ends(name: str) -> list[str]:
    """Return a name and its ends, each from behind a separator on, from long to short."""
    return [name, *(name[at.end() :] for at in _SEPARATOR.finditer(name) if at.end() < len(name))]


def _shortest(name: str, counts: Mapping[str, int]) -> str:
    found = _SOURCE.fullmatch(name)
    if found is None or not found[2].startswith("/") or "://" in name:
        return name
    return next((end for end in reversed(_ends(name)) if counts[end] == 1), name)
