"""Images that lie in files of their own, and the names that people give to the parts of a dataset."""

import errno
import os
import stat
from pathlib import Path

from extract.sources.example import Example, Known, UnreadFile
from extract.sources.stat_index import StatIndex

__all__ = ["SPLIT_NAMES", "open_image"]

# The names of folders and the values of a table's column `split`, and the base splits that they mean.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
}


def open_image(path: str, example_id: str, label: int, *, index: StatIndex | None, group: str = "") -> Example:
    """Return a file as an example; one that is not there or may not be read becomes a candidate that is none."""
    try:
        status = os.stat(path)
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            return Example(
                example_id, label, UnreadFile(path, Known.unreadable(example_id, "not a regular file")), group
            )
        known = index.find(example_id, status) if index is not None else None
        if known is not None:
            return Example(example_id, label, UnreadFile(path, known), group)
        data = Path(path).read_bytes()
    except OSError as error:
        # Other errors are the disk's, and say nothing of the file.
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise
        reason = f"cannot be read: {os.strerror(error.errno)}"
        return Example(example_id, label, UnreadFile(path, Known.unreadable(example_id, reason)), group)
    if index is not None:
        index.learn(example_id, status, Known.of_file(data))
    return Example(example_id, label, data, group)
