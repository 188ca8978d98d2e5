"""The pool of one extractor: rows of features, found by the SHA-256 of the picture's bytes.

pools/<pool-key>/pool.json            the document whose SHA-256 is <pool-key>
                 shards/<sha256>.h5   features (n, D), content_sha256 (n, 32): immutable
"""

import contextlib
import hashlib
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from store.commit import list_folder, publish_file, sync_folder
from store.content_index import (
    CONTENT_BYTES,
    ContentIndex,
    KeptShards,
    KnownShard,
    RowAddress,
    Stamp,
    stamp_of,
)
from store.documents import digest, read_sealed, seal
from store.errors import REPAIR, DamagedStore, MissingFile
from store.hdf5 import build_file, check_datasets, open_checked, refusing_what_hdf5_refuses
from store.keys import PoolKey
from store.writer_drift import WriterDrift, compare_writers

__all__ = ["Pool", "RowAddress", "Shard", "forget_contents", "open_shard", "read_pool_key"]

SHARD_NAME = re.compile(r"[0-9a-f]{64}\.h5")
DTYPES = "<f4|<f2"
_SCHEMA = {"features": (DTYPES, 2), "content_sha256": (r"\|u1", 2)}
_NO_FILE: Stamp = (0, 0, 0, 0)
_logger = logging.getLogger(__name__)


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
        DamagedStore: the bytes or the schema are not what they must be. The pool's disposable index
            is thrown away then: whoever extracts next reads every shard, and computes what is lost.
    """
    try:
        return _open_shard(path)
    except DamagedStore:
        forget_contents(path.parent.parent)
        raise


def forget_contents(pool: Path) -> None:
    """Throw away what is kept of a pool's shards, so that each is read again."""
    with contextlib.suppress(OSError):  # a store that may only be read: its owner's 'store verify' does it
        _contents_file(pool).unlink(missing_ok=True)


def _contents_file(pool: Path) -> Path:
    return pool.parent.parent / "cache" / "contents" / pool.name


def _open_shard(path: Path) -> Shard:
    with open_checked(path, path.stem) as file, refusing_what_hdf5_refuses(path):
        check_datasets(file, path, _SCHEMA)
        features, contents = file["features"], file["content_sha256"]
        expected = (features.shape[0], CONTENT_BYTES)
        if contents.shape != expected:
            raise DamagedStore(f"{path}: content_sha256 of shape {expected} expected, {contents.shape} found.")
        mapped = np.memmap(path, features.dtype, "r", features.id.get_offset(), features.shape)
        return Shard(mapped.view(np.ndarray), contents[()])


def _stored(features: np.ndarray, dtype: np.dtype, contents: list[bytes]) -> np.ndarray:
    """Return finite features as they are stored; what half precision cannot hold is refused."""
    if features.dtype == dtype:
        return features
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    is_kept = np.isfinite(stored).all(axis=1)
    if not is_kept.all():
        row = int(np.argmin(is_kept))
        raise ValueError(
            f"features of at most {np.finfo(dtype).max:.0f} expected for {dtype}, {np.abs(features[row]).max():g} "
            f"found for {contents[row].hex()} (row {row}); store this extractor's rows as float32."
        )
    return stored


def read_pool_key(folder: Path) -> PoolKey:
    """Return the key that a pool's folder is named by.

    Raises:
        DamagedStore: its pool.json is missing, damaged or another pool's.
    """
    document = read_sealed(folder / "pool.json")
    if digest(document) != folder.name:
        raise DamagedStore(
            f"{folder}/pool.json: a document of digest {folder.name} expected, {digest(document)} found; {REPAIR}."
        )
    return PoolKey(**document)


