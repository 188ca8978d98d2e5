"""HDF5 as this store allows it: built in memory, verified before it is parsed, and plain.

The HDF5 library itself never writes to disk, and is never handed a file whose bytes were not
checked first. What a file may hold is exact: named datasets, hard-linked, without filters,
external storage or object types.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from store.errors import REPAIR, DamagedStore, MissingFile

__all__ = [
    "VerifiedFile",
    "build_file",
    "check_datasets",
    "file_sha256",
    "open_checked",
    "open_present",
    "read_checked",
    "refusing_what_hdf5_refuses",
    "verify_file",
    "virtual_rows",
]

# "latest" would write virtual datasets that h5dump of older HDF5 releases cannot read.
_LIBVER = ("earliest", "v110")

# (path, size, mtime, inode) → digest of files that this process has verified.
VerifiedFile = tuple[str, int, int, int]
_verified: dict[VerifiedFile, str] = {}


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


def verify_file(path: Path, expected: str, is_afresh: bool = False) -> VerifiedFile:
    """Check a file's bytes against a digest, once per file and process; return which file that was.

    Args:
        path: of the file.
        expected: its SHA-256, in hexadecimal.
        is_afresh: read it even if this process has verified it before.

    Raises:
        DamagedStore: the file is missing, or its bytes are others.
    """
    try:
        stat = path.stat()
        seen = (str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        found = (not is_afresh and _verified.get(seen)) or file_sha256(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path, expected) from error
    _require_digest(path, expected, found)
    _verified[seen] = found
    return seen


def read_checked(path: Path, expected: str) -> bytes:
    """Read a file whole; what is returned is what was checked.

    Raises:
        DamagedStore: the file is missing, or its bytes are others.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path, expected) from error
    _require_digest(path, expected, hashlib.sha256(data).hexdigest())
    return data


def _require_digest(path: Path, expected: str, found: str) -> None:
    if found != expected:
        raise DamagedStore(f"{path}: sha256 {expected} expected, {found} found; {REPAIR}.")


def _missing(path: Path, expected: str) -> MissingFile:
    return MissingFile(f"{path}: sha256 {expected} expected, no file found; {REPAIR}.")


@contextmanager
def open_present(path: Path) -> Iterator[FileIO]:
    """Open a verified file for reading; `gc` may have taken it away since it was verified.

    Raises:
        MissingFile: it has.
    """
    try:
        file = path.open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path, path.stem) from error
    with file:
        yield file


def open_checked(path: Path, expected: str) -> h5py.File:
    """Verify a file, then open it for reading."""
    verify_file(path, expected)
    try:
        # Published files never change, and locks fail on some network file systems.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or not path.exists():
            raise _missing(path, expected) from error  # `gc` took it away just now
        raise DamagedStore(f"{path}: an HDF5 file expected, found none ({error}).") from error


