"""JSON documents that have an identity: one canonical spelling, one digest, and files that carry it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.errors import REPAIR, DamagedStore, MissingFile
from store.regular_files import read_regular

__all__ = ["canonical_json", "digest", "read_sealed", "seal", "unseal"]

# Built once: `json.dumps` would build one for each row of a set.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(document: Any) -> bytes:
    """Spell a document in the one way that is hashed: sorted keys, no spaces, UTF-8, no NaN.

    Args:
        document: dicts with string keys, lists, tuples, strings, finite numbers, booleans, None.

    Raises:
        TypeError, ValueError: anything else stands in the document. There is no fallback on
            purpose: a value that JSON does not know has no stable identity.
    """
    _require_string_keys(document)
    return _spelled(document)


def _spelled(document: Any) -> bytes:
    return _ENCODER.encode(document).encode("utf-8")


def _require_string_keys(document: Any) -> None:
    # The encoder would spell 1 and "1", or None and "null", alike.
    if isinstance(document, dict):
        for key, value in document.items():
            if not isinstance(key, str):
                raise TypeError(f"{key!r}: a string expected as key of a document, {type(key).__name__} found.")
            _require_string_keys(value)
    elif isinstance(document, list | tuple):
        for value in document:
            _require_string_keys(value)


def digest(document: Any) -> str:
    """Return the SHA-256 of a document's canonical spelling, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def seal(document: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON file that carries its document and the document's digest."""
    sealed = {"document": document, "sha256": digest(document)}
    return json.dumps(sealed, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


def unseal(data: bytes, path: Path, is_proven: bool = False) -> dict[str, Any]:
    """Return the document of a sealed file.

    Args:
        data: the file's bytes.
        path: where they came from, for the error's text.
        is_proven: the bytes are those that a manifest names; then the seal, which is a digest of the
            same again, is not computed.

    Raises:
        DamagedStore: the bytes are not a sealed document, or the digest does not match.
    """
    try:
        sealed = json.loads(data)
        document, expected = sealed["document"], sealed["sha256"]
        # What comes from JSON has string keys.
        found = expected if is_proven else hashlib.sha256(_spelled(document)).hexdigest()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedStore(f"{path}: a sealed document expected, found none ({error}); {REPAIR}.") from error
    if found != expected or not isinstance(document, dict) or set(sealed) != {"document", "sha256"}:
        raise DamagedStore(
            f"{path}: sha256 {expected} expected, {found} found; the file was changed after it was written; {REPAIR}."
        )
    return document


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a sealed file; see `unseal`.

    Raises:
        DamagedStore: it is missing too.
    """
    try:
        data = read_regular(path, follows_links=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(f"{path}: a sealed document expected, no file found; {REPAIR}.") from error
    return unseal(data, path)
