"""Locks that save double work; nothing's correctness rests on them.

cache/locks/<digest of a name>.lock     held by `flock`, which ends with its process
            <digest of a name>.holder   a line about who holds it, for those who wait
"""

import datetime
import errno
import fcntl
import functools
import logging
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from store.commit import list_folder, make_folder, replace_disposable, shared_mode
from store.documents import digest
from store.errors import StoreBusy
from store.regular_files import read_regular

__all__ = ["hold_lock", "is_any_lock_held"]

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
# What file systems answer that have no locks: some mounts of NFS, Lustre, FUSE.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
_NOTE_BYTES = 4096
_logger = logging.getLogger(__name__)


@contextmanager
def hold_lock(
    folder: Path, name: str, wait: bool, *, holder: str = "", on_wait: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Hold a lock; where nothing may be written, or the file system has no locks, none is held.

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
    path, note = folder / f"{digest(name)}.lock", folder / f"{digest(name)}.holder"
    lock = _acquire(path, note, name, wait=wait, on_wait=on_wait)
    try:
        if lock:
            with suppress(OSError):
                # Renamed into place: what lies there may be a link that somebody has put.
                replace_disposable(note, holder.encode())
        yield
    finally:
        if lock:
            with suppress(OSError):
                note.unlink(missing_ok=True)
            lock.release()


def _acquire(path: Path, note: Path, name: str, *, wait: bool, on_wait: Callable[[str], None]) -> BaseFileLock | None:
    try:
        make_folder(path.parent)
        lock = _lock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            who = _noted(note) or "another process"
            if not wait:
                raise StoreBusy(f"{name}: held by {who} ({path}); run it again when that is done.") from error
            on_wait(f"waiting for {who}, which holds {path}")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        code = error.errno if isinstance(error, OSError) else errno.ENOSYS
        if code in _NO_LOCKS:
            _warn_of_no_locks(str(path.parent))
        elif code in _READ_ONLY:
            _logger.info("%s: not locked, the store may only be read (%s)", name, error)
        else:
            raise
        return None
    return lock


def _lock(path: Path) -> BaseFileLock:
    # The lock file outlives its holder: what its folder gives to a group, it gives too, whatever the umask.
    mode = shared_mode(path.parent) or 0o644
    if os.path.lexists(path) and not os.access(path, os.W_OK):
        return _ForeignLock(str(path), mode=mode)
    return FileLock(path, mode=mode)


class _ForeignLock(BaseFileLock):
    """A lock on somebody else's file, which may be read and not written: `flock` asks for no more."""

    def _acquire(self) -> None:
        descriptor = os.open(self.lock_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                raise
            return
        self._context.lock_file_fd = descriptor

    def _release(self) -> None:
        descriptor, self._context.lock_file_fd = self._context.lock_file_fd, None
        if descriptor is not None:
            os.close(descriptor)


@functools.cache
def _warn_of_no_locks(folder: str) -> None:
    """Warn once."""
    _logger.warning(
        "%s: this file system has no locks. Nothing becomes wrong, but two jobs at once may compute the same twice; "
        "let the scheduler start one at a time.",
        folder,
    )


def _noted(note: Path) -> str:
    """Return who holds a lock and since when; of a holder that was killed, another's note or none may be there."""
    try:
        text = read_regular(note, most=_NOTE_BYTES).decode("utf-8").strip()
        found = note.lstat()
    except (OSError, UnicodeDecodeError):
        return ""
    since = datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        user = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        user = f"user {found.st_uid}"
    return f"{text or 'another process'} ({user}), since {since}"


def is_any_lock_held(folder: Path) -> bool:
    """Return whether some process holds one of the locks in a folder."""
    for name in list_folder(folder):
        if name.endswith(".lock"):
            lock = _lock(folder / name)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            except (OSError, NotImplementedError):
                continue  # nobody can tell here
            lock.release()
    return False
