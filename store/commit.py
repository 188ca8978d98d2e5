"""The commit protocol: how bytes get into a store so that a crash leaves all of them or none.

Write beside, fsync, then link or rename into place, then fsync the folder. Nothing that a reader
looks at is ever opened for writing. A failed fsync is never tried again on the same descriptor:
the kernel may have dropped the dirty pages and a second call would report success.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

__all__ = ["TEMP_PREFIX", "make_folder", "publish_file", "publish_folder", "publish_new_file"]

TEMP_PREFIX = ".tmp-"


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, each made durable in the folder above it."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def publish_file(path: Path, data: bytes) -> bool:
    """Publish a file whose name is derived from its content.

    An existing file with the same bytes is left alone. One with other bytes under a name that
    only these bytes can have is damaged, and is replaced.

    Returns:
        True if the file was written, False if it was there already.
    """
    if publish_new_file(path, data):
        return True
    if path.read_bytes() == data:
        return False
    temp = _write_temp(path, data)
    os.replace(temp, path)
    _sync_folder(path.parent)
    return True


def publish_new_file(path: Path, data: bytes) -> bool:
    """Publish a file only if nothing of that name exists.

    Returns:
        True if the file was written, False if the name was taken (whatever it holds).
    """
    make_folder(path.parent)
    if path.exists():
        return False
    temp = _write_temp(path, data)
    try:
        # link() refuses an existing name, rename() would overwrite it: of two writers one wins.
        os.link(temp, path)
    except FileExistsError:
        return False
    finally:
        temp.unlink()
    # The name is durable only when the folder is: a crash must leave the whole file or no name.
    _sync_folder(path.parent)
    return True


def publish_folder(path: Path, files: Mapping[str, bytes]) -> bool:
    """Publish a folder of files at one instant, only if nothing of that name exists.

    The folder is filled beside its place and renamed, so that no reader ever sees half of it.

    Args:
        path: the folder's final place.
        files: its files, in the order in which they are written (the manifest last).

    Returns:
        True if the folder was published, False if the name was taken.
    """
    make_folder(path.parent)
    if path.exists():
        return False
    _require_space(path.parent, sum(map(len, files.values())))
    temp = _temp_beside(path)
    temp.mkdir()
    try:
        for name, data in files.items():
            _write_synced(temp / name, data)
        _sync_folder(temp)
        try:
            os.rename(temp, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    finally:
        if temp.exists():
            shutil.rmtree(temp)
    _sync_folder(path.parent)
    return True


def _temp_beside(path: Path) -> Path:
    return path.parent / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"


def _write_temp(path: Path, data: bytes) -> Path:
    _require_space(path.parent, len(data))
    temp = _temp_beside(path)
    try:
        _write_synced(temp, data)
    except OSError:
        temp.unlink(missing_ok=True)
        raise
    return temp


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_space(folder: Path, size: int) -> None:
    # Twice the size: the rest of the machine lives on this disk too, and HDF5-free as we are, a
    # disk that fills up in the middle of a night is cheaper to refuse than to clean up after.
    free = shutil.disk_usage(folder).free
    if free < 2 * size:
        raise OSError(errno.ENOSPC, f"{2 * size} free bytes needed, {free} found", str(folder))
