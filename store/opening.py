"""A store's own mark: which folder is one, how it is made, and how one that nothing came of is taken back."""

import os
import shutil
from pathlib import Path

from store.commit import TEMP_PREFIX, list_folder, make_folder, publish_new_file, sync_folder
from store.errors import StoreFormatError, StoreNotFound
from store.locks import is_any_lock_held

__all__ = ["FORMAT", "make_store", "mark_store", "remove_empty_store", "require_store"]

FORMAT = "linprobe-store 1"


def require_store(path: Path) -> None:
    """Check that a folder is a store of this format version.

    Raises:
        StoreNotFound: nothing is there.
        StoreFormatError: another format version, or no store.
    """
    if path.is_file():
        raise StoreFormatError(f"{path}: a store's folder expected, a file found; name a folder with --store.")
    try:
        # Before FORMAT is read: another process may be making the store, and FORMAT comes first.
        names = list_folder(path)
        found = (path / "FORMAT").read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        # A crash while it is made may leave its temp file: that is still no store, and may become one.
        if any(not name.startswith(TEMP_PREFIX) for name in names):
            raise StoreFormatError(
                f"{path}: not a store, it has no FORMAT file; name another folder with --store."
            ) from error
        raise StoreNotFound(f"{path}: no store here; 'linprobe extract --store {path}' makes one.") from error
    except (NotADirectoryError, IsADirectoryError, UnicodeDecodeError) as error:
        raise StoreFormatError(
            f"{path}: a folder with a file FORMAT expected, {error} found; name another folder with --store."
        ) from error
    if found != FORMAT:
        raise StoreFormatError(
            f"{path}/FORMAT: {FORMAT!r} expected, {found!r} found; "
            "use the linprobe that wrote this store, or name another folder with --store."
        )


def make_store(path: Path) -> None:
    """Make a store where there is none."""
    make_folder(path)
    mark_store(path)


def mark_store(path: Path) -> None:
    """Put a store's mark into its folder, if it lacks."""
    if not (path / "FORMAT").exists():
        publish_new_file(path / "FORMAT", f"{FORMAT}\n".encode())


def remove_empty_store(path: Path) -> bool:
    """Take back a store in which there is no row, set, name or run; one that is at work stays.

    Another process may begin to write at this very moment. So folders are removed only where they are
    empty, the mark is put back where that fails, and whoever adds rows looks for the mark afterwards.

    Returns:
        Whether it is gone.
    """
    pools = [path / "pools" / name for name in list_folder(path / "pools")]
    is_empty = set(list_folder(path)) <= {"FORMAT", "cache", "linprobe.lock", "pools"} and all(
        set(list_folder(pool)) <= {"canary.json"} for pool in pools
    )
    if not is_empty or is_any_lock_held(path / "cache" / "locks"):
        return False
    shutil.rmtree(path / "cache", ignore_errors=True)
    try:
        for pool in pools:
            (pool / "canary.json").unlink(missing_ok=True)
            os.rmdir(pool)
        if pools:
            os.rmdir(path / "pools")
        (path / "linprobe.lock").unlink(missing_ok=True)
        (path / "FORMAT").unlink(missing_ok=True)
        os.rmdir(path)
        sync_folder(path.parent)
    except OSError:
        if path.is_dir():
            mark_store(path)
        return False
    return True
