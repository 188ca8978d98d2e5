"""Probe runs: plain data of one training and its test, kept whole.

runs/<run-id>/run.json             configuration, selection, metrics, warnings, circumstances
              predictions.parquet  a row per test example
              probabilities.parquet  a row per test example, and per training image that was held out: of every class
              curves.parquet       a row per epoch (none for a head without epochs)
              head.npz             the head as plain arrays
              manifest.json        digests of the parts
"""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from store.commit import publish_folder
from store.documents import read_sealed, seal, unseal
from store.errors import REPAIR, DamagedStore
from store.hdf5 import read_checked
from store.layout import unexpected
from store.older_runs import completed, completed_predictions
from store.probability_tables import read_probabilities
from store.settings import SETTINGS, protocol_of, values_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "OPTIONAL_PREDICTION_COLUMNS",
    "OPTIONAL_RUN_PARTS",
    "PREDICTION_COLUMNS",
    "RUN_PARTS",
    "ProbeResult",
    "RunFolder",
    "RunRecord",
    "find_damage",
    "publish_run",
    "run_row",
]

PREDICTION_COLUMNS = (
    "example_id", "content_sha256", "group", "label", "predicted", "is_correct", "confidence", "label_probability"
)  # fmt: skip
OPTIONAL_PREDICTION_COLUMNS = ("probabilities", "logits", "weight")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What run.json says of a run: all but its tables and arrays. No library is needed to read it.

    Attributes:
        run_id: digest of sets, splits, head configuration, seed and protocol version.
        config: what was asked: `dataset`, `extractor`, `head`, `options`, `train`, `validation`,
            `test`, `seed`, `shots`, `sets` (base split → set key), `protocol`; and where heads were trained
            on views of their images, `views` (how many) and `view_sets` (one after another, as `sets`).
        counts: `n_train`, `n_validation`, `n_test`, `dim`, `classes`; `n_train` counts images, and
            `n_train_rows`, where there are views, their rows and those of their views.
        selection: `method`, `selected` (option → value), `table` (a record per candidate tried),
            `notes`.
        metrics: name → number; `accuracy` with `accuracy_low` and `accuracy_high` (95%).
        class_names: in label order.
        fit: how the final fit went: `converged`, `iterations`, and what the head adds.
        warnings: what a reader must know before believing the numbers.
        seconds: from selection to test metrics.
        created: UTC, ISO 8601 to the second.
        versions: package name → version.
    """

    run_id: str
    config: Mapping[str, Any]
    counts: Mapping[str, int]
    selection: Mapping[str, Any]
    metrics: Mapping[str, float]
    class_names: tuple[str, ...]
    fit: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def views(self) -> int:
        """How many views of each training image it was trained on; 0 where its configuration does not say."""
        return int(self.config.get("views", SETTINGS["views"].default))

    @property
    def protocol(self) -> int:
        """The version of the probe protocol that made it."""
        return protocol_of(self.config)

    @classmethod
    def of_document(cls, run_id: str, document: Mapping[str, Any]) -> "RunRecord":
        """Return what a run.json says."""
        lists = {name: tuple(document[name]) for name in ("class_names", "warnings")}
        return RunRecord(run_id=run_id, **{**document, **lists})


@dataclass(frozen=True, kw_only=True)
class ProbeResult(RunRecord):
    """One probe run, whole.

    Attributes:
        predictions: a row per test example, columns `PREDICTION_COLUMNS`.
        curves: a row per epoch; empty for a head that has none.
        head: name → array: what the trained head is, enough to predict again.
        probabilities: as they are to be kept, see `probability_table`; None where the run is read, for they are large.
    """

    predictions: "pd.DataFrame"
    curves: "pd.DataFrame"
    head: Mapping[str, np.ndarray]
    probabilities: "pd.DataFrame | None" = None


RUN_PARTS = ("run.json", "predictions.parquet", "curves.parquet", "head.npz")
# What a later version may write besides; this one reads past it.
PROBABILITIES = "probabilities.parquet"
OPTIONAL_RUN_PARTS = (PROBABILITIES, "notes.json")

# Of the features that a run was trained on, since protocol 3.
_OF_FEATURES = ("pool_key", "weights_sha256", "preset")

_DOCUMENT = (
    "config",
    "counts",
    "selection",
    "metrics",
    "class_names",
    "fit",
    "warnings",
    "seconds",
    "created",
    "versions",
)


def publish_run(folder: Path, result: ProbeResult) -> bool:
    """Publish a run.

    Args:
        folder: `STORE/runs/<run-id>`.
        result: the run.

    Returns:
        True if the run was published, False if it was there already. A damaged one in its place
        is moved aside.

    Raises:
        ValueError: the run's id is not in lower-case hexadecimal digits.
    """
    if not re.fullmatch("[0-9a-f]+", result.run_id):
        raise ValueError(f"{result.run_id!r}: lower-case hexadecimal digits expected as run id.")
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **dict(result.head))
    files = {
        "run.json": seal({name: getattr(result, name) for name in _DOCUMENT}),
        "predictions.parquet": _parquet(result.predictions[_kept_columns(result.predictions)]),
        "curves.parquet": _parquet(result.curves),
        "head.npz": arrays.getvalue(),
    }
    if result.probabilities is not None:
        files[PROBABILITIES] = _parquet(result.probabilities)
    parts = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files["manifest.json"] = seal({"parts": parts, "run": result.run_id})
    return publish_folder(folder, files, lambda found: find_damage(found, result.run_id) is None)


def find_damage(folder: Path, run_id: str) -> str | None:
    """Return what is wrong with a published run, None if nothing is."""
    try:
        run = RunFolder(folder, run_id)
        for name in run.parts:
            run.part(name)
    except DamagedStore as error:
        return str(error)
    return None


def _kept_columns(predictions: "pd.DataFrame") -> list[str]:
    return [*PREDICTION_COLUMNS, *(name for name in OPTIONAL_PREDICTION_COLUMNS if name in predictions.columns)]


def _parquet(frame: "pd.DataFrame") -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def run_row(run_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run as one flat row of `FeatureStore.results()`.

    Args:
        run_id: the run.
        document: what its run.json says; the table of `selection` is not needed.
    """
    settings = values_of(document["config"], but=["options"])
    # As they have always been ordered: those of the first version, then those that came later.
    later = ("train_share", "views", "metric")
    return {
        "run_id": run_id,
        **{name: value for name, value in settings.items() if name not in later},
        **{name: settings[name] for name in later},
        "options": document["config"].get("options", {}),
        **{name: document["config"].get(name, "") for name in _OF_FEATURES},
        "protocol": protocol_of(document["config"]),
        **document["counts"],
        **document["metrics"],
        "selected": document["selection"]["selected"],
        "converged": bool(document["fit"]["converged"]),
        "warnings": len(document["warnings"]),
        "seconds": document["seconds"],
        "created": document["created"],
    }


