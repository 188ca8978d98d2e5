"""Arrays from an npz file that somebody else has written; nothing pickled is ever loaded."""

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

__all__ = ["read_npz", "texts_of"]

# How much more a member may hold than its array: headers, and what odd writers add.
_HEADROOM = 200 << 20
# What NumPy and zipfile say to files that are something else, encrypted, cut short or bloated.
_UNREADABLE = (ValueError, OSError, EOFError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, is_wanted: Callable[[str], bool]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names of all arrays, and those that are wanted.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no npz file, or cannot be read.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out to be no zip.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = list(file.files)
            _require_room(file.zip, [name for name in names if is_wanted(name)])
            return names, {name: file[name] for name in names if is_wanted(name)}
    except FileNotFoundError:
        raise
    except (AttributeError, TypeError) as error:
        raise ValueError("an npz file expected, a single array found; use numpy.savez.") from error
    except _UNREADABLE as error:
        hint = (
            " Arrays of objects are pickles, which are programs and never loaded: save texts as labels.astype(str), "
            "numbers as labels.astype(np.int64)."
            if "Object arrays" in str(error)
            else ""
        )
        raise ValueError(f"an npz file of plain arrays expected, found none ({error}).{hint}") from error


def _require_room(archive: zipfile.ZipFile, names: Sequence[str]) -> None:
    """Look at what arrays say of themselves before any is unpacked: a few kilobytes may claim to be terabytes.

    Raises:
        ValueError: a member holds more than its array, or all need more memory than there is.
    """
    needed = 0
    members = set(archive.namelist())
    for name in names:
        member = f"{name}.npy" if f"{name}.npy" in members else name
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
        size = math.prod(shape) * dtype.itemsize
        needed += size
        held = archive.getinfo(member).file_size
        if held > size + _HEADROOM:
            raise ValueError(f"{name}: {size:,} bytes of numbers expected, {held:,} bytes found in the file.")
    free = _free_memory()
    if free is not None and needed > free:
        raise ValueError(f"its arrays need {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.")


def _free_memory() -> int | None:
    """Return how many bytes programs may still take, None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def texts_of(name: str, array: np.ndarray) -> tuple[str, ...]:
    """Return an array's texts.

    Raises:
        ValueError: it holds something else.
    """
    if array.dtype.kind not in "US" or array.ndim != 1:
        raise ValueError(f"{name}: one dimension of texts expected, {array.shape} {array.dtype} found.")
    try:
        texts = tuple(text.decode("utf-8") if isinstance(text, bytes) else text for text in array.tolist())
        for text in texts:
            text.encode("utf-8")
    except UnicodeError as error:
        raise ValueError(f"{name}: Unicode text expected, found other ({error}).") from error
    return texts
