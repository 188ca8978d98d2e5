"""Published sets: one dataset, one base split, one extractor.

sets/<set-key>/set.json         the document whose SHA-256 is <set-key>
               features.h5      features (N, D) as a virtual dataset over the shards; labels (N,),
                                example_ids (N,), content_sha256 (N, 32)
               ledger.parquet   a row per candidate: ok or quarantined, and why
               provenance.json  the circumstances
               notes.json       what people are to be told of it: what was done to images, what was left out; optional
               manifest.json    digests of the parts, and the segments
"""

import io
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from store.batches import tf_dataset
from store.documents import read_sealed, unseal
from store.errors import REPAIR, DamagedStore
from store.features import Features, Segment
from store.hdf5 import (
    check_datasets,
    open_checked,
    read_checked,
    refusing_what_hdf5_refuses,
    verify_file,
)
from store.keys import PoolKey, Provenance, SetKey
from store.layout import unexpected
from store.pool import read_pool_key
from store.shards import DTYPES, Shard, open_shard

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LEDGER_COLUMNS",
    "OPTIONAL_LEDGER_COLUMNS",
    "OPTIONAL_SET_PARTS",
    "SET_PARTS",
    "FeatureSet",
    "feature_columns",
]

_DIGEST = re.compile(r"[0-9a-f]{64}")

LEDGER_COLUMNS = (
    "example_id", "label", "group", "status", "reason", "content_sha256", "format", "mode", "width", "height", "bytes"
)  # fmt: skip
SET_PARTS = ("set.json", "features.h5", "ledger.parquet", "provenance.json")
# What a later version may write besides; this one reads past it.
OPTIONAL_SET_PARTS = ("notes.json",)
OPTIONAL_LEDGER_COLUMNS = ("orientation", "frames", "background", "converted")

_SCHEMA = {
    "features": (DTYPES, 2),
    "labels": ("<i8", 1),
    "example_ids": (r"\|S[0-9]+", 1),
    "content_sha256": (r"\|u1", 2),
}


def feature_columns(dim: int) -> list[str]:
    """Return what the columns of `dim` features are called in tables: `f0000`, `f0001` …"""
    width = max(4, len(str(dim - 1)))
    return [f"f{column:0{width}d}" for column in range(dim)]


