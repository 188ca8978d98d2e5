"""Perceptual hashes of images by their content, kept to save work: `cache/phash/`.

cache/phash/<name>     line 1: the SHA-256 of the layout and of all that follows; then 65 bytes an image, sorted by
                       content: its SHA-256, its hash, and 1, or 0 where an image has none (too small, or of hardly any
                       contrast)

A file is named by the key of the set whose images it has, or by what it holds. Any of them may be deleted: what is lost
is computed from the images again.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from store.disposable import parse_disposable, read_disposable, write_disposable

__all__ = ["HASH_BYTES", "PerceptualHashes"]

HASH_BYTES = 32
_CONTENT_BYTES = 32
_ENTRY = _CONTENT_BYTES + HASH_BYTES + 1
# ImageHash's phash of 16 x 16 coefficients, of what is seen of an image on white. Another rule is another layout.
_LAYOUT = b"linprobe perceptual hashes: phash 256, rule 1"


class PerceptualHashes:
    """What is known of images beyond their bytes.

    Args:
        folder: `STORE/cache/phash`; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name that can be believed."""
        return read_disposable(self._folder / name, _LAYOUT) is not None

    def short_contents(self) -> np.ndarray:
        """Return the first 8 bytes of every content that is known, sorted, (N,) uint64: to tell at once what is new."""
        bodies = (read_disposable(self._folder / name, _LAYOUT) for name in self._names(""))
        found = [_entries(body)[:, :8].copy().view(np.uint64).ravel() for body in bodies if body]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)

    def find(self, contents: set[bytes], first: str = "") -> dict[bytes, bytes | None]:
        """Return what is known of images: content → hash, None for images that have none.

        Args:
            contents: SHA-256s.
            first: the file that most likely has them.
        """
        found: dict[bytes, bytes | None] = {}
        for name in self._names(first):
            if len(found) == len(contents):
                break
            found.update((content, hashed) for content, hashed in self._read(name) if content in contents)
        return found

    def keep(self, hashes: Mapping[bytes, bytes | None], name: str = "") -> None:
        """Keep the hashes of images.

        Args:
            hashes: content → hash, None for images that have none.
            name: of the file; without, it is named by what it holds.
        """
        if not hashes:
            return
        blank = bytes(HASH_BYTES)
        body = b"".join(
            content + (hashed if hashed is not None else blank) + bytes([hashed is not None])
            for content, hashed in sorted(hashes.items())
        )
        write_disposable(self._folder / (name or hashlib.sha256(body).hexdigest()), _LAYOUT, body)

    def _names(self, first: str) -> Iterator[str]:
        if first:
            yield first
        if self._folder.is_dir():
            yield from sorted(path.name for path in self._folder.iterdir() if path.name != first)

    def _read(self, name: str) -> list[tuple[bytes, bytes | None]]:
        return parse_disposable(self._folder / name, _LAYOUT, _parse) or []


def _parse(body: bytes) -> list[tuple[bytes, bytes | None]]:
    return [
        (entry[:_CONTENT_BYTES].tobytes(), entry[_CONTENT_BYTES:-1].tobytes() if entry[-1] else None)
        for entry in _entries(body)
    ]


def _entries(body: bytes) -> np.ndarray:
    return np.frombuffer(body, np.uint8).reshape(-1, _ENTRY)