class Pool:
    """The rows of one extractor.

    Nothing is written before there is a row: a job that fails earlier leaves the store as it was.

    Args:
        folder: `STORE/pools/<pool-key>`.
        key: what the folder's name is the digest of.

    Attributes:
        dtype: of the features, as the key says.
        damaged: shard name → what is wrong with it.
        drifts: pairs of shards whose rows for one picture differ beyond the tolerance.
    """

    def __init__(self, folder: Path, key: PoolKey) -> None:
        self.folder = folder
        self.key = key
        self.dtype = np.dtype(key.dtype)
        self.damaged: dict[str, str] = {}
        self.drifts: list[WriterDrift] = []
        self._index = ContentIndex()
        self._shards: dict[str, KnownShard] = {}
        self._is_kept = True

    def shard_path(self, name: str) -> Path:
        """Return the path of a shard by its name."""
        return self.folder / "shards" / f"{name}.h5"

    def index(self) -> ContentIndex:
        """Return content hash (32 bytes) → address of every row, shards of other writers included.

        Where two shards hold a row for one picture, the first by name counts, for every reader; if
        the two rows differ beyond the tolerance, that is drift: logged, and kept in `drifts`. A
        damaged shard is left out, logged and kept in `damaged`: its rows count as not computed, and
        `add` replaces it when they are computed again. A shard whose file is the very one that was
        verified before is not read, see `store.content_index`.
        """
        listed = [Path(file).stem for file in list_folder(self.folder / "shards") if SHARD_NAME.fullmatch(file)]
        fresh = [name for name in listed if name not in self._shards]
        kept = KeptShards.read(_contents_file(self.folder)) if fresh else KeptShards({})
        trusted = {name for name in fresh if name in kept.shards and self._stamp(name) == kept.shards[name].stamp}
        for name in fresh:
            try:
                known = kept.shards[name] if name in trusted else self._read(name)
            except MissingFile:
                continue  # `gc` took it away since it was listed
            except DamagedStore as error:
                if name not in self.damaged:
                    _logger.warning("%s Its rows count as not computed.", error)
                self.damaged[name] = str(error)
            else:
                self._enter(name, known, trusted)
        for drift in kept.drifts:
            if {drift.first, drift.second} <= trusted:
                self._report(drift)
        if not self._is_kept:
            KeptShards(self._shards, tuple(self.drifts)).write(_contents_file(self.folder))
            self._is_kept = True
        return self._index

    @property
    def sound_shards(self) -> frozenset[str]:
        """Names of the shards that were verified: by `index`, by `add`, or before, and are the very files since."""
        return frozenset(self._shards)

    def settle(self) -> None:
        """Make the shards of other writers durable too, before a set refers to them."""
        sync_folder(self.folder / "shards")

    def add(self, features: np.ndarray, contents: list[bytes]) -> str:
        """Commit rows as one shard.

        Args:
            features: (n, D), n ≥ 1, D ≥ 1, finite, in the dtype of the pool's key; float32 for a
                key of float16 too, which is rounded to the nearest.
            contents: the n SHA-256 digests of the pictures, 32 bytes each.

        Returns:
            The shard's name. When this returns, the rows survive a crash.

        Raises:
            ValueError: the arguments are others.
        """
        if features.ndim != 2 or len(contents) != len(features) or not features.size:
            raise ValueError(f"(n, D) features for n pictures expected, {features.shape} for {len(contents)} found.")
        is_rounded = self.dtype == np.float16 and features.dtype == np.float32
        if not is_rounded and features.dtype != self.dtype:
            raise ValueError(f"{self.dtype} features expected by the pool's key, {features.dtype} found.")
        if any(len(content) != CONTENT_BYTES for content in contents):
            raise ValueError(
                f"content hashes of {CONTENT_BYTES} bytes expected, {sorted(set(map(len, contents)))} found."
            )
        is_finite = np.isfinite(features).all(axis=1)
        if not is_finite.all():
            row = int(np.argmin(is_finite))
            raise ValueError(f"finite features expected, found others for {contents[row].hex()} (row {row}).")
        features = _stored(features, self.dtype, contents)
        hashes = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, CONTENT_BYTES)

        def fill(file: h5py.File) -> None:
            file.create_dataset("features", data=features, track_times=False)
            file.create_dataset("content_sha256", data=hashes, track_times=False)

        publish_file(self.folder / "pool.json", seal(self.key.document()))
        data = build_file(fill)
        name = hashlib.sha256(data).hexdigest()
        publish_file(self.shard_path(name), data)
        self.damaged.pop(name, None)
        if name not in self._shards:
            self._is_kept = False
            self._enter(name, KnownShard(self._stamp(name), hashes.tobytes()))
        return name

    def _stamp(self, name: str) -> Stamp:
        try:
            return stamp_of(self.shard_path(name))
        except FileNotFoundError:
            return _NO_FILE  # `gc` took it away just now: whoever reads it, or refers to it, says so

    def _read(self, name: str) -> KnownShard:
        # Before the bytes are read: a file that takes its place meanwhile has another stamp.
        stamp = self._stamp(name)
        contents = open_shard(self.shard_path(name)).content_sha256.tobytes()
        self._is_kept = False
        return KnownShard(stamp, contents)

    def _enter(self, name: str, known: KnownShard, trusted: Collection[str] = ()) -> None:
        self._shards[name] = known
        for other, rows in self._index.enter(name, known.contents).items():
            # Two that are as they were have been compared when the second came.
            if not {other, name} <= set(trusted):
                self._compare(other, name, rows)

    def _compare(self, one: str, other: str, rows: list[tuple[bytes, int, int]]) -> None:
        try:
            drift = compare_writers((one, other), rows, lambda name: open_shard(self.shard_path(name)).features)
        except DamagedStore as error:
            # It was sound when it was last read. Its rows are missed when they are needed, and next time.
            _logger.warning("%s", error)
        else:
            if drift is not None:
                self._report(drift)

    def _report(self, drift: WriterDrift) -> None:
        self.drifts.append(drift)
        _logger.warning("%s: drift: %s", self.folder, drift.sentence())
