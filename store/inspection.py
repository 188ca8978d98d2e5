"""What `verify --deep` looks at once the bytes are known to be right: whether they mean what they must.

Each function yields a sentence per fault. What cannot be read at all raises `DamagedStore` instead.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from store.features import Segment
from store.hdf5 import open_checked, virtual_rows
from store.keys import rows_digest
from store.layout import unexpected
from store.results import OPTIONAL_PREDICTION_COLUMNS, PREDICTION_COLUMNS, ProbeResult
from store.sets import LEDGER_COLUMNS, OPTIONAL_LEDGER_COLUMNS, FeatureSet
from store.shards import open_shard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["run_faults", "set_faults", "shard_faults"]

# Rows looked at together: a shard of any size is read in little memory.
_ROWS = 4096


def shard_faults(path: Path, dtype: np.dtype | None, dim: int | None) -> Iterator[str]:
    """Look at a shard's schema and numbers.

    Args:
        path: of the shard.
        dtype: what its pool's key says; None where that cannot be read.
        dim: columns of the pool's other shards; None for the first.
    """
    shard = open_shard(path)
    features, contents = shard.features, shard.content_sha256
    if dtype is not None and features.dtype != dtype:
        yield f"{dtype} features expected by pool.json, {features.dtype} found"
    if dim is not None and features.shape[1] != dim:
        yield f"{dim} columns expected as in the pool's other shards, {features.shape[1]} found"
    for begin in range(0, len(features), _ROWS):
        is_finite = np.isfinite(features[begin : begin + _ROWS]).all(axis=1)
        if not is_finite.all():
            row = begin + int(np.argmin(is_finite))
            yield f"finite features expected, found others in row {row} (image {contents[row].tobytes().hex()})"
            break
    distinct = len(np.unique(contents, axis=0))
    if distinct != len(contents):
        yield f"a row per image expected, {len(contents)} rows for {distinct} images found"


def set_faults(features: FeatureSet) -> Iterator[str]:
    """Look at a set's tables: whether ledger, features.h5, set.json, segments and shards tell one story."""
    manifest, ledger = features.manifest, features.ledger()
    if fault := unexpected(list(ledger.columns), LEDGER_COLUMNS, OPTIONAL_LEDGER_COLUMNS):
        yield f"ledger.parquet: columns {fault}"
        return
    yield from _ledger_faults(features, ledger)
    ok = ledger[ledger["status"] == "ok"]
    for name, told, stored in (
        ("example_ids", ok["example_id"].tolist(), features.example_ids.tolist()),
        ("labels", ok["label"].tolist(), features.labels.tolist()),
        ("content_sha256", ok["content_sha256"].tolist(), [c.tobytes().hex() for c in features.content_sha256]),
    ):
        if told != stored:
            yield f"features.h5: {name} as in ledger.parquet expected, {_difference(told, stored)}"
    segments = [Segment(*segment) for segment in manifest["segments"]]
    if sum(s.rows for s in segments) != manifest["rows"]:
        yield f"manifest.json: segments of {manifest['rows']} rows expected, {sum(s.rows for s in segments)} found"
        return
    yield from _segment_faults(features, segments)
    yield from _virtual_faults(features, segments)


def _ledger_faults(features: FeatureSet, ledger: "pd.DataFrame") -> Iterator[str]:
    manifest, status = features.manifest, ledger["status"]
    counted = (len(ledger), int((status == "ok").sum()), int((status == "quarantined").sum()))
    expected = (features.candidates, manifest["rows"], manifest["quarantined"])
    if counted != expected or counted[0] != counted[1] + counted[2]:
        yield f"ledger.parquet: candidates, ok and quarantined {expected} expected, {counted} found"
    twice = ledger["example_id"][ledger["example_id"].duplicated()]
    if len(twice):
        yield f"ledger.parquet: each example id once expected, {twice.iloc[0]!r} found again"
    labels = ledger["label"][status == "ok"]
    if len(labels) and not labels.between(0, len(features.class_names) - 1).all():
        yield (
            f"ledger.parquet: labels 0 to {len(features.class_names) - 1} expected, "
            f"{labels.min()} to {labels.max()} found"
        )
    rows = zip(ledger["example_id"], ledger["content_sha256"], ledger["label"].tolist(), status, strict=True)
    found = rows_digest(rows)
    if found != features.rows_sha256:
        yield f"ledger.parquet: rows of digest {features.rows_sha256} expected by set.json, {found} found"


