"""Arrays from an npz file that somebody else has written; nothing pickled is ever loaded."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["read_npz", "texts_of"]

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
            return names, {name: file[name] for name in names if is_wanted(name)}
    except FileNotFoundError:
        raise
    except (AttributeError, TypeError) as error:
        raise ValueError("an npz file expected, a single array found; use numpy.savez.") from error
    except _UNREADABLE as error:
        raise ValueError(f"an npz file of plain arrays expected, found none ({error}).") from error


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
