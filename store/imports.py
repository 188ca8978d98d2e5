"""Features that were made elsewhere: one npz file becomes a set like any other, to probe and compare.

There are no images, so what a row is a function of is the file itself: its numbers are in the pool's
key, and two files never share a pool, whatever they are called.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from store.catalog import FeatureStore
from store.content_index import CONTENT_BYTES
from store.errors import InvalidFeatures
from store.keys import PoolKey, Provenance, SetKey, rows_digest
from store.npz import read_npz, texts_of
from store.pool import Pool
from store.sets import LEDGER_COLUMNS, FeatureSet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IMPORTED", "ImportedFeatures", "import_features", "read_features"]

SPLIT = "all"
# What stands in the provenance where an engine would.
IMPORTED = "imported"
_KNOWN = ("features", "labels", "class_names", "example_ids", "content_sha256")
# Of one shard. Larger than an extraction's, which are small because a crash costs the rows of one; and
# small enough that several can be in flight.
_SHARD_BYTES = 16 * 2**20
# Of the largest number of a row: rows that differ by less were meant to be equal.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ImportedFeatures:
    """What a file holds, checked.

    Attributes:
        features: (N, D) float32 or float16, finite.
        labels: (N,) int64, 0 to K - 1.
        class_names: the K names.
        example_ids: N distinct ids.
        contents: (N, 32) uint8: SHA-256 of the images, as the file says, or else of the rows.
    """

    features: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    example_ids: tuple[str, ...]
    contents: np.ndarray

    def pool_key(self, extractor: str) -> PoolKey:
        """Return the identity of the rows: all of them, and what the extractor is called."""
        sha = hashlib.sha256(f"{self.features.dtype.str} {self.features.shape}\n".encode())
        sha.update(self.features.data)
        sha.update(self.contents.data)
        dtype = str(self.features.dtype)
        return PoolKey(IMPORTED, sha.hexdigest(), "features", {"extractor": extractor}, dtype)

    def ledger(self) -> "pd.DataFrame":
        """Return a row per example, with the columns `store.LEDGER_COLUMNS`."""
        import pandas as pd

        hashes = [content.tobytes().hex() for content in self.contents]
        frame = pd.DataFrame({"example_id": self.example_ids, "label": self.labels, "content_sha256": hashes})
        frame = frame.assign(group="", status="ok", reason="", format="features", mode="", width=0, height=0, bytes=0)
        return frame[list(LEDGER_COLUMNS)]


def import_features(
    store: FeatureStore,
    imported: ImportedFeatures,
    name: str,
    *,
    extractor: str,
    source: str,
    created: str,
    host: str = "",
) -> tuple[FeatureSet, bool]:
    """Publish features from elsewhere as the base split `all` of a dataset.

    Args:
        store: where they go.
        imported: the features.
        name: what the dataset is called.
        extractor: what the extractor is called.
        source: where they came from, for the provenance.
        created: UTC, ISO 8601 to the second.
        host: the machine's name, for the provenance.

    Returns:
        The set, and whether it is new.

    Raises:
        InvalidFeatures: the dataset has base splits of its own by this extractor.
    """
    others = [split for split in store.splits(name, extractor) if split != SPLIT]
    if others:
        raise InvalidFeatures(
            f"{name} / {extractor}: no other base split than {SPLIT!r} expected, {', '.join(others)} found; "
            "give the import another --name."
        )
    pool_key, ledger = imported.pool_key(extractor), imported.ledger()
    rows = zip(ledger["example_id"], ledger["content_sha256"], ledger["label"].tolist(), ledger["status"], strict=True)
    key = SetKey(pool_key.digest, SPLIT, imported.class_names, len(ledger), rows_digest(rows))
    pool = store.pool(pool_key)
    _add_missing(pool, imported)
    known = store.find_set(key.digest)
    provenance = Provenance(created, name, source, extractor, IMPORTED, host=host)
    found = known or store.publish_set(key, ledger, pool, provenance=provenance)
    store.name_set(name, SPLIT, extractor, key=key.digest, created=created)
    return found, known is None


def _add_missing(pool: Pool, imported: ImportedFeatures) -> None:
    known = pool.index()
    first = {content.tobytes(): at for at, content in reversed(list(enumerate(imported.contents)))}
    chosen = sorted(at for content, at in first.items() if content not in known)
    rows = max(1, _SHARD_BYTES // (imported.features.shape[1] * imported.features.itemsize))
    parts = (chosen[begin : begin + rows] for begin in range(0, len(chosen), rows))
    pool.add_all((imported.features[part], [imported.contents[at].tobytes() for at in part]) for part in parts)


def read_features(path: Path) -> ImportedFeatures:
    """Read and check an npz file; nothing pickled is ever loaded.

    Args:
        path: holds `features` (N, D) float and `labels` (N,) integer, and may hold `class_names`
            (K,) text, `example_ids` (N,) text, `content_sha256` (N, 32) uint8.

    Raises:
        InvalidFeatures: it is anything else.
    """
    try:
        names, arrays = read_npz(path, _KNOWN.__contains__)
        if "features" not in names or "labels" not in names or set(names) - set(_KNOWN):
            raise InvalidFeatures(
                f"features, labels and perhaps {', '.join(_KNOWN[2:])} expected, {', '.join(sorted(names))} found; "
                "rename or remove arrays."
            )
        features = _features(arrays["features"])
        labels = _labels(arrays["labels"], len(features))
        class_names, labels = _classes(arrays.get("class_names"), labels)
        example_ids = _example_ids(arrays.get("example_ids"), len(features))
        contents = _contents(arrays.get("content_sha256"), features)
    except ValueError as error:
        raise InvalidFeatures(f"{path}: {error}") from error
    return ImportedFeatures(features, labels, class_names, example_ids, contents)


def _features(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f" or array.ndim != 2 or not array.size:
        raise InvalidFeatures(f"features: (N, D) floats expected, {array.shape} {array.dtype} found.")
    dtype = np.dtype("<f2") if array.dtype.itemsize == 2 else np.dtype("<f4")
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, dtype)
    is_finite = np.isfinite(features).all(axis=1)
    if not is_finite.all():
        raise InvalidFeatures(
            f"features: numbers finite as {dtype} expected, others found in row {np.argmin(is_finite)}."
        )
    if array.dtype.itemsize > dtype.itemsize:
        _require_distinct(array, features)
    return features


def _require_distinct(given: np.ndarray, kept: np.ndarray) -> None:
    """Refuse numbers whose differences are lost where they are kept with fewer digits.

    Raises:
        InvalidFeatures: rows that differ, by more than rounding, become equal.
    """
    first: dict[bytes, int] = {}
    for row, numbers in enumerate(kept):
        other = first.setdefault(numbers.tobytes(), row)
        if other == row:
            continue
        apart = np.abs(given[row] - given[other]).max()
        if apart > _ROUNDING * np.abs(given[row]).max():
            raise InvalidFeatures(
                f"features: rows {other} and {row} differ by up to {apart:.2g}, and are equal as {kept.dtype}, which "
                "the store keeps; subtract each column's mean, or divide by its deviation, first."
            )


def _labels(array: np.ndarray, rows: int) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.shape != (rows,):
        raise InvalidFeatures(f"labels: ({rows},) integers expected, {array.shape} {array.dtype} found.")
    if array.min() < 0 or array.max() > np.iinfo(np.int64).max:
        raise InvalidFeatures(f"labels: 0 and on expected, {array.min()} to {array.max()} found.")
    return array.astype(np.int64)


def _classes(array: np.ndarray | None, labels: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the classes' names and the labels that count them: without names, what occurs is a class of that name."""
    if array is None:
        values, places = np.unique(labels, return_inverse=True)
        return tuple(str(value) for value in values.tolist()), places.astype(np.int64)
    highest = int(labels.max())
    names = texts_of("class_names", array)
    if len(names) <= highest or len(set(names)) != len(names):
        raise InvalidFeatures(f"class_names: {highest + 1} or more distinct names expected, {len(names)} found.")
    return names, labels


