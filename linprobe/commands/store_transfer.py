"""`linprobe store export` and `store import`."""

from pathlib import Path
from typing import Any

from extract import SourceUnavailable
from linprobe.job.errors import ConfigError
from linprobe.job.session import Session
from store import FeatureStore, export_set, import_features, read_features

__all__ = ["export_features", "import_npz"]


def export_features(store: FeatureStore, key: str, out: Path, *, export_format: str) -> tuple[str, dict[str, Any]]:
    """Write one set to a file; return what was written, as text and as a document."""
    features = store.get(key=key)
    if out.is_dir():
        raise ConfigError(f"--out {out}: a file's path expected, a folder found; name a file in it.")
    try:
        size = export_set(features, out, export_format)
    except ValueError as error:
        raise ConfigError(f"--out {error}") from error
    rows, dim = features.features.shape
    document = {"key": features.key, "path": str(out), "format": export_format, "rows": rows, "dim": dim, "bytes": size}
    return f"{out}: {rows:,} rows of {dim:,} features, {size:,} bytes", document


def import_npz(file: Path, session: Session, *, name: str, extractor: str) -> tuple[str, dict[str, Any]]:
    """Publish the features of an npz file; return the result, as text and as a document.

    Args:
        file: holds the features.
        session: whose store gets them; it is made, if need be, when the file is known to be sound.
        name: what the dataset is called.
        extractor: what the extractor is called.

    Raises:
        SourceUnavailable: there is no such file.
        InvalidFeatures: it is not what can be taken.
    """
    for option, text in (("--name", name), ("--extractor", extractor)):
        if not text.strip():
            raise ConfigError(f"{option}: a name expected, none found.")
    try:
        imported = read_features(file)
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{file}: an npz file expected, no file found.") from error
    source = f"import:{file.absolute()}"
    environment = session.environment
    features, is_new = import_features(
        session.create_store(),
        imported,
        name,
        extractor=extractor,
        source=source,
        created=environment.now(),
        host=environment.host,
    )
    rows, dim = features.features.shape
    document = {
        "key": features.key, "dataset": name, "split": features.split, "extractor": extractor, "rows": rows, "dim": dim,
        "classes": len(features.class_names), "status": "imported" if is_new else "cached",
    }  # fmt: skip
    line = f"{name}/{features.split} {extractor}: {rows:,} rows of {dim:,} features, {document['status']}"
    return f"{line}; 'linprobe probe --dataset {name} --extractor {extractor}' works on them", document
