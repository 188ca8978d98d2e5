"""Histories: numbered files in the folder of one name; the highest number is current, and none is ever changed.

<folder>/<n>.json     sealed, see `store.documents`; of two writers of a number one wins
"""

import re
from collections.abc import Callable
from pathlib import Path

from store.commit import list_folder, publish_new_file, sync_folder

__all__ = ["append_entry", "entry_numbers"]

_ENTRY = re.compile(r"[1-9][0-9]*\.json")


def entry_numbers(folder: Path) -> list[int]:
    """Return the numbers of a name's entries, rising; of a folder that is not there, none."""
    return sorted(int(file[:-5]) for file in list_folder(folder) if _ENTRY.fullmatch(file))


def append_entry(folder: Path, data: Callable[[], bytes], *, says_so: Callable[[int], bool]) -> bool:
    """Add an entry unless the current one says the same.

    Args:
        folder: the name's.
        data: gives the entry's bytes; asked only where one is needed.
        says_so: whether the entry of a number says what the new one would.

    Returns:
        True if an entry was written, False if the current one says so already. Either way it survives a crash.
    """
    while True:
        numbers = entry_numbers(folder)
        if numbers and says_so(numbers[-1]):
            sync_folder(folder)  # another writer's entry may not be durable yet
            return False
        number = numbers[-1] + 1 if numbers else 1
        if publish_new_file(folder / f"{number}.json", data()):
            return True
