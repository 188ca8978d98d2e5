"""What a job says of each base split it extracted: a document for programs, a line for people."""

from dataclasses import asdict
from typing import Any

from extract import Computed, Extraction, Plan, SizeChange, SplitJob, TimeSpent

__all__ = ["extracted_row", "line_of", "partial_row", "planned_row"]


def extracted_row(dataset: str, job: SplitJob, extraction: Extraction) -> dict[str, Any]:
    """Return the document of a set that is published."""
    manifest = extraction.feature_set.manifest
    return {
        "key": extraction.feature_set.key,
        "dataset": dataset,
        "split": job.split,
        "extractor": job.extractor.name,
        "dim": manifest["dim"],
        "rows": manifest["rows"],
        "quarantined": manifest["quarantined"],
        "ignored": extraction.ignored,
        "adopted": extraction.adopted,
        "told": list(extraction.feature_set.notes.get("told", [])),
        "forward_passes": extraction.forward_passes,
        "reused": extraction.reused,
        "status": extraction.status,
        "seconds": round(extraction.seconds, 3),
        "images_per_second": _speed(extraction.forward_passes, extraction.seconds),
        "engine": extraction.engine,
        "time": _seconds(extraction.time),
        **_sizes(extraction.size),
    }


def _sizes(size: SizeChange | None) -> dict[str, Any]:
    if size is None:
        return dict.fromkeys(("images", "images_before", "classes", "classes_before")) | {"lost_classes": []}
    return {
        "images": size.now.images,
        "images_before": size.before.images if size.before else None,
        "classes": len(size.now.classes),
        "classes_before": len(size.before.classes) if size.before else None,
        "lost_classes": list(size.lost_classes),
    }


def partial_row(dataset: str, job: SplitJob, done: Computed) -> dict[str, Any]:
    """Return the document of a share that is done while others are not: there is no set yet."""
    rows = done.candidates - done.bad
    return {
        "key": "",
        "dataset": dataset,
        "split": job.split,
        "extractor": job.extractor.name,
        "dim": job.extractor.dim,
        "rows": rows,
        "quarantined": done.bad,
        "ignored": sum(job.source.ignored(job.split).values()),
        "adopted": done.adopted,
        "told": [],
        "forward_passes": done.forward_passes,
        "reused": max(0, rows - done.forward_passes),
        "status": "partial",
        "seconds": round(done.seconds, 3),
        "images_per_second": _speed(done.forward_passes, done.seconds),
        "engine": done.engine,
        "time": _seconds(done.time),
        **_sizes(None),
        "shard": str(job.share),
    }


def planned_row(dataset: str, job: SplitJob, plan: Plan) -> dict[str, Any]:
    """Return the document of a dry run."""
    return {
        "key": plan.key,
        "dataset": dataset,
        "split": job.split,
        "extractor": job.extractor.name,
        "dim": job.extractor.dim,
        "rows": plan.rows,
        "quarantined": plan.quarantined,
        "ignored": plan.ignored,
        "adopted": 0,
        "told": list(plan.told),
        "forward_passes": plan.missing,
        "reused": plan.rows - plan.missing,
        "status": "cached" if plan.key else "planned",
        "seconds": 0.0,
        "images_per_second": 0.0,
        "engine": "",
        "time": _seconds(TimeSpent()),
        **_sizes(None),
    }


def _speed(forward_passes: int, seconds: float) -> float:
    return round(forward_passes / seconds, 1) if forward_passes else 0.0


def _seconds(spent: TimeSpent) -> dict[str, float]:
    return {stage: round(seconds, 3) for stage, seconds in asdict(spent).items()}


def line_of(row: dict[str, Any], dataset: str) -> str:
    """Return what people read of such a document.

    Args:
        row: the document.
        dataset: what they read instead of the dataset's full name.
    """
    name = f"{dataset}/{row['split']} {row['extractor']}"
    counts = f"{row['rows']:,} rows"
    for field_name in ("quarantined", "ignored"):
        counts += f", {row[field_name]:,} {field_name}" if row[field_name] else ""
    counts += _changes(row)
    if row["status"] == "cached":
        return f"{name}: cached, {counts}, no forward pass"
    adopted = f" ({row['adopted']:,} from a pool of other rules)" if row["adopted"] else ""
    work = f"{row['forward_passes']:,} forward passes, {row['reused']:,} reused{adopted}"
    if row["status"] == "planned":
        return f"{name}: would take {work} ({counts})"
    speed = f"{work} in {row['seconds']:.1f} s ({row['images_per_second']:,.0f} images/s)"
    spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["time"].items())
    done = f"{counts}; {speed}; seconds: {spent}"
    if row["status"] == "partial":
        return f"{name}: shard {row['shard']} is done: {done}; whoever computes the last row publishes the set"
    return f"{name}: {done}"


def _changes(row: dict[str, Any]) -> str:
    """Return what differs from the size last accepted; nothing where nothing does, or there was none."""
    changes = [
        f"{row[f'{what}_before']:,} {what} before, {row[what]:,} now"
        for what in ("images", "classes")
        if row[f"{what}_before"] not in (None, row[what])
    ]
    return f" ({'; '.join(changes)})" if changes else ""
