"""Numbers of the last night for Prometheus: a text file that node_exporter's textfile collector reads."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from store.commit import replace_disposable

__all__ = ["write_metrics"]

_PART = ("dataset", "split", "extractor")
_QUESTION = ("dataset", "extractor", "head", "seed", "shots", "train_share", "views", "metric")


def write_metrics(path: Path, nights: Sequence[Mapping[str, Any]]) -> None:
    """Write the numbers of the last night that has ended; readers see the old file or the new one.

    Args:
        path: the file, whose name ends with `.prom`.
        nights: the journal, the last at the end.

    Raises:
        OSError: it cannot be written.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"linprobe_{name}", meaning, labels, registry=registry)

    ended = [night for night in nights if night.get("exit_code") is not None]
    last = ended[-1]
    gauge("night_end_timestamp_seconds", "When the last night ended.").set(_seconds(last["ended"]))
    good = [night for night in ended if night["exit_code"] == 0]
    if good:
        success = gauge("night_success_timestamp_seconds", "When a night last ended with exit code 0.")
        success.set(_seconds(good[-1]["ended"]))
    gauge("night_duration_seconds", "How long the last night took.").set(last["seconds"])
    gauge("night_exit_code", "What the last night ended with.").set(last["exit_code"])
    gauge("night_failed_parts", "Parts of the last night that failed.").set(len(last.get("errors") or ()))
    gauge("night_forward_passes", "Images that the last night computed.").set(
        (last.get("computed") or {}).get("forward_passes", 0)
    )
    counts = (
        ("images", "Images of a base split."),
        ("rows", "Rows of features of a base split."),
        ("quarantined", "Images of a base split that could not be decoded."),
    )
    for name, meaning in counts:
        found = gauge(name, meaning, _PART)
        for row in last.get("found") or ():
            found.labels(*(row[label] for label in _PART)).set(row.get(name) or 0)
    lost = gauge("lost_images", "Images fewer than the size that was last accepted.", _PART)
    for row in last.get("found") or ():
        fewer = (row.get("images_before") or 0) - (row.get("images") or 0)
        lost.labels(*(row[label] for label in _PART)).set(max(0, fewer))
    answers = gauge("result", "The metric of the run that answers a question, from 0 to 1.", _QUESTION)
    for row in last.get("answered") or ():
        answers.labels(*(str(row[label]) for label in _QUESTION)).set(row["value"])
    if last.get("gate_passed") is not None:
        gauge("gate_passed", "Whether the gate of the last night passed.").set(int(last["gate_passed"]))
    replace_disposable(path, generate_latest(registry))


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()