class FeatureSet:
    """The read-only handle of one published set.

    Args:
        folder: `STORE/sets/<set-key>`.
        key: if the folder is called otherwise.

    Raises:
        DamagedStore: the manifest, or a part when it is first read, is not what was published.
    """

    def __init__(self, folder: Path, key: str = "") -> None:
        self.folder = folder
        self._key = key or folder.name
        self.manifest = read_sealed(folder / "manifest.json")
        if self.manifest["set"] != self._key:
            raise DamagedStore(f"{folder}: set {self._key} expected, {self.manifest['set']} found; {REPAIR}.")
        # Names of parts become paths.
        fault = unexpected(sorted(self.manifest["parts"]), SET_PARTS, OPTIONAL_SET_PARTS)
        if fault:
            raise DamagedStore(f"{folder}: parts {fault}; {REPAIR}.")
        names = [self.manifest["pool"], *(shard for shard, _, _ in self.manifest["segments"])]
        if not all(map(_DIGEST.fullmatch, names)):
            raise DamagedStore(f"{folder}: digests expected as names of pool and shards; {REPAIR}.")

    def __repr__(self) -> str:
        rows, dim = self.features.shape
        return f"<FeatureSet {self.key[:12]}: {self.provenance.dataset} {self.split}, {rows} x {dim}>"

    @property
    def key(self) -> str:
        """The set's key, 64 hexadecimal digits."""
        return self._key

    @property
    def path(self) -> Path:
        """The set as one HDF5 file, for h5py, h5dump and HDFView."""
        return self.folder / "features.h5"

    @property
    def split(self) -> str:
        """The base split."""
        return self._identity.split

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in label order."""
        return list(self._identity.class_names)

    @property
    def candidates(self) -> int:
        """How many images the base split has, quarantined ones included."""
        return self._identity.candidates

    @property
    def rows_sha256(self) -> str:
        """The digest of the ordered table, see `rows_digest`."""
        return self._identity.rows_sha256

    @property
    def pool_digest(self) -> str:
        """The digest of the pool that its rows lie in, 64 hexadecimal digits."""
        pool: str = self.manifest["pool"]
        return pool

    @cached_property
    def pool_key(self) -> PoolKey:
        """What its rows are a function of besides the images.

        Raises:
            DamagedStore: the pool's document is missing, damaged or another pool's.
        """
        return read_pool_key(self.folder.parent.parent / "pools" / self.pool_digest)

    @cached_property
    def provenance(self) -> Provenance:
        """The circumstances in which the set was made."""
        return Provenance(**self._document("provenance.json"))

    @cached_property
    def notes(self) -> Mapping[str, Any]:
        """What people are to be told of it: `told`, sentences, and the numbers behind them; perhaps empty."""
        return self._document("notes.json") if "notes.json" in self.manifest["parts"] else {}

    @cached_property
    def features(self) -> Features:
        """The features: (N, D) array-like, mapped from disk and verified shard by shard."""
        segments = [Segment(*segment) for segment in self.manifest["segments"]]
        dim, dtype = self.manifest["dim"], np.dtype(self.manifest["dtype"])
        least: dict[str, int] = {}
        for s in segments:
            least[s.shard] = max(least.get(s.shard, 0), s.first + s.rows)

        def opened(name: str) -> Shard:
            shard = open_shard(self.shard_path(name))
            if shard.shape[1] != dim or shard.dtype != dtype or shard.shape[0] < least[name]:
                raise DamagedStore(
                    f"{shard.path}: ({least[name]} or more, {dim}) {dtype} expected, "
                    f"{shard.shape} {shard.dtype} found; {REPAIR}."
                )
            return shard

        return Features(segments, dim, dtype, open_rows=opened)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64, indices into `class_names`."""
        return self._table["labels"]

    @cached_property
    def example_ids(self) -> np.ndarray:
        """(N,) str, relative to the source."""
        ids: np.ndarray = np.char.decode(self._table["example_ids"], "utf-8")
        ids.flags.writeable = False
        return ids

    @cached_property
    def content_sha256(self) -> np.ndarray:
        """(N, 32) uint8: SHA-256 of each image's bytes."""
        return self._table["content_sha256"]

    def ledger(self) -> "pd.DataFrame":
        """Return a row per candidate: `example_id`, `status` (ok or quarantined), `reason`, …"""
        import pandas as pd

        return pd.read_parquet(io.BytesIO(self._part("ledger.parquet")))

    def to_frame(self) -> "pd.DataFrame":
        """Return `example_id`, `label`, `class_name` and the features `f0000` … as one 2-D block."""
        import pandas as pd

        columns = feature_columns(self.features.shape[1])
        block = pd.DataFrame(np.array(self.features), columns=columns, copy=False)
        names = np.array(self.class_names, dtype=object)[self.labels]
        table = pd.DataFrame({"example_id": self.example_ids, "label": self.labels, "class_name": names})
        return pd.concat([table, block], axis=1)

    def to_tf_dataset(self, batch_size: int, shuffle: bool = False, seed: int | None = None) -> Any:
        """Return a `tf.data.Dataset` of (features, labels) batches; imports TensorFlow now.

        Rows are read from the mapped shards batch by batch, never all at once.

        Args:
            batch_size: B ≥ 1; the last batch may be smaller.
            shuffle: every pass in a new order over all rows; else in the set's order.
            seed: of that order.

        Returns:
            Batches of (B, D) float32 and (B,) int64.
        """
        return tf_dataset(self.features, self.labels, batch_size, shuffle=shuffle, seed=seed)

    def verify(self, sound_shards: Collection[str] = ()) -> None:
        """Check every byte of the set and of the shards it needs.

        Args:
            sound_shards: shards that somebody has verified already.

        Raises:
            DamagedStore: naming the first file that is not what was published.
        """
        for name in self.manifest["parts"]:
            self._part(name)
        self.verify_identity()
        for name in dict.fromkeys(shard for shard, _, _ in self.manifest["segments"] if shard not in sound_shards):
            verify_file(self.shard_path(name), name)

    def verify_identity(self) -> None:
        """Check that set.json is the document that the set is named by.

        Raises:
            DamagedStore: it is another one's.
        """
        if (self._identity.digest, self._identity.pool) != (self.key, self.manifest["pool"]):
            raise DamagedStore(f"{self.folder}/set.json: another set's document; {REPAIR}.")

    def shard_path(self, name: str) -> Path:
        """Return the path of a shard of the set's pool."""
        pool: str = self.manifest["pool"]
        return self.folder.parent.parent / "pools" / pool / "shards" / f"{name}.h5"

    @property
    def _sources(self) -> str:
        # What the virtual features may name: shards of the set's own pool, nothing else on the disk.
        return rf"\.\./\.\./pools/{self.manifest['pool']}/shards/[0-9a-f]{{64}}\.h5"

    @cached_property
    def _identity(self) -> SetKey:
        return SetKey.from_document(self._document("set.json"))

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        rows = self.manifest["rows"]
        checked = open_checked(self.path, self.manifest["parts"]["features.h5"])
        with checked as file, refusing_what_hdf5_refuses(self.path):
            check_datasets(file, self.path, _SCHEMA, sources=self._sources)
            table: dict[str, np.ndarray] = {
                name: file[name][()] for name in ("labels", "example_ids", "content_sha256")
            }
        if any(len(column) != rows for column in table.values()):
            raise DamagedStore(f"{self.path}: {rows} rows expected, {[len(c) for c in table.values()]} found.")
        for column in table.values():
            column.flags.writeable = False  # this handle hands out the same array every time
        return table

    def _part(self, name: str) -> bytes:
        return read_checked(self.folder / name, self.manifest["parts"][name])

    def _document(self, name: str) -> dict[str, Any]:
        return unseal(self._part(name), self.folder / name, is_proven=True)
