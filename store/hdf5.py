"""HDF5 as this store allows it: built in memory, verified before it is parsed, and plain.

The HDF5 library itself never writes to disk, and is never handed a file whose bytes were not
checked first. What a file may hold is exact: named datasets, hard-linked, without filters,
external storage or object types.
"""

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py

from store.errors import DamagedStore

__all__ = ["build_file", "check_datasets", "file_sha256", "open_checked", "verify_file"]

# "latest" would write virtual datasets that h5dump of older HDF5 releases cannot read.
_LIBVER = ("earliest", "v110")

# (path, size, mtime, inode) → digest of files that this process has verified.
_verified: dict[tuple[str, int, int, int], str] = {}


def build_file(fill: Callable[[h5py.File], None]) -> bytes:
    """Return the bytes of an HDF5 file that `fill` fills; the same content gives the same bytes."""
    with h5py.File.in_memory(libver=_LIBVER) as file:
        fill(file)
        file.flush()
        return bytes(file.id.get_file_image())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return hashlib.sha256().hexdigest()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return hashlib.sha256(mapped).hexdigest()


def verify_file(path: Path, expected: str) -> None:
    """Check a file's bytes against a digest, once per file and process.

    Raises:
        DamagedStore: the file is missing, or its bytes are others.
    """
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise DamagedStore(f"{path}: missing, sha256 {expected} expected; extract again to compute it anew.") from error
    seen = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    found = _verified.get(seen) or file_sha256(path)
    if found != expected:
        raise DamagedStore(
            f"{path}: sha256 {expected} expected, {found} found; delete the file and extract again to compute it anew."
        )
    _verified[seen] = found


def open_checked(path: Path, expected: str) -> h5py.File:
    """Verify a file, then open it for reading."""
    verify_file(path, expected)
    # Published files never change, and locks fail on some network file systems.
    return h5py.File(path, "r", locking=False)


def check_datasets(file: h5py.File, path: Path, schema: Mapping[str, tuple[str, int]], virtual: str = "") -> None:
    """Check that a file holds exactly the datasets of a schema.

    Args:
        file: the open file.
        path: for the error's text.
        schema: name → (kinds of dtype allowed, as in `numpy.dtype.kind`; number of dimensions).
        virtual: the name of the one dataset that may be virtual.

    Raises:
        DamagedStore: naming what was expected and what was found.
    """
    found = {name: file.id.links.get_info(name.encode()).type for name in file}
    if set(found) != set(schema) or any(kind != h5py.h5l.TYPE_HARD for kind in found.values()):
        raise DamagedStore(f"{path}: datasets {sorted(schema)} expected, {sorted(found)} found (hard links only).")
    for name, (kinds, ndim) in schema.items():
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in kinds or dataset.ndim != ndim:
            raise DamagedStore(f"{path}: {name} is not a dataset of kind {kinds} in {ndim} dimensions.")
        plist = dataset.id.get_create_plist()
        layout = h5py.h5d.VIRTUAL if name == virtual else h5py.h5d.CONTIGUOUS
        if plist.get_layout() != layout or plist.get_nfilters() or plist.get_external_count():
            raise DamagedStore(f"{path}: {name} has an unexpected storage layout, a filter or external storage.")
