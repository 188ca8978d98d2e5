"""Identity: what a row of numbers is a function of, what a set is made of, and how it came about."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from store.documents import digest

__all__ = ["PoolKey", "Provenance", "SetKey", "rows_digest"]

# As `documents.canonical_json` spells a text.
_spelled = json.encoder.encode_basestring


@dataclass(frozen=True)
class PoolKey:
    """Everything that a row of features is a function of, besides the image.

    Host, engine, batch size and library versions are not in it: they must not change the numbers.

    Attributes:
        architecture: the network's name, such as `keras.applications/MobileNetV2`.
        weights_sha256: digest of its weights (of nothing, for a floor without weights).
        output: which tensor of the network the features are.
        preprocessing: how an image becomes the network's input; see `extract.Preprocessing`.
        dtype: how the features are stored, `float32` or `float16`.
        precision: what the network computes in, `float32`, `tf32` or `bfloat16`.
    """

    architecture: str
    weights_sha256: str
    output: str
    preprocessing: Mapping[str, Any]
    dtype: str = "float32"
    precision: str = "float32"

    def document(self) -> dict[str, Any]:
        """Return the key as the JSON document that `pool.json` holds."""
        return {
            "architecture": self.architecture,
            "dtype": self.dtype,
            "output": self.output,
            "precision": self.precision,
            "preprocessing": dict(self.preprocessing),
            "weights_sha256": self.weights_sha256,
        }

    @property
    def digest(self) -> str:
        """The pool's name: SHA-256 of the document, 64 hexadecimal digits."""
        return digest(self.document())


@dataclass(frozen=True)
class SetKey:
    """Everything that the table of a set is made of.

    Attributes:
        pool: digest of the `PoolKey`.
        split: the base split.
        class_names: in label order.
        candidates: how many images the base split has, quarantined ones included.
        rows_sha256: see `rows_digest`.
        origin: what else names the data: for TFDS name, config, version and label key; else empty.
    """

    pool: str
    split: str
    class_names: tuple[str, ...]
    candidates: int
    rows_sha256: str
    origin: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the key as the JSON document that `set.json` holds."""
        return {
            "candidates": self.candidates,
            "class_names": list(self.class_names),
            "origin": dict(self.origin),
            "pool": self.pool,
            "rows_sha256": self.rows_sha256,
            "split": self.split,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "SetKey":
        """Return the key that `document` was made from."""
        return cls(**{**document, "class_names": tuple(document["class_names"])})

    @property
    def digest(self) -> str:
        """The set's name: SHA-256 of the document, 64 hexadecimal digits."""
        return digest(self.document())


def rows_digest(rows: Iterable[tuple[str, str, int, str]]) -> str:
    """Digest the ordered table of a set.

    Args:
        rows: (example id, content hash in hexadecimal, label, status) of each candidate in order.

    Raises:
        ValueError: an example id is not Unicode text (a file name in another encoding).
    """
    sha = hashlib.sha256()
    for example_id, content, label, status in rows:
        # The canonical spelling of the row, without building what the general encoder needs for each.
        line = f"[{_spelled(example_id)},{_spelled(content)},{label:d},{_spelled(status)}]\n"
        try:
            sha.update(line.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise ValueError(f"{example_id!r}: Unicode text expected as example id; rename the file.") from error
    return sha.hexdigest()


@dataclass(frozen=True)
class Provenance:
    """The circumstances of a set: good to know, and in no key.

    Attributes:
        created: UTC, ISO 8601 to the second.
        dataset: what the set is called: a name of the configuration, or the source.
        source: where the images came from, such as `folder:/data/flowers`.
        extractor: what the extractor is called.
        engine: what ran it.
        host: the machine's name.
        device: what the engine ran on.
        threads: how many threads it had.
        versions: package name → version.
        commit: the commit of this software, if it is known.
        canary: what the canary batch measured before the pool was added to.
        seconds: from the first read to the publication.
        forward_passes: images computed for this set.
        reused: rows that the pool had already.
        ignored: files of the source that are no images.
        preset: what the preprocessing was declared after; empty where that is not known.
    """

    created: str
    dataset: str
    source: str
    extractor: str
    engine: str
    host: str = ""
    device: str = ""
    threads: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    canary: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    forward_passes: int = 0
    reused: int = 0
    ignored: int = 0
    preset: str = ""
