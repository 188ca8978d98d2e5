"""Published sets: one dataset, one base split, one extractor.

sets/<set-key>/set.json         the document whose SHA-256 is <set-key>
               features.h5      features (N, D) as a virtual dataset over the shards; labels (N,),
                                example_ids (N,), content_sha256 (N, 32)
               ledger.parquet   a row per candidate: ok or quarantined, and why
               provenance.json  the circumstances
               manifest.json    digests of the parts, and the segments
"""

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from store.commit import publish_folder
from store.documents import read_sealed, seal, unseal
from store.errors import DamagedStore
from store.features import Features, Segment, segments_of
from store.hdf5 import build_file, check_datasets, open_checked, verify_file
from store.keys import Provenance, SetKey
from store.pool import Pool, open_shard

__all__ = ["LEDGER_COLUMNS", "FeatureSet", "publish_set"]

LEDGER_COLUMNS = (
    "example_id", "label", "group", "status", "reason", "content_sha256", "format", "mode", "width", "height", "bytes"
)  # fmt: skip
_SCHEMA = {"features": ("f", 2), "labels": ("i", 1), "example_ids": ("S", 1), "content_sha256": ("u", 2)}


def publish_set(folder: Path, key: SetKey, ledger: pd.DataFrame, pool: Pool, provenance: Provenance) -> bool:
    """Publish a set whose rows all lie in the pool.

    Args:
        folder: `STORE/sets/<set-key>`.
        key: the set's identity.
        ledger: a row per candidate in the source's order, with the columns `LEDGER_COLUMNS`.
        pool: holds a row for each candidate whose status is ok; there is at least one.
        provenance: the circumstances.

    Returns:
        True if the set was published, False if another writer was first.
    """
    ok = ledger[ledger["status"] == "ok"]
    if len(ledger) != key.candidates or not len(ok):
        raise ValueError(f"{key.candidates} candidates and a row at least expected, {len(ledger)} and {len(ok)} given.")
    index = pool.index()
    addresses = [index[bytes.fromhex(content)] for content in ok["content_sha256"]]
    segments = segments_of([(address.shard, address.row) for address in addresses])
    shards = {name: open_shard(pool.shard_path(name)).features for name in {s.shard for s in segments}}
    first = shards[segments[0].shard]
    files = {
        "set.json": seal(key.document()),
        "features.h5": _features_file(pool, ok, segments, shards),
        "ledger.parquet": _parquet(ledger[list(LEDGER_COLUMNS)]),
        "provenance.json": seal(dataclasses.asdict(provenance)),
    }
    manifest = {
        "dim": first.shape[1],
        "dtype": str(first.dtype),
        "parts": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "pool": key.pool,
        "quarantined": len(ledger) - len(ok),
        "rows": len(ok),
        "segments": [[s.shard, s.first, s.rows] for s in segments],
        "set": key.digest,
    }
    return publish_folder(folder, {**files, "manifest.json": seal(manifest)})


def _features_file(pool: Pool, ok: pd.DataFrame, segments: Sequence[Segment], shards: dict[str, np.ndarray]) -> bytes:
    first = shards[segments[0].shard]
    layout = h5py.VirtualLayout((len(ok), first.shape[1]), first.dtype)
    at = 0
    for s in segments:
        # Relative to features.h5, so that the whole store can be moved.
        shard = f"../../pools/{pool.folder.name}/shards/{s.shard}.h5"
        source = h5py.VirtualSource(shard, "features", shards[s.shard].shape, first.dtype)
        layout[at : at + s.rows] = source[s.first : s.first + s.rows]
        at += s.rows
    ids = [str(example_id).encode("utf-8") for example_id in ok["example_id"]]
    width = max(1, *map(len, ids))
    contents = np.frombuffer(bytes.fromhex("".join(ok["content_sha256"])), np.uint8).reshape(-1, 32)

    def fill(file: h5py.File) -> None:
        # A missing shard reads as NaN in other people's readers, never as zeros. Ours refuses it.
        file.create_virtual_dataset("features", layout, fillvalue=np.nan)
        file.create_dataset("labels", data=ok["label"].to_numpy(np.int64), track_times=False)
        text = h5py.string_dtype("utf-8", width)
        file.create_dataset("example_ids", data=np.array(ids, text), track_times=False)
        file.create_dataset("content_sha256", data=contents, track_times=False)

    return build_file(fill)


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


