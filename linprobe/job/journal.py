"""A night's entry in the store's journal; it tells of the work, and cannot harm it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from linprobe.job.config import JobConfig
from linprobe.job.environment import installed_versions
from linprobe.job.errors import ExitCode, exit_code, sentence
from linprobe.job.metrics import write_metrics
from linprobe.job.notifications import notify, verdict_of
from linprobe.job.session import Session
from store import FeatureStore

__all__ = ["NIGHT_COLUMNS", "JournalEntry", "journalled", "night_row"]

_Told = TypeVar("_Told")
# What may hold a password stands in no journal.
_SECRET = {"notify"}
_FOUND = (
    "dataset", "split", "extractor", "images", "images_before", "classes", "classes_before", "lost_classes", "rows",
    "quarantined", "ignored", "status", "key",
)  # fmt: skip
_ANSWERED = ("dataset", "extractor", "head", "seed", "shots", "train_share", "views", "metric", "run_id", "status")


class JournalEntry:
    """What a night says of itself at its end.

    Attributes:
        document: plain data, filled in by the night as it goes on.
    """

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "found": [], "computed": {}, "answered": [], "errors": [], "gate": None, "gate_passed": None, "report": None
        }  # fmt: skip
        self.exit_code = ExitCode.DONE

    def note_extraction(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note what was found and computed."""
        self.document["found"] = [{name: row.get(name) for name in _FOUND} for row in rows]
        self.document["computed"] |= {
            name: sum(int(row[name]) for row in rows) for name in ("forward_passes", "reused")
        }

    def note_answers(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note which runs answered which questions."""
        self.document["answered"] = [
            {**{name: row.get(name) for name in _ANSWERED}, "value": row[row["metric"]]} for row in rows
        ]
        self.document["computed"]["trained"] = sum(row["status"] == "trained" for row in rows)


@contextmanager
def journalled(
    job: JobConfig, session: Session, store: FeatureStore, *, accepted: Sequence[str]
) -> Iterator[JournalEntry]:
    """Write that a night begins, and at its end how it ended, whatever ends it but a kill.

    Args:
        job: what is asked.
        session: where it runs.
        store: whose journal.
        accepted: datasets whose size was accepted for this night.
    """
    environment, console = session.environment, session.console
    began = time.monotonic()
    begun = {
        "begun": environment.now(),
        "command": "nightly",
        "job": job.model_dump(mode="json", exclude=_SECRET),
        "accepted_shrink": sorted(accepted),
        "host": environment.host,
        "process": environment.process,
        "versions": installed_versions(),
    }
    before = _harmless(session, "the journal could not be read", store.nights) or []
    night = _harmless(session, "the journal could not be written", lambda: store.begin_night(begun)) or ""
    if job.notify:
        notify(job.notify, {"night": night, "store": str(store.path), **begun}, session)
    named = f"night {night[:12]}" if night else "a night"
    console.event("begin", f"{named} begins: {_counts(job)}, store {store.path}", night=night, store=str(store.path))
    entry = JournalEntry()
    how = "done"
    try:
        yield entry
        how = "failed" if entry.exit_code else "done"
    except BaseException as error:
        how = "interrupted" if not isinstance(error, Exception) else "failed"
        entry.exit_code = ExitCode.TRY_AGAIN if how == "interrupted" else exit_code(error)
        if sentence(error):
            entry.document["errors"].append({"part": "", "error": sentence(error), "exit_code": int(entry.exit_code)})
        raise
    finally:
        seconds = round(time.monotonic() - began, 3)
        ended = {"ended": environment.now(), "seconds": seconds, "how": how, "exit_code": int(entry.exit_code)}
        document = {**entry.document, **ended}
        document["verdict"] = verdict_of(document)
        if night:
            _harmless(session, "the journal could not be written", lambda: store.end_night(night, document))
        text = f"{named} ended: {how}, exit code {int(entry.exit_code)}, {seconds:.1f} s"
        console.event("end", text, night=night, **{name: ended[name] for name in ("how", "exit_code", "seconds")})
        whole = {"night": night, "store": str(store.path), **begun, **document}
        if job.metrics:
            path = job.metrics.textfile
            _harmless(session, "metrics.textfile", lambda: write_metrics(path, [*before, whole]))
        if job.notify:
            notify(job.notify, whole, session, before=before[-1].get("verdict") if before else None)


def _harmless(session: Session, what: str, tell: Callable[[], _Told]) -> _Told | None:
    """Do what only tells of the work; where it fails, say so and go on."""
    try:
        return tell()
    except (OSError, TypeError, ValueError, KeyError) as error:
        session.say(f"{what}: {sentence(error)}")
        return None


def _counts(job: JobConfig) -> str:
    counted = ((job.datasets, "dataset"), (job.extractors, "extractor"), (job.probes, "probe"))
    return ", ".join(f"{len(entries)} {what}{'' if len(entries) == 1 else 's'}" for entries, what in counted)


def night_row(night: Mapping[str, Any]) -> dict[str, Any]:
    """Return a night as one flat row: of what it found, computed and answered, how much.

    Args:
        night: as `FeatureStore.nights` gives it.
    """
    found, answered, computed = (night.get(name) or {} for name in ("found", "answered", "computed"))
    shrunk = [
        f"{row['dataset']}/{row['split']}"
        for row in found
        if row.get("lost_classes") or (row.get("images_before") or 0) > (row.get("images") or 0)
    ]
    # An image that several extractors saw is one image.
    parts: dict[tuple[str, str], tuple[int, int]] = {}
    for row in found:
        seen = parts.get((row["dataset"], row["split"]), (0, 0))
        images, quarantined = row.get("images") or 0, row.get("quarantined") or 0
        parts[row["dataset"], row["split"]] = max(seen[0], images), max(seen[1], quarantined)
    return {
        "night": night["night"],
        "begun": night.get("begun"),
        "ended": night.get("ended"),
        "how": night["how"],
        "exit_code": night.get("exit_code"),
        "seconds": night.get("seconds"),
        "images": sum(images for images, _ in parts.values()),
        "quarantined": sum(quarantined for _, quarantined in parts.values()),
        "forward_passes": dict(computed).get("forward_passes", 0),
        "runs": len(answered),
        "trained": dict(computed).get("trained", 0),
        "shrunk": ", ".join(dict.fromkeys(shrunk)),
        "accepted_shrink": ", ".join(night.get("accepted_shrink") or ()),
        "errors": " | ".join(row["error"] for row in night.get("errors") or ()),
    }


NIGHT_COLUMNS = tuple(night_row({"night": "", "how": ""}))