def _segment_faults(features: FeatureSet, segments: Sequence[Segment]) -> Iterator[str]:
    dim, dtype = features.manifest["dim"], np.dtype(features.manifest["dtype"])
    known: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(s.shard for s in segments):
        shard = open_shard(features.shard_path(name))
        known[name] = shard.content_sha256
        found = shard.features.shape[1], shard.features.dtype
        if found != (dim, dtype):
            yield f"shard {name}: {dim} columns of {dtype} expected, {found[0]} of {found[1]} found"
    begin = 0
    for s in segments:
        contents = features.content_sha256[begin : begin + s.rows]
        if not np.array_equal(known[s.shard][s.first : s.first + s.rows], contents):
            yield (
                f"shard {s.shard}: rows {s.first} to {s.first + s.rows - 1} of the images in rows {begin} to "
                f"{begin + s.rows - 1} of the set expected, rows of others found"
            )
        begin += s.rows


def _virtual_faults(features: FeatureSet, segments: Sequence[Segment]) -> Iterator[str]:
    """Compare where features.h5 sends other people's readers with where ours look."""
    numbers = {name: at for at, name in enumerate(dict.fromkeys(s.shard for s in segments))}
    ours = np.concatenate(
        [np.stack([np.full(s.rows, numbers[s.shard]), s.first + np.arange(s.rows)]) for s in segments], axis=1
    )
    theirs = np.full_like(ours, -1)
    with open_checked(features.path, features.manifest["parts"]["features.h5"]) as file:
        for source, here, there in virtual_rows(file["features"]):
            shard = Path(source).stem
            if len(here) == len(there) and len(here) and here[-1] < ours.shape[1] and shard in numbers:
                theirs[:, here] = [np.full(len(here), numbers[shard]), there]
    wrong = np.flatnonzero((ours != theirs).any(axis=0))
    if len(wrong):
        yield f"features.h5: the rows that manifest.json names expected, row {wrong[0]} is mapped elsewhere"


def _difference(told: Sequence[object], stored: Sequence[object]) -> str:
    if len(told) != len(stored):
        return f"{len(stored)} found for {len(told)}"
    at = next(at for at, pair in enumerate(zip(told, stored, strict=True)) if pair[0] != pair[1])
    return f"{stored[at]!r} found for {told[at]!r} in row {at}"


def run_faults(run: ProbeResult) -> Iterator[str]:
    """Look at a run: whether its predictions, its counts and its accuracy tell one story."""
    predictions = run.predictions
    if fault := unexpected(list(predictions.columns), PREDICTION_COLUMNS, OPTIONAL_PREDICTION_COLUMNS):
        yield f"predictions.parquet: columns {fault}"
        return
    if len(predictions) != run.counts["n_test"]:
        yield f"predictions.parquet: {run.counts['n_test']} rows expected by run.json, {len(predictions)} found"
    if not (predictions["is_correct"] == (predictions["label"] == predictions["predicted"])).all():
        yield "predictions.parquet: is_correct where label and predicted are equal expected, found otherwise"
    accuracy = float(predictions["is_correct"].mean())
    if not abs(accuracy - run.metrics["accuracy"]) <= 1e-9:
        yield f"run.json: accuracy {accuracy} expected from predictions.parquet, {run.metrics['accuracy']} found"
    classes = len(run.class_names)
    for column in ("label", "predicted"):
        if not predictions[column].between(0, classes - 1).all():
            yield f"predictions.parquet: {column} 0 to {classes - 1} expected, found others"
    for name, array in run.head.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            yield f"head.npz: finite numbers expected in {name}, found others"