class FeatureSet:
    """The read-only handle of one published set.

    Args:
        folder: `STORE/sets/<set-key>`.

    Raises:
        DamagedStore: the manifest, or a part when it is first read, is not what was published.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_sealed(folder / "manifest.json")
        if self.manifest["set"] != folder.name:
            raise DamagedStore(f"{folder}: the manifest is of set {self.manifest['set']}.")

    def __repr__(self) -> str:
        rows, dim = self.features.shape
        return f"<FeatureSet {self.key[:12]}: {self.provenance.dataset} {self.split}, {rows} x {dim}>"

    @property
    def key(self) -> str:
        """The set's key, 64 hexadecimal digits."""
        return self.folder.name

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
        """How many pictures the base split has, quarantined ones included."""
        return self._identity.candidates

    @cached_property
    def provenance(self) -> Provenance:
        """The circumstances in which the set was made."""
        return Provenance(**self._document("provenance.json"))

    @cached_property
    def features(self) -> Features:
        """The features: (N, D) array-like, mapped from disk and verified shard by shard."""
        shards = self.folder.parent.parent / "pools" / self.manifest["pool"] / "shards"
        segments = [Segment(*segment) for segment in self.manifest["segments"]]
        dim, dtype = self.manifest["dim"], np.dtype(self.manifest["dtype"])

        def open_features(name: str) -> np.ndarray:
            features = open_shard(shards / f"{name}.h5").features
            if features.shape[1] != dim or features.dtype != dtype:
                raise DamagedStore(
                    f"{name}.h5: {dim} columns of {dtype} expected, {features.shape[1]} of {features.dtype} found."
                )
            return features

        return Features(segments, dim, dtype, open_features)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64, indices into `class_names`."""
        return self._table["labels"]

    @cached_property
    def example_ids(self) -> np.ndarray:
        """(N,) str, relative to the source."""
        return np.char.decode(self._table["example_ids"], "utf-8")

    @cached_property
    def content_sha256(self) -> np.ndarray:
        """(N, 32) uint8: SHA-256 of each picture's bytes."""
        return self._table["content_sha256"]

    def ledger(self) -> pd.DataFrame:
        """Return a row per candidate: `example_id`, `status` (ok or quarantined), `reason`, …"""
        return pd.read_parquet(io.BytesIO(self._part("ledger.parquet")))

    def to_frame(self) -> pd.DataFrame:
        """Return `example_id`, `label`, `class_name` and the features `f0000` … as one 2-D block."""
        width = max(4, len(str(self.features.shape[1] - 1)))
        columns = [f"f{column:0{width}d}" for column in range(self.features.shape[1])]
        block = pd.DataFrame(np.asarray(self.features), columns=columns, copy=False)
        names = np.array(self.class_names, dtype=object)[self.labels]
        table = pd.DataFrame({"example_id": self.example_ids, "label": self.labels, "class_name": names})
        return pd.concat([table, block], axis=1)

    @cached_property
    def _identity(self) -> SetKey:
        return SetKey.from_document(self._document("set.json"))

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        rows = self.manifest["rows"]
        with open_checked(self.path, self.manifest["parts"]["features.h5"]) as file:
            check_datasets(file, self.path, _SCHEMA, virtual="features")
            table: dict[str, np.ndarray] = {
                name: file[name][()] for name in ("labels", "example_ids", "content_sha256")
            }
        if any(len(column) != rows for column in table.values()):
            raise DamagedStore(f"{self.path}: {rows} rows expected, {[len(c) for c in table.values()]} found.")
        return table

    def _part(self, name: str) -> bytes:
        path = self.folder / name
        verify_file(path, self.manifest["parts"][name])
        return path.read_bytes()

    def _document(self, name: str) -> dict[str, Any]:
        return unseal(self._part(name), self.folder / name)
