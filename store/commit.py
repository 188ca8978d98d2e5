"""The commit protocol: how bytes get into a store so that a crash leaves all of them or none.

Write beside, fsync, then link or rename into place, then fsync the folder. Nothing that a reader
looks at is ever opened for writing. A failed fsync is never tried again on the same descriptor:
the kernel may have dropped the dirty pages and a second call would report success.
"""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = [
    "DAMAGED_PREFIX",
    "GONE_PREFIX",
    "PUBLISHED",
    "TEMP_PREFIX",
    "Data",
    "is_leftover",
    "link_new_file",
    "list_folder",
    "make_folder",
    "publish_file",
    "publish_folder",
    "publish_new_file",
    "replace_disposable",
    "shared_mode",
    "sync_folder",
]

TEMP_PREFIX = ".tmp-"
DAMAGED_PREFIX = ".damaged-"
# What `gc` has taken away and not deleted yet: it may still have to go back.
GONE_PREFIX = ".gone-"
# What a pool, a set, a name or a run is called on disk.
PUBLISHED = re.compile(r"[0-9a-f]+")
_ROOT_MARK = "FORMAT"

# A file's bytes, or the pieces that they are, one after another.
Data = bytes | Sequence[bytes | memoryview]

# Folders whose names this process has seen made durable.
_durable: set[Path] = set()


def shared_mode(folder: Path) -> int | None:
    """Return the mode that files in a folder shall have, None where the umask decides.

    A folder that its group may write to is shared: what is made in it, by whatever umask, its group may write to.
    """
    mode = folder.stat().st_mode
    return stat.S_IMODE(mode) & 0o666 if mode & stat.S_IWGRP else None


def _share_folder(folder: Path) -> None:
    """Give a new folder the rights of the one that it lies in, if that is shared."""
    mode = stat.S_IMODE(folder.parent.stat().st_mode)
    if mode & stat.S_IWGRP and not mode & stat.S_ISVTX:
        # Somebody else may have made it at this very moment.
        with suppress(PermissionError):
            folder.chmod(mode)


def is_leftover(name: str) -> bool:
    """Return whether a file's or folder's name says that it is not, or no more, part of the store."""
    return name.startswith((TEMP_PREFIX, DAMAGED_PREFIX, GONE_PREFIX))