class RunFolder:
    """The reader of one published run; each part is verified when it is read.

    Args:
        folder: `STORE/runs/<run-id>`.
        run_id: if the folder is called otherwise.
    """

    def __init__(self, folder: Path, run_id: str = "") -> None:
        self.folder = folder
        manifest = read_sealed(folder / "manifest.json")
        if manifest["run"] != (run_id or folder.name):
            raise DamagedStore(f"{folder}: run {run_id or folder.name} expected, {manifest['run']} found; {REPAIR}.")
        self.parts: dict[str, str] = manifest["parts"]
        # Names of parts become paths.
        fault = unexpected(sorted(self.parts), RUN_PARTS, OPTIONAL_RUN_PARTS)
        if fault:
            raise DamagedStore(f"{folder}: parts {fault}; {REPAIR}.")

    def result(self) -> ProbeResult:
        """Return the whole run."""
        import pandas as pd

        record = self.record()
        with np.load(io.BytesIO(self.part("head.npz")), allow_pickle=False) as arrays:
            head = {name: arrays[name] for name in arrays.files}
        return ProbeResult(
            **{name: getattr(record, name) for name in ("run_id", *_DOCUMENT)},
            predictions=self.predictions(),
            curves=pd.read_parquet(io.BytesIO(self.part("curves.parquet"))),
            head=head,
        )

    def record(self) -> RunRecord:
        """Return what run.json says, typed; the run's tables are not read."""
        return RunRecord.of_document(self.folder.name, self.document())

    def document(self) -> dict[str, Any]:
        """Return what run.json says, completed where an earlier version wrote it; the run's tables are not read."""
        return completed(unseal(self.part("run.json"), self.folder / "run.json", is_proven=True))

    def sets(self) -> list[str]:
        """Return the keys of the sets that the run used."""
        config = self.document()["config"]
        by_split = [config.get("sets", {}), *config.get("view_sets", ())]
        return [key for sets in by_split for key in sets.values()]

    def predictions(self) -> "pd.DataFrame":
        """Return a row per test example."""
        import pandas as pd

        return completed_predictions(pd.read_parquet(io.BytesIO(self.part("predictions.parquet"))))

    def probabilities(self, part: str, class_names: Sequence[str]) -> "pd.DataFrame | None":
        """Return what was kept of a part, a row per example and a column per class; None where nothing was.

        Args:
            part: `test` or `held_out`.
            class_names: K.
        """
        import pandas as pd

        if PROBABILITIES not in self.parts:
            return None
        table = pd.read_parquet(io.BytesIO(self.part(PROBABILITIES)))
        table = table[table["part"] == part]
        return read_probabilities(table, class_names)

    def part(self, name: str) -> bytes:
        """Return the checked bytes of a part."""
        return read_checked(self.folder / name, self.parts[name])
