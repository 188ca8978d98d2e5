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
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from store.commit import publish_folder
from store.documents import read_sealed, seal, unseal
from store.errors import REPAIR, DamagedStore
from store.features import Features, Segment, segments_of
from store.hdf5 import (
    build_file,
    check_datasets,
    open_checked,
    read_checked,
    refusing_what_hdf5_refuses,
    verify_file,
)
from store.keys import Provenance, SetKey
from store.pool import DTYPES, Pool, open_shard

__all__ = ["LEDGER_COLUMNS", "FeatureSet", "find_damage", "publish_set"]

_DIGEST = re.compile(r"[0-9a-f]{64}")

LEDGER_COLUMNS = (
    "example_id", "label", "group", "status", "reason", "content_sha256", "format", "mode", "width", "height", "bytes"
)  # fmt: skip
_SCHEMA = {
    "features": (DTYPES, 2),
    "labels": ("<i8", 1),
    "example_ids": (r"\|S[0-9]+", 1),
    "content_sha256": (r"\|u1", 2),
}
# The ids are stored at the width of the longest, so one of a megabyte would cost that in every row.
_LONGEST_ID = 4096


def publish_set(folder: Path, key: SetKey, ledger: pd.DataFrame, pool: Pool, provenance: Provenance) -> bool:
    """Publish a set whose rows all lie in the pool.

    Args:
        folder: `STORE/sets/<set-key>`.
        key: the set's identity.
        ledger: a row per candidate in the source's order, with the columns `LEDGER_COLUMNS`.
        pool: holds a row for each candidate whose status is ok; there is at least one.
        provenance: the circumstances.

    Returns:
        True if the set was published, False if another writer was first. A damaged one in its
        place is moved aside.

    Raises:
        ValueError: the ledger does not fit the key, or the pool lacks a row.
        DamagedStore: the pool's shards do not fit together.
    """
    ok = ledger[ledger["status"] == "ok"]
    ids = _checked_ids(ledger, ok, key)
    segments, shapes = _locate(pool, ok)
    dim = next(iter(shapes.values()))[1]
    files = {
        "set.json": seal(key.document()),
        "features.h5": _features_file(pool, ok, ids, segments, shapes),
        "ledger.parquet": _parquet(ledger[list(LEDGER_COLUMNS)]),
        "provenance.json": seal(dataclasses.asdict(provenance)),
    }
    manifest = {
        "dim": dim,
        "dtype": str(pool.dtype),
        "parts": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "pool": key.pool,
        "quarantined": len(ledger) - len(ok),
        "rows": len(ok),
        "segments": [[s.shard, s.first, s.rows] for s in segments],
        "set": key.digest,
    }
    # The set must not outlive what it refers to: shards that another writer has not synced yet.
    pool.settle()
    files["manifest.json"] = seal(manifest)
    return publish_folder(folder, files, lambda found: find_damage(found, key.digest) is None)


def find_damage(folder: Path, key: str) -> str | None:
    """Return what is wrong with a published set or the shards it needs, None if nothing is.

    Reads every byte of both, shards once per process.
    """
    try:
        FeatureSet(folder, key).verify()
    except DamagedStore as error:
        return str(error)
    return None


def _checked_ids(ledger: pd.DataFrame, ok: pd.DataFrame, key: SetKey) -> list[bytes]:
    """Return the ids of the rows as they are stored, once the ledger is what a set can hold."""
    if len(ledger) != key.candidates or not len(ok):
        raise ValueError(f"{key.candidates} candidates and a row at least expected, {len(ledger)} and {len(ok)} given.")
    if not set(ledger["status"]) <= {"ok", "quarantined"}:
        raise ValueError(f"status ok or quarantined expected, {sorted(set(ledger['status']))} found.")
    labels, classes = ok["label"], len(key.class_names)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels 0 to {classes - 1} expected, {labels.min()} to {labels.max()} found.")
    twice = ledger["example_id"][ledger["example_id"].duplicated()]
    if len(twice):
        raise ValueError(f"{twice.iloc[0]!r}: each example id once expected, found again.")
    ids = [str(example_id).encode("utf-8") for example_id in ok["example_id"]]
    for example_id in ids:
        # HDF5 pads ids with NUL to one width, so a NUL of their own would be lost.
        if len(example_id) > _LONGEST_ID or b"\0" in example_id:
            raise ValueError(
                f"{example_id[:80]!r}: an example id of at most {_LONGEST_ID} bytes without NUL expected, "
                f"one of {len(example_id)} bytes found."
            )
    return ids


def _locate(pool: Pool, ok: pd.DataFrame) -> tuple[list[Segment], dict[str, tuple[int, int]]]:
    """Return where the rows lie, and the shape of each shard that has some."""
    index = pool.index()
    addresses = []
    for example_id, content in zip(ok["example_id"], ok["content_sha256"], strict=True):
        address = index.get(bytes.fromhex(content))
        if address is None:
            raise ValueError(f"{example_id}: a row for {content} expected in the pool, none found.")
        addresses.append((address.shard, address.row))
    segments = segments_of(addresses)
    shapes: dict[str, tuple[int, int]] = {}
    for name in dict.fromkeys(s.shard for s in segments):
        features = open_shard(pool.shard_path(name)).features
        shapes[name] = (features.shape[0], features.shape[1])
        first = next(iter(shapes))
        if features.shape[1] != shapes[first][1] or features.dtype != pool.dtype:
            raise DamagedStore(
                f"{pool.shard_path(name)}: {shapes[first][1]} columns of {pool.dtype} expected as in {first}.h5, "
                f"{features.shape[1]} of {features.dtype} found; the pool mixes two extractors, move one of them away."
            )
    return segments, shapes