def list_folder(path: Path) -> list[str]:
    """Return the sorted names in a folder, none if there is no folder.

    Raises:
        OSError: the folder cannot be read. (`Path.glob` would say that it is empty.)
    """
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, each made durable in the folder above it."""
    path = path.absolute()
    if path in _durable and path.is_dir():
        return
    missing, folder = [], path
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _share_folder(new)
        sync_folder(new.parent)
        _durable.add(new)
    _settle(folder)


def _settle(folder: Path) -> None:
    # A folder that another process made may not have been synced yet, and what is published in it
    # would go with it. So its name is synced here too, up to the store's own, once per process.
    is_inside = any((above / _ROOT_MARK).is_file() for above in (folder, *folder.parents))
    while folder not in _durable and folder != folder.parent:
        try:
            sync_folder(folder.parent)
        except PermissionError:
            return  # a folder above the store that we may only pass through
        _durable.add(folder)
        if not is_inside or (folder / _ROOT_MARK).is_file():
            return
        folder = folder.parent


def publish_file(path: Path, data: Data) -> bool:
    """Publish a file whose name is derived from its content.

    An existing file with the same bytes is left alone. One with other bytes under a name that
    only these bytes can have is damaged, and is replaced.

    Returns:
        True if the file was written, False if it was there already.
    """
    if publish_new_file(path, data):
        return True
    if _holds(path, data):
        return False
    replace_file(path, data)
    return True


def _holds(path: Path, data: Data) -> bool:
    try:
        return path.stat().st_size == _size(data) and path.read_bytes() == b"".join(_pieces(data))
    except FileNotFoundError:  # a symbolic link to nowhere
        return False


def publish_new_file(path: Path, data: Data) -> bool:
    """Publish a file only if nothing of that name exists.

    Returns:
        True if the file was written, False if the name was taken (whatever it holds). Either way
        the name survives a crash from now on.
    """
    is_written = link_new_file(path, data)
    # The name is durable only when the folder is: a crash must leave the whole file or no name.
    # Also when another writer was first: it may not have come to this line yet, and what our
    # caller publishes next relies on the file.
    sync_folder(path.parent)
    return is_written


def link_new_file(path: Path, data: Data) -> bool:
    """Put a synced file in its place only if nothing of that name exists; the name is not durable yet.

    For many files of one folder, which is then synced once.

    Returns:
        True if the file was written, False if the name was taken (whatever it holds).
    """
    make_folder(path.parent)
    return not os.path.lexists(path) and _link_new(path, data)


def _link_new(path: Path, data: Data) -> bool:
    temp = _write_temp(path, data)
    try:
        # link() refuses an existing name, rename() would overwrite it: of two writers one wins.
        os.link(temp, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            message = "this file system has no hard links, which a store needs; put the store on another"
            raise OSError(error.errno, message, str(path)) from error
        raise
    finally:
        temp.unlink(missing_ok=True)
    return True


def publish_folder(path: Path, files: Mapping[str, bytes], is_sound: Callable[[Path], bool] | None = None) -> bool:
    """Publish a folder of files at one instant, only if nothing sound of that name exists.

    The folder is filled beside its place and renamed, so that no reader ever sees half of it. A
    damaged one in its place is moved aside, to `.damaged-<name>-<random>`, and kept.

    Args:
        path: the folder's final place.
        files: its files, in the order in which they are written (the manifest last).
        is_sound: whether a folder holds what was published under this name; without it,
            whatever exists is left alone.

    Returns:
        True if the folder was published, False if the name was taken. Either way the name
        survives a crash from now on.
    """
    make_folder(path.parent)

    def is_taken() -> bool:
        return os.path.lexists(path) and (is_sound is None or is_sound(path))

    if is_taken():
        sync_folder(path.parent)
        return False
    _require_space(path.parent, sum(map(len, files.values())))
    temp = _temp_beside(path)
    temp.mkdir()
    _share_folder(temp)
    try:
        for name, data in files.items():
            _write_synced(temp / name, data)
        sync_folder(temp)
        is_published = False
        while not (is_published or is_taken()):
            if is_sound is not None and os.path.lexists(path):
                _move_aside(path, is_sound)
            is_published = _rename_new(temp, path)
    finally:
        # An error here would hide the one that brought us here; what stays is a `.tmp-` folder.
        shutil.rmtree(temp, ignore_errors=True)
    sync_folder(path.parent)
    return is_published


def _rename_new(temp: Path, path: Path) -> bool:
    try:
        os.rename(temp, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _move_aside(path: Path, is_sound: Callable[[Path], bool]) -> None:
    aside = path.parent / f"{DAMAGED_PREFIX}{path.name}-{secrets.token_hex(6)}"
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return  # another writer moved it
    # Another writer may have put a sound one there after we looked. Then it goes back; if a third
    # one stands there already, ours stays aside: both are the same set.
    if is_sound(aside):
        _rename_new(aside, path)


def replace_disposable(path: Path, data: bytes) -> None:
    """Write a file that anyone may throw away, making its folders: readers see the old or the new one.

    Nothing is synced: whoever reads it checks a digest, and takes a torn or lost one for none.
    """
    _make_unsynced(path.parent)
    temp = _temp_beside(path)
    try:
        _write_new(temp, data, is_synced=False)
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: Data) -> None:
    """Write a file durably in the place of another: readers see the old or the new one.

    Raises:
        OSError: there is no room, or no permission.
    """
    temp = _write_temp(path, data)
    try:
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _make_unsynced(folder: Path) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _share_folder(new)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temp_beside(path: Path) -> Path:
    return path.parent / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"


def _write_temp(path: Path, data: Data) -> Path:
    _require_space(path.parent, _size(data))
    temp = _temp_beside(path)
    try:
        _write_synced(temp, data)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    return temp


def _write_synced(path: Path, data: Data) -> None:
    _write_new(path, data, is_synced=True)


def _write_new(path: Path, data: Data, is_synced: bool) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        mode = shared_mode(path.parent)
        if mode is not None:
            os.fchmod(descriptor, mode)
        for piece in _pieces(data):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        if is_synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pieces(data: Data) -> Sequence[bytes | memoryview]:
    return (data,) if isinstance(data, bytes) else data


def _size(data: Data) -> int:
    return sum(map(len, _pieces(data)))


def _require_space(folder: Path, size: int) -> None:
    # Twice the size: the rest of the machine lives on this disk too, and a disk that fills up in
    # the middle of a night is cheaper to refuse than to clean up after.
    free = shutil.disk_usage(folder).free
    if free < 2 * size:
        raise OSError(errno.ENOSPC, f"{2 * size} free bytes needed, {free} found", str(folder))
