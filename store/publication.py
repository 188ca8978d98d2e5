"""Publishing a set: its table, its one HDF5 file over the pool's shards, its manifest last."""

import dataclasses
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from store.commit import publish_folder
from store.documents import seal
from store.errors import DamagedStore, MissingFile, StoreBusy
from store.features import Segment, segments_of
from store.hdf5 import build_file
from store.keys import Provenance, SetKey
from store.pool import Pool
from store.sets import LEDGER_COLUMNS, OPTIONAL_LEDGER_COLUMNS, FeatureSet
from store.shards import Shard, open_shard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["find_damage", "publish_set"]

# The ids are stored at the width of the longest, so one of a megabyte would cost that in every row.
_LONGEST_ID = 4096


def _kept_columns(ledger: "pd.DataFrame") -> list[str]:
    return [*LEDGER_COLUMNS, *(name for name in OPTIONAL_LEDGER_COLUMNS if name in ledger.columns)]


def publish_set(
    folder: Path,
    key: SetKey,
    ledger: "pd.DataFrame",
    *,
    pool: Pool,
    provenance: Provenance,
    notes: Mapping[str, Any] | None = None,
) -> bool:
    """Publish a set whose rows all lie in the pool.

    Args:
        folder: `STORE/sets/<set-key>`.
        key: the set's identity.
        ledger: a row per candidate in the source's order, with the columns `LEDGER_COLUMNS`.
        pool: holds a row for each candidate whose status is ok; there is at least one.
        provenance: the circumstances.
        notes: what people are to be told of it; nothing without.

    Returns:
        True if the set was published, False if another writer was first. A damaged one in its
        place is moved aside.

    Raises:
        ValueError: the ledger does not fit the key.
        DamagedStore: the pool's shards do not fit together.
        StoreBusy: the pool lacks a row, or a shard: `gc` took it away meanwhile, and it has to be computed again.
    """
    ok = ledger[ledger["status"] == "ok"]
    ids = _checked_ids(ledger, ok, key)
    segments, shapes = _locate(pool, ok)
    dim = next(iter(shapes.values()))[1]
    files = {
        "set.json": seal(key.document()),
        "features.h5": _features_file(pool, ok, ids, segments=segments, shapes=shapes),
        "ledger.parquet": _parquet(ledger[_kept_columns(ledger)]),
        "provenance.json": seal(dataclasses.asdict(provenance)),
    }
    if notes:
        files["notes.json"] = seal(dict(notes))
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
    is_published = publish_folder(folder, files, lambda found: find_damage(found, key.digest) is None)
    _require_shards(pool, list(shapes), folder)
    return is_published


def _require_shards(pool: Pool, names: Sequence[str], folder: Path) -> None:
    # After the set is published, not before: `gc` looks at the sets again after it has taken a shard
    # away, so of the two one sees the other, without a lock.
    for name in names:
        if not pool.shard_path(name).exists():
            raise StoreBusy(
                f"{folder}: its shard {name} expected in the pool, taken away by 'linprobe store gc' meanwhile; "
                "run it again, its rows will be computed anew."
            )


def find_damage(folder: Path, key: str, sound_shards: Collection[str] = ()) -> str | None:
    """Return what is wrong with a published set or the shards it needs, None if nothing is.

    Reads every byte of both, shards once per process, and not those that are known to be sound.
    """
    try:
        FeatureSet(folder, key).verify(sound_shards)
    except DamagedStore as error:
        return str(error)
    return None


def _checked_ids(ledger: "pd.DataFrame", ok: "pd.DataFrame", key: SetKey) -> list[bytes]:
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


def _locate(pool: Pool, ok: "pd.DataFrame") -> tuple[list[Segment], dict[str, tuple[int, int]]]:
    """Return where the rows lie, and the shape of each shard that has some."""
    index = pool.index()
    addresses = []
    for example_id, content in zip(ok["example_id"], ok["content_sha256"], strict=True):
        address = index.get(bytes.fromhex(content))
        if address is None:
            # Whoever publishes has seen or added every row: no mistake, but `gc` at work between then and now.
            raise StoreBusy(
                f"{example_id}: a row for {content} expected in the pool, none found; taken away by "
                "'linprobe store gc' meanwhile, perhaps. Run it again, it will be computed anew."
            )
        addresses.append((address.shard, address.row))
    segments = segments_of(addresses)
    shapes: dict[str, tuple[int, int]] = {}
    for name in dict.fromkeys(s.shard for s in segments):
        # Its rows are not asked for: to be mapped, the file would have to be there still.
        shard = _open_needed(pool, name)
        shapes[name] = shard.shape
        first = next(iter(shapes))
        if shard.shape[1] != shapes[first][1] or shard.dtype != pool.dtype:
            raise DamagedStore(
                f"{pool.shard_path(name)}: {shapes[first][1]} columns of {pool.dtype} expected as in {first}.h5, "
                f"{shard.shape[1]} of {shard.dtype} found; the pool mixes two extractors, move one of them away."
            )
    return segments, shapes


def _open_needed(pool: Pool, name: str) -> Shard:
    try:
        return open_shard(pool.shard_path(name))
    except MissingFile as error:
        # The pool knew it a moment ago: no damage, but `gc` at work.
        raise StoreBusy(
            f"{pool.shard_path(name)}: taken away by 'linprobe store gc' meanwhile; "
            "run it again, its rows will be computed anew."
        ) from error


def _features_file(
    pool: Pool, ok: "pd.DataFrame", ids: list[bytes], *, segments: Sequence[Segment], shapes: dict[str, tuple[int, int]]
) -> bytes:
    width = max(map(len, ids)) or 1
    contents = np.frombuffer(bytes.fromhex("".join(ok["content_sha256"])), np.uint8).reshape(-1, 32)

    def fill(file: h5py.File) -> None:
        _virtual_features(file, pool, len(ok), segments=segments, shapes=shapes)
        file.create_dataset("labels", data=ok["label"].to_numpy(np.int64), track_times=False)
        text = h5py.string_dtype("utf-8", width)
        file.create_dataset("example_ids", data=np.array(ids, text), track_times=False)
        file.create_dataset("content_sha256", data=contents, track_times=False)

    return build_file(fill)


def _virtual_features(
    file: h5py.File, pool: Pool, rows: int, *, segments: Sequence[Segment], shapes: dict[str, tuple[int, int]]
) -> None:
    """Create `features` with one mapping for each run of segments that rises through one shard.

    h5py's own VirtualLayout has one per segment: slow to build, and to read, where a set uses
    rows here and there, as after images were removed.
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
    options.set_obj_track_times(False)
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


def _parquet(frame: "pd.DataFrame") -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
