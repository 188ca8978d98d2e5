"""Files that only save work: believed if they are whole, made again where they are not, never an error.

Line 1 is the SHA-256 of a layout's name and of all that follows; what follows is the keeper's own. So such a file can
be deleted, damaged, cut short, of another layout, or on a disk that is full or may only be read: then the work is done
once more, and nothing becomes wrong.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from store.commit import replace_disposable
from store.regular_files import read_regular

__all__ = ["parse_disposable", "read_disposable", "write_disposable"]

_Parsed = TypeVar("_Parsed")

_logger = logging.getLogger(__name__)


def read_disposable(path: Path, layout: bytes) -> bytes | None:
    """Return what a file keeps, None where it is not there or cannot be believed.

    Args:
        path: the file.
        layout: name and version of what it holds; a file of another one is not believed.
    """
    try:
        data = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _logger.info("%s: not readable, its work is done anew (%s)", path, error)
        return None
    expected, _, body = data.partition(b"\n")
    if _digest(layout, body) != expected:
        _logger.info("%s: damaged or of another version, its work is done anew", path)
        return None
    return body


def parse_disposable(path: Path, layout: bytes, parse: Callable[[bytes], _Parsed]) -> _Parsed | None:
    """Return what a file keeps, parsed; None where it is not there, cannot be believed, or is malformed all the same.

    Args:
        path: the file.
        layout: see `read_disposable`.
        parse: makes of the bytes what they stand for.
    """
    body = read_disposable(path, layout)
    if body is None:
        return None
    try:
        return parse(body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        # Whoever can write the file can make its digest too.
        _logger.info("%s: malformed, its work is done anew (%r)", path, error)
        return None


def write_disposable(path: Path, layout: bytes, body: bytes) -> None:
    """Keep something; without effect on a disk that is full or may only be read."""
    try:
        replace_disposable(path, _digest(layout, body) + b"\n" + body)
    except OSError as error:
        _logger.info("%s: not written (%s)", path, error)


def _digest(layout: bytes, body: bytes) -> bytes:
    return hashlib.sha256(layout + b"\n" + body).hexdigest().encode()