def _example_ids(array: np.ndarray | None, rows: int) -> tuple[str, ...]:
    if array is None:
        return tuple(f"{row:0{len(str(rows - 1))}d}" for row in range(rows))
    ids = texts_of("example_ids", array)
    if len(ids) != rows or len(set(ids)) != rows:
        raise InvalidFeatures(
            f"example_ids: {rows} distinct ids expected, {len(ids)}, {len(set(ids))} distinct, found."
        )
    return ids


def _contents(array: np.ndarray | None, features: np.ndarray) -> np.ndarray:
    if array is None:
        # Equal rows count as equal images, so that splits never part them.
        hashes = [hashlib.sha256(b"imported features\n" + row.tobytes()).digest() for row in features]
        return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, CONTENT_BYTES)
    expected = (len(features), CONTENT_BYTES)
    if array.dtype != np.uint8 or array.shape != expected:
        raise InvalidFeatures(f"content_sha256: {expected} uint8 expected, {array.shape} {array.dtype} found.")
    first: dict[bytes, int] = {}
    for row, content in enumerate(array):
        other = first.setdefault(content.tobytes(), row)
        if not np.array_equal(features[other], features[row]):
            raise InvalidFeatures(
                f"content_sha256: equal rows for one image expected, others in {other} and {row} found."
            )
    return np.ascontiguousarray(array)
