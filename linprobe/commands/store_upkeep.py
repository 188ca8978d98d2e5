"""`linprobe store verify` and `store gc`."""

from typing import Any

from linprobe.job.session import Session
from linprobe.models.golden_rows import GoldenRows
from store import GarbageRule, collect_garbage, verify_store

__all__ = ["collect", "verify"]

_LOOKED_AT = ("pools", "shards", "sets", "names", "runs", "answers", "nights")


def verify(session: Session, *, is_deep: bool) -> tuple[str, dict[str, Any], bool]:
    """Check every file of a store; return a line per problem, the document, and whether all is sound."""
    store = session.open_store()
    recompute = GoldenRows(store, session.environment, session.say) if is_deep else None
    found = verify_store(store.path, is_deep, recompute)
    for note in found.notes:
        session.say(f"note: {note}")
    counts = found.counts
    looked = ", ".join(f"{counts[name]:,} {name}" for name in _LOOKED_AT)
    golden = f", {counts['rows_recomputed']:,} rows computed again" if is_deep else ""
    total = f"{looked}; {counts['files']:,} files, {counts['bytes'] / 1e6:,.1f} MB read{golden}: "
    total += f"{len(found.problems):,} problems" if found.problems else "all sound"
    lines = [f"{problem.kind}: {problem.message}" for problem in found.problems]
    return "\n".join([*lines, total]), found.document(), found.is_sound


def collect(rule: GarbageRule, session: Session, *, is_dry_run: bool) -> tuple[str, dict[str, Any]]:
    """Remove what nothing needs; return what went as text and as a document.

    Raises:
        StoreBusy: another `gc` is at it.
    """
    store, now = session.open_store(), session.environment.timestamp()
    if is_dry_run:
        found = collect_garbage(store.path, now, rule, is_dry_run=True)
    else:
        with store.lock("gc", wait=False, holder=session.environment.process):
            found = collect_garbage(store.path, now, rule)
    document = {**found.document(), "dry_run": is_dry_run}
    lines = [f"{garbage.kind} {garbage.path}: {garbage.bytes:,} bytes" for garbage in found.removed]
    lines += [f"{path}: put back, it is needed" for path in found.restored]
    lines += [f"kept what may be needed: {hindrance}" for hindrance in found.hindrances]
    verb = "would be removed" if is_dry_run else "removed"
    return "\n".join([*lines, f"{len(found.removed):,} items, {document['bytes']:,} bytes {verb}"]), document
