"""A set as one file for other tools: Parquet, CSV or npz, streamed, so that memory stays flat."""

import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from store.commit import TEMP_PREFIX, sync_folder
from store.sets import FeatureSet, feature_columns

__all__ = ["EXPORT_FORMATS", "export_set"]

# Rows in memory at a time, and of a Parquet row group: 20 MB at 1,280 float32.
_ROWS = 4096


def export_set(features: FeatureSet, path: Path, export_format: str) -> int:
    """Write a set to one file, beside its place and renamed, so that nobody sees half of it.

    Args:
        features: what to write; each shard is verified before a row of it is written.
        path: of the file, outside the store; one that is there is replaced.
        export_format: a name of `EXPORT_FORMATS`.

    Returns:
        The file's size in bytes.

    Raises:
        ValueError: no such format, or a path within the store.
        DamagedStore: the set is not what was published; nothing is written.
        OSError: the file cannot be written.
    """
    if export_format not in EXPORT_FORMATS:
        raise ValueError(f"{export_format!r}: one of {', '.join(EXPORT_FORMATS)} expected as format.")
    store = features.folder.parent.parent.resolve()
    if path.resolve().is_relative_to(store):
        raise ValueError(f"{path}: a path outside the store {store} expected; nothing but its own files belongs there.")
    with _replacing(path) as temp:
        EXPORT_FORMATS[export_format](features, temp)
    return path.stat().st_size


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(6)}")
    try:
        yield temp
        with temp.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)
    sync_folder(path.parent)


def _chunks(features: FeatureSet) -> Iterator[slice]:
    for begin in range(0, len(features.features), _ROWS):
        yield slice(begin, min(begin + _ROWS, len(features.features)))


def _write_parquet(features: FeatureSet, path: Path) -> None:
    import pyarrow as pa  # 50 ms that no other command needs
    import pyarrow.parquet

    dim = features.features.shape[1]
    numbers = pa.from_numpy_dtype(features.features.dtype)
    about = {"set": features.key, "split": features.split, "class_names": json.dumps(features.class_names)}
    schema = pa.schema(
        [
            ("example_id", pa.string()),
            ("label", pa.int64()),
            ("class_name", pa.string()),
            ("content_sha256", pa.binary(32)),
            ("features", pa.list_(numbers, dim)),
        ],
        {f"linprobe.{name}": text for name, text in about.items()},
    )
    names = np.array(features.class_names, dtype=object)
    # Floats do not compress, and a dictionary of them would be as large as they are.
    options = {"use_dictionary": ["class_name"], "compression": "none"}
    with pa.parquet.ParquetWriter(path, schema, **options) as writer:
        for rows in _chunks(features):
            flat = pa.array(np.ascontiguousarray(features.features[rows]).reshape(-1), numbers)
            columns = [
                pa.array(features.example_ids[rows].tolist(), pa.string()),
                pa.array(features.labels[rows]),
                pa.array(names[features.labels[rows]], pa.string()),
                pa.array([content.tobytes() for content in features.content_sha256[rows]], pa.binary(32)),
                pa.FixedSizeListArray.from_arrays(flat, dim),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _write_csv(features: FeatureSet, path: Path) -> None:
    import pandas as pd

    columns = feature_columns(features.features.shape[1])
    names = np.array(features.class_names, dtype=object)
    with path.open("w", encoding="utf-8", newline="") as file:
        for rows in _chunks(features):
            labels = features.labels[rows]
            table = pd.DataFrame(
                {"example_id": features.example_ids[rows], "label": labels, "class_name": names[labels]}
            )
            block = pd.DataFrame(features.features[rows], columns=columns, copy=False)
            # The shortest digits that read back as the same number.
            pd.concat([table, block], axis=1).to_csv(file, index=False, header=rows.start == 0, lineterminator="\n")


def _write_npz(features: FeatureSet, path: Path) -> None:
    """Write what `numpy.load` reads, and `linprobe store import` too."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        stored = features.features
        _write_member(
            archive, "features", stored.dtype, shape=stored.shape, pieces=(stored[rows] for rows in _chunks(features))
        )
        for name, array in (
            ("labels", features.labels),
            ("example_ids", features.example_ids),
            ("class_names", np.array(features.class_names)),
            ("content_sha256", features.content_sha256),
        ):
            _write_member(archive, name, array.dtype, shape=array.shape, pieces=iter([array]))


def _write_member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, *, shape: tuple[int, ...], pieces: Iterator[np.ndarray]
) -> None:
    # The oldest date that a zip file knows: the same set gives the same bytes.
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece).tobytes())


EXPORT_FORMATS: dict[str, Callable[[FeatureSet, Path], None]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "npz": _write_npz,
}
