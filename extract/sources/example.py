"""What a source delivers, and what a source is."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from extract.decoders import look_at
from extract.decoding import DecodeFailure
from extract.errors import BadData
from extract.header import Header

__all__ = ["DatasetSource", "Example", "Known", "Pending", "UnreadFile"]


class Known(NamedTuple):
    """What an image's bytes are, once somebody has looked.

    Attributes:
        content: SHA-256, the 32 bytes by which the pool finds the image's row.
        header: what it claims to be, or None where it cannot be an image.
        reason: why it cannot, or empty.
        size: in bytes.
    """

    content: bytes
    header: Header | None
    reason: str
    size: int

    @classmethod
    def of_file(cls, data: bytes) -> "Known":
        """Look at an encoded file."""
        content = hashlib.sha256(data).digest()
        try:
            return cls(content, look_at(data), "", len(data))
        except DecodeFailure as error:
            return cls(content, None, str(error), len(data))

    @classmethod
    def unreadable(cls, name: str, reason: str) -> "Known":
        """Say that nobody can look: a digest of name and reason stands in the content's place."""
        return cls(hashlib.sha256(f"unreadable {name}: {reason}\n".encode()).digest(), None, reason, 0)

    @classmethod
    def of_pixels(cls, pixels: np.ndarray) -> "Known":
        """Look at (H, W, 1 or 3) uint8 pixels."""
        height, width, channels = pixels.shape
        head = f"pixels uint8 {height} {width} {channels}\n".encode()
        header = Header("pixels", "L" if channels == 1 else "RGB", width, height)
        return cls(hashlib.sha256(head + pixels.tobytes()).digest(), header, "", pixels.nbytes)


@dataclass(frozen=True)
class UnreadFile:
    """A file whose bytes are known from an earlier look.

    Attributes:
        path: where it is.
        known: what its bytes were when size and modification time were what they are now.
    """

    path: str | Path
    known: Known

    def read(self) -> bytes:
        """Read the bytes.

        Raises:
            BadData: they are not the known ones.
        """
        data = self._bytes()
        if hashlib.sha256(data).digest() != self.known.content:
            raise BadData(f"{self.path}: its bytes have changed, though {self._kept}.")
        return data

    # What has stayed as it was, and what to do.
    _kept: ClassVar[str] = (
        "size and modification time have not, or it is being written right now; touch it and run again"
    )

    def _bytes(self) -> bytes:
        return Path(self.path).read_bytes()


@dataclass(frozen=True)
class Example:
    """One image of a dataset.

    Attributes:
        example_id: unique in its base split, relative to the source, stable over time.
        label: index into the source's class names.
        data: the encoded file's bytes, or (H, W, 1 or 3) uint8 pixels, or a file still to be read.
        group: examples of one group never part (patient, burst, video); empty for none.
    """

    example_id: str
    label: int
    data: bytes | np.ndarray | UnreadFile
    group: str = ""

    def read(self) -> bytes | np.ndarray:
        """Return the encoded file's bytes, or the pixels."""
        return self.data.read() if isinstance(self.data, UnreadFile) else self.data

    def look(self) -> Known:
        """Return what the image's bytes are, reading them only if nobody has."""
        if isinstance(self.data, UnreadFile):
            return self.data.known
        return Known.of_file(self.data) if isinstance(self.data, bytes) else Known.of_pixels(self.data)

    def content_sha256(self) -> bytes:
        """Return the 32 bytes by which the pool finds this image's row."""
        return self.look().content


@dataclass(frozen=True)
class Pending:
    """An image on its way.

    Attributes:
        ordinal: its place among the candidates of the base split.
        example: the image.
        content: its SHA-256.
        header: what it claims to be.
    """

    ordinal: int
    example: Example
    content: bytes
    header: Header


class DatasetSource(Protocol):
    """An ordered, repeatable stream of examples for each base split."""

    @property
    def name(self) -> str:
        """The source as it was asked for, such as `folder:/data/flowers`."""

    @property
    def version(self) -> str:
        """The version of the data, or empty."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """What names the data beyond its content; part of a set's identity."""

    @property
    def orientation(self) -> str:
        """How its own world shows images, where an extractor does not say: `exif` or `stored`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in label order."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The base splits that can be asked for."""

    @property
    def left_out(self) -> Sequence[str]:
        """Sentences about what is no base split here, to be told; mostly none."""

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a base split, in the same order every time."""

    def pick(self, split: str, example_ids: Collection[str]) -> Iterator[Example]:
        """Yield those of the examples that are still there, in the base split's order."""

    def count(self, split: str) -> int | None:
        """Return how many examples a base split has, or None where only reading tells."""

    def ignored(self, split: str) -> Mapping[str, int]:
        """Return what lies beside the candidates of a base split and is left out: kind → how many."""
