"""HDF5 as this store allows it: built in memory, verified before it is parsed, and plain.

The HDF5 library itself never writes to disk, and is never handed a file whose bytes were not
checked first. What a file may hold is exact: named datasets, hard-linked, without filters,
external storage or object types.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py

from store.errors import REPAIR, DamagedStore

__all__ = ["build_file", "check_datasets", "file_sha256", "open_checked", "read_checked", "verify_file"]

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
    # Read, not mapped: a bad disk block is an OSError here, and SIGBUS in a mapping.
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(path: Path, expected: str) -> None:
    """Check a file's bytes against a digest, once per file and process.

    Raises:
        DamagedStore: the file is missing, or its bytes are others.
    """
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedStore(f"{path}: sha256 {expected} expected, no file found; {REPAIR}.") from error
    seen = (str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    found = _verified.get(seen) or file_sha256(path)
    _require_digest(path, expected, found)
    _verified[seen] = found


def read_checked(path: Path, expected: str) -> bytes:
    """Read a file whole; what is returned is what was checked.

    Raises:
        DamagedStore: the file is missing, or its bytes are others.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedStore(f"{path}: sha256 {expected} expected, no file found; {REPAIR}.") from error
    _require_digest(path, expected, hashlib.sha256(data).hexdigest())
    return data


def _require_digest(path: Path, expected: str, found: str) -> None:
    if found != expected:
        raise DamagedStore(f"{path}: sha256 {expected} expected, {found} found; {REPAIR}.")


def open_checked(path: Path, expected: str) -> h5py.File:
    """Verify a file, then open it for reading."""
    verify_file(path, expected)
    try:
        # Published files never change, and locks fail on some network file systems.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DamagedStore(f"{path}: an HDF5 file expected, found none ({error}).") from error


def check_datasets(file: h5py.File, path: Path, schema: Mapping[str, tuple[str, int]], virtual: str = "") -> None:
    """Check that a file holds exactly the datasets of a schema.

    Args:
        file: the open file.
        path: for the error's text.
        schema: name → (dtypes allowed, as a regular expression over `numpy.dtype.str`; number of dimensions).
        virtual: the name of the one dataset that may be virtual.

    Raises:
        DamagedStore: naming what was expected and what was found.
    """
    found = {name: file.id.links.get_info(name.encode()).type for name in file}
    if set(found) != set(schema) or any(kind != h5py.h5l.TYPE_HARD for kind in found.values()):
        raise DamagedStore(f"{path}: datasets {sorted(schema)} expected, {sorted(found)} found (hard links only).")
    for name, (dtypes, ndim) in schema.items():
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise DamagedStore(f"{path}: {name}: a dataset expected, {type(dataset).__name__} found.")
        if not re.fullmatch(dtypes, dataset.dtype.str) or dataset.ndim != ndim:
            raise DamagedStore(
                f"{path}: {name}: {dtypes} in {ndim} dimensions expected, {dataset.dtype.str} {dataset.shape} found."
            )
        plist = dataset.id.get_create_plist()
        layout = h5py.h5d.VIRTUAL if name == virtual else h5py.h5d.CONTIGUOUS
        if plist.get_layout() != layout or plist.get_nfilters() or plist.get_external_count():
            raise DamagedStore(f"{path}: {name} has an unexpected storage layout, a filter or external storage.")
        # A file of 6 kB can declare terabytes: what is declared must be there.
        if name != virtual and dataset.id.get_storage_size() != dataset.nbytes:
            raise DamagedStore(
                f"{path}: {name}: {dataset.nbytes} bytes expected, {dataset.id.get_storage_size()} stored."
            )
