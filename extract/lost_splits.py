"""Base splits that a source has no more: their names end, so that no probe trains or tests on what was deleted."""

from collections.abc import Collection
from dataclasses import dataclass

from extract.errors import DataShrank
from extract.job import SplitJob
from extract.shrink import way_out
from store import IMPORTED, DamagedStore, FeatureSetNotFound, FeatureStore

__all__ = ["LostSplit", "end_lost_splits", "find_lost_splits", "require_no_lost_split"]


@dataclass(frozen=True)
class LostSplit:
    """A base split that a name of a dataset still has, and its source has no more.

    Attributes:
        name: what the dataset is called.
        split: the base split.
        set_key: what the name means until now; empty where a damaged entry hides it.
        is_import: whether those features were imported by `store import`.
    """

    name: str
    split: str
    set_key: str
    is_import: bool


def find_lost_splits(job: SplitJob, *, asked: Collection[str] = ()) -> list[LostSplit]:
    """Return the names of base splits that are to end before a source is extracted.

    Args:
        job: of any base split; its source says which there are, and one that cannot say loses none.
        asked: base splits that somebody asked for by name. Then nobody looked at the others, and only
            imports end, because features from elsewhere never stand beside those of the images.
    """
    source, store = job.source, job.opened_store()
    if not source.splits:
        return []
    found = []
    for name in dict.fromkeys((job.dataset, source.name)):
        for split, key in store.lost_splits(name, job.extractor.name, source.splits).items():
            lost = LostSplit(name, split, key, _is_import(store, key))
            if lost.is_import or not asked:
                found.append(lost)
    return found


def end_lost_splits(lost: Collection[LostSplit], job: SplitJob, *, created: str) -> None:
    """End the names of lost base splits; their sets stay, and `as_of` and `key` reach them.

    Args:
        lost: what `find_lost_splits` found.
        job: as there.
        created: UTC, ISO 8601 to the second.
    """
    store, extractor = job.opened_store(), job.extractor.name
    for entry in lost:
        # What was imported was no base split of the source.
        is_accepted = entry.is_import or job.accepts_shrink
        store.end_name(entry.name, entry.split, extractor, created=created, is_accepted=is_accepted)
    if job.accepts_shrink and job.source.splits:
        for name in dict.fromkeys((job.dataset, job.source.name)):
            for split in store.unaccepted_ends(name, extractor, job.source.splits):
                store.end_name(name, split, extractor, created=created)


def require_no_lost_split(job: SplitJob, lost: Collection[LostSplit]) -> None:
    """Let only a dataset pass that has every base split it was accepted with.

    Args:
        job: of any base split of it.
        lost: base splits that are to end.

    Raises:
        DataShrank: one is gone; the sentence says how to accept it.
    """
    if job.max_shrink is None or job.accepts_shrink or not job.source.splits:
        return
    before = job.opened_store().unaccepted_ends(job.dataset, job.extractor.name, job.source.splits)
    gone = sorted({*before, *(entry.split for entry in lost if not entry.is_import)})
    if gone:
        raise DataShrank(
            f"{job.dataset}: the base split{'s' * (len(gone) > 1)} {', '.join(map(repr, gone))} "
            f"{'are' if len(gone) > 1 else 'is'} gone (there {'is' if len(job.source.splits) == 1 else 'are'} "
            f"{', '.join(map(repr, job.source.splits))} now); the answers of before stay. {way_out(job.dataset)}"
        )


def _is_import(store: FeatureStore, key: str) -> bool:
    try:
        return bool(key) and store.get(key=key).provenance.engine == IMPORTED
    except (FeatureSetNotFound, DamagedStore):
        return False
