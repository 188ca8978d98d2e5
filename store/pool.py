"""The pool of one extractor: rows of features, found by the SHA-256 of the image's bytes.

pools/<pool-key>/pool.json            the document whose SHA-256 is <pool-key>
                 shards/<sha256>.h5   features (n, D), content_sha256 (n, 32): immutable
"""

import logging
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from store.commit import Data, link_new_file, list_folder, publish_file, sync_folder
from store.content_index import (
    CONTENT_BYTES,
    ContentIndex,
    KeptShards,
    KnownShard,
    Stamp,
    stamp_of,
)
from store.documents import digest, read_sealed, seal
from store.errors import REPAIR, DamagedStore, InvalidFeatures, MissingFile, RowsUnavailable
from store.features import Features, segments_of
from store.keys import PoolKey
from store.opening import mark_store
from store.shards import SHARD_NAME, build_shard, contents_file, open_shard
from store.writer_drift import WriterDrift, compare_writers

__all__ = ["Pool", "read_pool_key"]

# Shards that are written and synced at a time, while the next are built.
_WRITERS = 4
_NO_FILE: Stamp = (0, 0, 0, 0)
_logger = logging.getLogger(__name__)


def _stored(features: np.ndarray, dtype: np.dtype, contents: list[bytes]) -> np.ndarray:
    """Return finite features as they are stored; what half precision cannot hold is refused."""
    if features.dtype == dtype:
        return features
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    is_kept = np.isfinite(stored).all(axis=1)
    if not is_kept.all():
        row = int(np.argmin(is_kept))
        raise InvalidFeatures(
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
        drifts: pairs of shards whose rows for one image differ beyond the tolerance.
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
        self._is_documented = False

    def shard_path(self, name: str) -> Path:
        """Return the path of a shard by its name."""
        return self.folder / "shards" / f"{name}.h5"

    def index(self) -> ContentIndex:
        """Return content hash (32 bytes) → address of every row, shards of other writers included.

        Where two shards hold a row for one image, the first by name counts, for every reader; if
        the two rows differ beyond the tolerance, that is drift: logged, and kept in `drifts`. A
        damaged shard is left out, logged and kept in `damaged`: its rows count as not computed, and
        `add` replaces it when they are computed again. A shard whose file is the very one that was
        verified before is not read, see `store.content_index`.
        """
        listed = [Path(file).stem for file in list_folder(self.folder / "shards") if SHARD_NAME.fullmatch(file)]
        fresh = [name for name in listed if name not in self._shards]
        kept = KeptShards.read(contents_file(self.folder)) if fresh else KeptShards({})
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
            KeptShards(self._shards, tuple(self.drifts)).write(contents_file(self.folder))
            self._is_kept = True
        return self._index

    @property
    def sound_shards(self) -> frozenset[str]:
        """Names of the shards that were verified: by `index`, by `add`, or before, and are the very files since."""
        return frozenset(self._shards)

    def rows(self, contents: Sequence[bytes]) -> Features:
        """Return the rows of N images, in their order: (N, D) array-like, mapped from disk and verified.

        Args:
            contents: SHA-256 digests, 32 bytes each, N ≥ 1; one may stand there several times.

        Raises:
            RowsUnavailable: the pool has none of an image.
            DamagedStore: a shard's bytes are others than its name says.
        """
        index = self.index()
        missing = [content for content in contents if content not in index]
        if missing:
            raise RowsUnavailable(
                f"{self.folder}: rows of {len(contents)} images expected, {len(missing)} are not there, the first is "
                f"{missing[0].hex()}; extract them."
            )
        segments = segments_of([(index[content].shard, index[content].row) for content in contents])
        dim = open_shard(self.shard_path(segments[0].shard)).features.shape[1]
        return Features(segments, dim, self.dtype, open_rows=lambda name: open_shard(self.shard_path(name)))

    def settle(self) -> None:
        """Make the shards of other writers durable too, before a set refers to them."""
        sync_folder(self.folder / "shards")

    def add(self, features: np.ndarray, contents: list[bytes]) -> str:
        """Commit rows as one shard.

        Args:
            features: (n, D), n ≥ 1, D ≥ 1, finite, in the dtype of the pool's key; float32 for a
                key of float16 too, which is rounded to the nearest.
            contents: the n SHA-256 digests of the images, 32 bytes each.

        Returns:
            The shard's name. When this returns, the rows survive a crash.

        Raises:
            ValueError: the arguments are others.
            InvalidFeatures: a number that a pool of float16 cannot hold.
        """
        name, hashes = self._committed(features, contents)
        self._remember(name, hashes)
        return name

    def add_all(self, parts: Iterable[tuple[np.ndarray, list[bytes]]]) -> None:
        """Commit many shards, some at a time: while one is synced, others are built and hashed.

        When this returns, all their rows survive a crash; if it raises, those of some shards do.

        Args:
            parts: features and contents of each shard, see `add`.
        """
        in_flight: deque[Future[tuple[str, np.ndarray]]] = deque()
        with ThreadPoolExecutor(_WRITERS) as writers:
            for features, contents in parts:
                in_flight.append(writers.submit(self._committed, features, contents, is_settled=False))
                while len(in_flight) > _WRITERS:
                    self._remember(*in_flight.popleft().result())
            for done in in_flight:
                self._remember(*done.result())
        if self._shards:
            self.settle()

    def _committed(
        self, features: np.ndarray, contents: list[bytes], is_settled: bool = True
    ) -> tuple[str, np.ndarray]:
        if features.ndim != 2 or len(contents) != len(features) or not features.size:
            raise ValueError(f"(n, D) features for n images expected, {features.shape} for {len(contents)} found.")
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
        hashes = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, CONTENT_BYTES)
        name, data = build_shard(_stored(features, self.dtype, contents), hashes)
        self._commit(name, data, is_settled)
        return name, hashes

    def _commit(self, name: str, data: Data, is_settled: bool) -> None:
        if not self._is_documented:
            publish_file(self.folder / "pool.json", seal(self.key.document()))
            self._is_documented = True
        if is_settled or not link_new_file(self.shard_path(name), data):
            publish_file(self.shard_path(name), data)
        # Looked at after the shard is there: `gc` may have set the whole pool aside meanwhile, and puts
        # it back only where nothing new has taken its place.
        if not (self.folder / "pool.json").exists():
            publish_file(self.folder / "pool.json", seal(self.key.document()))
        # Likewise: a job that failed may have taken the store back as an empty one.
        mark_store(self.folder.parent.parent)

    def _remember(self, name: str, hashes: np.ndarray) -> None:
        self.damaged.pop(name, None)
        if name not in self._shards:
            self._is_kept = False
            self._enter(name, KnownShard(self._stamp(name), hashes.tobytes()))

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