@contextmanager
def refusing_what_hdf5_refuses(path: Path) -> Iterator[None]:
    """Make a damaged store of whatever HDF5, h5py or NumPy say to a file that cannot be ours."""
    try:
        yield
    except DamagedStore:
        raise
    except FileNotFoundError as error:
        raise MissingFile(f"{path}: HDF5 expected, no file found; {REPAIR}.") from error
    except (OSError, RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        # Types that NumPy does not have, objects that cannot be opened, an offset past the end.
        raise DamagedStore(f"{path}: HDF5 of the store's schema expected, found other ({error}).") from error


def check_datasets(file: h5py.File, path: Path, schema: Mapping[str, tuple[str, int]], *, sources: str = "") -> None:
    """Check that a file holds exactly the datasets of a schema, and nothing that leads out of it.

    Args:
        file: the open file.
        path: for the error's text.
        schema: name → (dtypes allowed, as a regular expression over `numpy.dtype.str`; number of dimensions).
        sources: the names that the files of the virtual dataset `features` may have, as a regular
            expression; without it, no dataset may be virtual.

    Raises:
        DamagedStore: naming what was expected and what was found.
    """
    with refusing_what_hdf5_refuses(path):
        found = {name: file.id.links.get_info(name.encode()).type for name in file}
        if set(found) != set(schema) or any(kind != h5py.h5l.TYPE_HARD for kind in found.values()):
            raise DamagedStore(f"{path}: datasets {sorted(schema)} expected, {sorted(found)} found (hard links only).")
        if len(file.attrs):
            raise DamagedStore(f"{path}: no attributes expected, {len(file.attrs)} found.")
        for name, (dtypes, ndim) in schema.items():
            dataset = file[name]
            if not isinstance(dataset, h5py.Dataset):
                raise DamagedStore(f"{path}: {name}: a dataset expected, {type(dataset).__name__} found.")
            # First: a virtual dataset's mere shape can make HDF5 open the files that it names.
            _check_layout(dataset, path, name, sources=sources if name == "features" else "")
            _check_type(dataset, path, name, dtypes=dtypes, ndim=ndim)


def _check_layout(dataset: h5py.Dataset, path: Path, name: str, *, sources: str) -> None:
    plist = dataset.id.get_create_plist()
    layout = h5py.h5d.VIRTUAL if sources else h5py.h5d.CONTIGUOUS
    if plist.get_layout() != layout or plist.get_nfilters() or plist.get_external_count():
        raise DamagedStore(f"{path}: {name} has an unexpected storage layout, a filter or external storage.")
    if len(dataset.attrs):
        raise DamagedStore(f"{path}: {name}: no attributes expected, {len(dataset.attrs)} found.")
    for at in range(plist.get_virtual_count() if sources else 0):
        source = plist.get_virtual_filename(at)
        if not re.fullmatch(sources, source) or plist.get_virtual_dsetname(at) != "features":
            raise DamagedStore(f"{path}: {name}: rows of shards of its own pool expected, {source} found.")


def _check_type(dataset: h5py.Dataset, path: Path, name: str, *, dtypes: str, ndim: int) -> None:
    dtype = dataset.dtype
    if not re.fullmatch(dtypes, dtype.str) or dataset.ndim != ndim:
        raise DamagedStore(
            f"{path}: {name}: {dtypes} in {ndim} dimensions expected, {dtype.str} {dataset.shape} found."
        )
    # NumPy's name for a type is not enough: HDF5 knows floats of other bits that go by the same one.
    if dtype.kind != "S" and not h5py.h5t.py_create(dtype).equal(dataset.id.get_type()):
        raise DamagedStore(f"{path}: {name}: {dtype.str} as IEEE and HDF5 spell it expected, another type found.")
    # A file of 6 kB can declare terabytes: what is declared must be there. Python's integers, because
    # NumPy's product of the dimensions can wrap around to what is stored.
    declared, stored = math.prod(dataset.shape) * dtype.itemsize, dataset.id.get_storage_size()
    is_virtual = dataset.id.get_create_plist().get_layout() == h5py.h5d.VIRTUAL
    if not is_virtual and stored != declared:
        raise DamagedStore(f"{path}: {name}: {declared} bytes expected, {stored} stored.")


def virtual_rows(dataset: h5py.Dataset) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (file name, rows of the dataset, rows of the source) for each mapping; opens none of them."""
    plist = dataset.id.get_create_plist()
    for at in range(plist.get_virtual_count()):
        here, there = plist.get_virtual_vspace(at), plist.get_virtual_srcspace(at)
        yield plist.get_virtual_filename(at), _selected_rows(here), _selected_rows(there)


def _selected_rows(space: Any) -> np.ndarray:
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS:
        return np.arange(space.shape[0])
    blocks = space.get_select_hyper_blocklist()[:, :, 0]
    return np.concatenate([np.arange(first, last + 1) for first, last in blocks.tolist()])
