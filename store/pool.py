"""The pool of one extractor: rows of features, found by the SHA-256 of the picture's bytes.

pools/<pool-key>/pool.json            the document whose SHA-256 is <pool-key>
                 shards/<sha256>.h5   features (n, D), content_sha256 (n, 32): immutable
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from store.commit import publish_file
from store.documents import read_sealed, seal
from store.errors import DamagedStore
from store.hdf5 import build_file, check_datasets, open_checked
from store.keys import PoolKey

__all__ = ["Pool", "RowAddress", "open_shard"]

CONTENT_BYTES = 32
_SCHEMA = {"features": ("f", 2), "content_sha256": ("u", 2)}


@dataclass(frozen=True)
class RowAddress:
    """Where a row lies: the shard's name (its SHA-256) and the row in it."""

    shard: str
    row: int


@dataclass(frozen=True)
class Shard:
    """A verified shard.

    Attributes:
        features: (n, D) float32 or float16, mapped from disk, read-only.
        content_sha256: (n, 32) uint8.
    """

    features: np.ndarray
    content_sha256: np.ndarray


def open_shard(path: Path) -> Shard:
    """Verify a shard against its name and map its features.

    Raises:
        DamagedStore: the bytes or the schema are not what they must be.
    """
    with open_checked(path, path.stem) as file:
        check_datasets(file, path, _SCHEMA)
        features, contents = file["features"], file["content_sha256"]
        if contents.shape != (features.shape[0], CONTENT_BYTES):
            raise DamagedStore(f"{path}: {features.shape[0]} rows of features, but content_sha256 is {contents.shape}.")
        mapped = np.memmap(path, features.dtype, "r", features.id.get_offset(), features.shape)
        return Shard(mapped, contents[()])


class Pool:
    """The rows of one extractor.

    Args:
        folder: `STORE/pools/<pool-key>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: dict[bytes, RowAddress] = {}
        self._known_shards: set[str] = set()

    @classmethod
    def create(cls, folder: Path, key: PoolKey) -> "Pool":
        """Open the pool of a key, and write its `pool.json` if it is new."""
        publish_file(folder / "pool.json", seal(key.document()))
        return cls(folder)

    @property
    def key(self) -> PoolKey:
        """The document that the pool's name is the digest of."""
        return PoolKey(**read_sealed(self.folder / "pool.json"))

    def shard_path(self, name: str) -> Path:
        """Return the path of a shard by its name."""
        return self.folder / "shards" / f"{name}.h5"

    def index(self) -> dict[bytes, RowAddress]:
        """Return content hash (32 bytes) → address of every row, shards of other writers included.

        Where two shards hold a row for one picture, the first by name counts, for every reader.
        """
        names = sorted(path.stem for path in self.folder.glob("shards/*.h5"))
        for name in names:
            if name not in self._known_shards:
                self._remember(name, open_shard(self.shard_path(name)).content_sha256)
        return self._index

    def add(self, features: np.ndarray, contents: list[bytes]) -> str:
        """Commit rows as one shard.

        Args:
            features: (n, D), n ≥ 1, finite; stored in its own dtype.
            contents: the n SHA-256 digests of the pictures, 32 bytes each.

        Returns:
            The shard's name. When this returns, the rows survive a crash.
        """
        hashes = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, CONTENT_BYTES)
        if len(hashes) != len(features) or features.ndim != 2 or not len(features):
            raise ValueError(f"(n, D) features for n pictures expected, {features.shape} for {len(hashes)} found.")

        def fill(file: h5py.File) -> None:
            file.create_dataset("features", data=features, track_times=False)
            file.create_dataset("content_sha256", data=hashes, track_times=False)

        data = build_file(fill)
        name = hashlib.sha256(data).hexdigest()
        publish_file(self.shard_path(name), data)
        self._remember(name, hashes)
        return name

    def _remember(self, name: str, hashes: np.ndarray) -> None:
        self._known_shards.add(name)
        for row, content in enumerate(hashes):
            address = RowAddress(name, row)
            known = self._index.setdefault(content.tobytes(), address)
            if known.shard > name:
                self._index[content.tobytes()] = address
