"""`linprobe store ls` and `linprobe store show`."""

import dataclasses
import json
from typing import Any

from linprobe.job.journal import night_row
from linprobe.job.text_table import text_table
from store import FeatureSet, FeatureSetNotFound, FeatureStore, RunNotFound
from store.metrics import columns_of
from store.names import shortest_ends
from store.settings import SETTINGS

__all__ = ["list_nights", "list_runs", "list_sets", "show"]

# What tells runs apart, and what they gave: the rest is in `store show` and `results()`.
_OF_RUNS = ["run_id", *(setting.name for setting in SETTINGS.values() if setting.is_listed)]
_OF_RUNS += ["n_train", "n_test", *columns_of("accuracy"), "converged", "created"]


# What is shown of a night even where there is none of it.
_OF_NIGHTS = ("night", "begun", "how", "exit_code", "seconds", "images", "forward_passes", "runs")


def list_sets(store: FeatureStore) -> tuple[str, dict[str, Any]]:
    """Return every published set, as a table and as documents; pandas is not imported for them."""
    rows = store.catalog_rows()
    if not rows:
        return f"{store.path}: no sets yet.", {"sets": []}
    # To the millisecond, as pandas writes a time.
    documents = [{**row, "created": row["created"].replace("Z", ".000Z")} for row in rows]
    ends = shortest_ends({row["dataset"] for row in rows})
    shown = [
        {
            **row,
            "key": row["key"][:12],
            "dataset": ends[row["dataset"]],
            "created": row["created"][:16].replace("T", " "),
            "is_current": str(row["is_current"]),
        }
        for row in rows
    ]
    return text_table(shown, list(rows[0])), {"sets": documents}


def list_runs(store: FeatureStore) -> tuple[str, dict[str, Any]]:
    """Return every run, the newest last, as a table of what tells them apart and as documents of all there is."""
    rows = store.results_rows()
    if not rows:
        return f"{store.path}: no runs yet.", {"runs": []}
    # What one run has and another has not is null there.
    names = dict.fromkeys(name for row in rows for name in row)
    ends = shortest_ends({row["dataset"] for row in rows})
    shown = [
        {**row, "run_id": row["run_id"][:12], "dataset": ends[row["dataset"]], "converged": str(row["converged"])}
        for row in rows
    ]
    return text_table(shown, _OF_RUNS), {"runs": [{name: row.get(name) for name in names} for row in rows]}


def list_nights(store: FeatureStore) -> tuple[str, dict[str, Any]]:
    """Return every night, the last at the end: a table of how it ended, and documents of all that the journal says."""
    nights = store.nights()
    if not nights:
        return f"{store.path}: no nights yet; 'linprobe nightly' makes them.", {"nights": []}
    shown = [{**row, "night": row["night"][:12]} for row in map(night_row, nights)]
    for row in shown:
        row["errors"] = row["errors"][:100]
    columns = [name for name in shown[0] if name != "ended" and (name in _OF_NIGHTS or any(row[name] for row in shown))]
    text = text_table([{name: "" if row[name] is None else row[name] for name in columns} for row in shown], columns)
    return text, {"nights": nights}


def show(store: FeatureStore, key: str) -> tuple[str, dict[str, Any]]:
    """Return one set or run, as text and as a document.

    Raises:
        FeatureSetNotFound: neither a set nor a run answers to the key.
    """
    try:
        document = _set_document(store.get(key=key))
    except FeatureSetNotFound as error:
        try:
            document = _run_document(store, key)
        except RunNotFound:
            raise FeatureSetNotFound(
                f"{key}: no set and no run of {store.path} begins so; 'linprobe store ls' lists the sets."
            ) from error
    return json.dumps(document, indent=2, ensure_ascii=False), document


def _set_document(features: FeatureSet) -> dict[str, Any]:
    ledger = features.ledger()
    bad = ledger[ledger["status"] != "ok"]
    return {
        "key": features.key,
        "path": str(features.path),
        "split": features.split,
        "rows": len(features.features),
        "dim": features.features.shape[1],
        "dtype": str(features.features.dtype),
        "class_names": features.class_names,
        "pool": features.manifest["pool"],
        "shards": sorted({segment[0] for segment in features.manifest["segments"]}),
        "quarantined": json.loads(bad[["example_id", "reason", "format"]].to_json(orient="records")),
        "provenance": dataclasses.asdict(features.provenance),
    }


def _run_document(store: FeatureStore, key: str) -> dict[str, Any]:
    run = store.run(key)
    kept = ("run_id", "config", "counts", "selection", "metrics", "fit", "warnings", "seconds", "created", "versions")
    document = {name: getattr(run, name) for name in kept}
    return {**document, "head": {name: list(array.shape) for name, array in run.head.items()}}
