"""`linprobe store ls` and `linprobe store show`."""

import dataclasses
import json
from typing import Any

from store import FeatureSet, FeatureSetNotFound, FeatureStore, RunNotFound

__all__ = ["list_runs", "list_sets", "show"]

# What tells runs apart, and what they gave: the rest is in `store show` and `results()`.
_OF_RUNS = ["run_id", "dataset", "extractor", "head", "seed", "shots", "train_share", "train", "test"]
_OF_RUNS += ["n_train", "n_test", "accuracy", "accuracy_low", "accuracy_high", "converged", "created"]


def list_sets(store: FeatureStore) -> tuple[str, dict[str, Any]]:
    """Return every published set, as a table and as documents."""
    catalog = store.catalog()
    documents = json.loads(catalog.to_json(orient="records", date_format="iso"))
    if catalog.empty:
        return f"{store.path}: no sets yet.", {"sets": []}
    shown = catalog.assign(key=catalog["key"].str[:12], created=catalog["created"].dt.strftime("%Y-%m-%d %H:%M"))
    return shown.to_string(index=False), {"sets": documents}


def list_runs(store: FeatureStore) -> tuple[str, dict[str, Any]]:
    """Return every run, the newest last, as a table of what tells them apart and as documents of all there is."""
    results = store.results()
    documents = json.loads(results.to_json(orient="records", double_precision=15))
    if results.empty:
        return f"{store.path}: no runs yet.", {"runs": []}
    shown = results[_OF_RUNS].assign(run_id=results["run_id"].str[:12])
    return shown.to_string(index=False, float_format="{:.4f}".format), {"runs": documents}


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
