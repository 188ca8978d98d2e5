"""Locks that save double work; nothing's correctness rests on them.

cache/locks/<digest of a name>.lock     held by `flock`, which ends with its process
            <digest of a name>.holder   a line about who holds it, for those who wait
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from store.commit import list_folder, make_folder
from store.documents import digest
from store.errors import StoreBusy

__all__ = ["hold_lock", "is_any_lock_held"]

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_logger = logging.getLogger(__name__)


@contextmanager
def hold_lock(
    folder: Path, name: str, wait: bool, *, holder: str = "", on_wait: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Hold a lock; where nothing may be written there is nothing to lock, and none is held.

    Args:
        folder: `STORE/cache/locks`.
        name: what is locked.
        wait: until it is free; else an error at once.
        holder: who asks, such as `process 12 on host-a`, for those who will wait.
        on_wait: told once, who holds it and where, before waiting begins.

    Raises:
        StoreBusy: it is held, and `wait` is false.
    """
    # Names come from datasets and never become paths themselves.
    lock = FileLock(folder / f"{digest(name)}.lock")
    note = folder / f"{digest(name)}.holder"
    is_held = _acquire(lock, note, name, wait=wait, on_wait=on_wait)
    try:
        if is_held:
            with suppress(OSError):
                note.write_text(holder, encoding="utf-8")
        yield
    finally:
        if is_held:
            with suppress(OSError):
                note.unlink(missing_ok=True)
            lock.release()


def _acquire(lock: FileLock, note: Path, name: str, *, wait: bool, on_wait: Callable[[str], None]) -> bool:
    try:
        make_folder(note.parent)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            who = _noted(note) or "another process"
            if not wait:
                raise StoreBusy(f"{name}: held by {who} ({lock.lock_file}); run it again when that is done.") from error
            on_wait(f"waiting for {who}, which holds {lock.lock_file}")
            lock.acquire()
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        _logger.info("%s: not locked, the store may only be read (%s)", name, error)
        return False
    return True


def _noted(note: Path) -> str:
    # Of a holder that was killed, or has this moment gone, another's note or none may be there.
    try:
        return note.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def is_any_lock_held(folder: Path) -> bool:
    """Return whether some process holds one of the locks in a folder."""
    for name in list_folder(folder):
        if name.endswith(".lock"):
            lock = FileLock(os.path.join(folder, name))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            lock.release()
    return False