def _features_file(
    pool: Pool, ok: pd.DataFrame, ids: list[bytes], segments: Sequence[Segment], shapes: dict[str, tuple[int, int]]
) -> bytes:
    width = max(map(len, ids)) or 1
    contents = np.frombuffer(bytes.fromhex("".join(ok["content_sha256"])), np.uint8).reshape(-1, 32)

    def fill(file: h5py.File) -> None:
        _virtual_features(file, pool, len(ok), segments, shapes)
        file.create_dataset("labels", data=ok["label"].to_numpy(np.int64), track_times=False)
        text = h5py.string_dtype("utf-8", width)
        file.create_dataset("example_ids", data=np.array(ids, text), track_times=False)
        file.create_dataset("content_sha256", data=contents, track_times=False)

    return build_file(fill)


def _virtual_features(
    file: h5py.File, pool: Pool, rows: int, segments: Sequence[Segment], shapes: dict[str, tuple[int, int]]
) -> None:
    """Create `features` with one mapping for each run of segments that rises through one shard.

    h5py's own VirtualLayout has one per segment: slow to build, and to read, where a set uses
    rows here and there, as after pictures were removed.
    """
    dim = next(iter(shapes.values()))[1]
    open_runs: dict[str, list[list[tuple[int, Segment]]]] = {}
    at = 0
    for s in segments:
        runs = open_runs.setdefault(s.shard, [])
        # HDF5 pairs two selections in rising order, so a run's rows must rise in the shard too.
        run = next((run for run in runs if run[-1][1].first + run[-1][1].rows <= s.first), None)
        if run is None:
            runs.append([(at, s)])
        else:
            run.append((at, s))
        at += s.rows
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    # A missing shard reads as NaN in other people's readers, never as zeros. Ours refuses it.
    options.set_fill_value(np.array(np.nan, pool.dtype))
    for shard, runs in open_runs.items():
        # Relative to features.h5, so that the whole store can be moved.
        source = f"../../pools/{pool.folder.name}/shards/{shard}.h5".encode()
        for run in runs:
            there = _selected((rows, dim), [(begin, s.rows) for begin, s in run])
            here = _selected(shapes[shard], [(s.first, s.rows) for _, s in run])
            options.set_virtual(there, source, b"features", here)
    space, number = h5py.h5s.create_simple((rows, dim)), h5py.h5t.py_create(pool.dtype)
    h5py.h5d.create(file.id, b"features", number, space, options)


def _selected(shape: tuple[int, int], ranges: Sequence[tuple[int, int]]) -> Any:
    space = h5py.h5s.create_simple(shape)
    how = h5py.h5s.SELECT_SET
    for first, rows in ranges:
        space.select_hyperslab((first, 0), (1, 1), None, (rows, shape[1]), how)
        how = h5py.h5s.SELECT_OR
    return space


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


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
        """How many pictures the base split has, quarantined ones included."""
        return self._identity.candidates

    @cached_property
    def provenance(self) -> Provenance:
        """The circumstances in which the set was made."""
        return Provenance(**self._document("provenance.json"))

    @cached_property
    def features(self) -> Features:
        """The features: (N, D) array-like, mapped from disk and verified shard by shard."""
        segments = [Segment(*segment) for segment in self.manifest["segments"]]
        dim, dtype = self.manifest["dim"], np.dtype(self.manifest["dtype"])
        least: dict[str, int] = {}
        for s in segments:
            least[s.shard] = max(least.get(s.shard, 0), s.first + s.rows)

        def open_features(name: str) -> np.ndarray:
            features = open_shard(self._shard_path(name)).features
            if features.shape[1] != dim or features.dtype != dtype or len(features) < least[name]:
                raise DamagedStore(
                    f"{self._shard_path(name)}: ({least[name]} or more, {dim}) {dtype} expected, "
                    f"{features.shape} {features.dtype} found; {REPAIR}."
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
        ids: np.ndarray = np.char.decode(self._table["example_ids"], "utf-8")
        ids.flags.writeable = False
        return ids

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
        block = pd.DataFrame(np.array(self.features), columns=columns, copy=False)
        names = np.array(self.class_names, dtype=object)[self.labels]
        table = pd.DataFrame({"example_id": self.example_ids, "label": self.labels, "class_name": names})
        return pd.concat([table, block], axis=1)

    def verify(self) -> None:
        """Check every byte of the set and of the shards it needs.

        Raises:
            DamagedStore: naming the first file that is not what was published.
        """
        for name in self.manifest["parts"]:
            self._part(name)
        if (self._identity.digest, self._identity.pool) != (self.key, self.manifest["pool"]):
            raise DamagedStore(f"{self.folder}/set.json: another set's document; {REPAIR}.")
        for name in dict.fromkeys(shard for shard, _, _ in self.manifest["segments"]):
            verify_file(self._shard_path(name), name)

    def _shard_path(self, name: str) -> Path:
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
        return unseal(self._part(name), self.folder / name)
