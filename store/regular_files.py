"""Files that others may have put where ours should be: a pipe must not hang a job, nor a link lead it elsewhere."""

import errno
import os
import stat
from pathlib import Path

__all__ = ["read_regular"]


def read_regular(path: Path, *, most: int | None = None, follows_links: bool = False) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: the file.
        most: bytes; a larger file is refused before it is read.
        follows_links: whether the file may be a symbolic link to one.

    Raises:
        OSError: it is unreadable, too large, a link, or no regular file, such as a pipe, which is never waited for.
    """
    # O_NONBLOCK: opening a pipe to which nobody writes would wait for ever. It changes nothing of a regular file.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follows_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "a regular file expected, another kind found", str(path))
        if most is not None and found.st_size > most:
            raise OSError(errno.EFBIG, f"at most {most:,} bytes expected, {found.st_size:,} found", str(path))
        return file.readall() or b""
