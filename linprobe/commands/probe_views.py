"""The sets of views that a probe trains on, found beside those of the images themselves."""

from collections.abc import Mapping
from dataclasses import replace

from probe import ProbeRequest
from probe.request import training_splits
from store import FeatureSet, FeatureSetNotFound, FeatureStore
from store.extractor_names import view_name

__all__ = ["find_view_sets"]


def find_view_sets(
    store: FeatureStore, request: ProbeRequest, sets: Mapping[str, FeatureSet]
) -> list[dict[str, FeatureSet]]:
    """Return for each view that a request asks for: base split → its set, of the base splits that are trained on.

    Args:
        store: what has them.
        request: the probe.
        sets: base split → set of the images themselves.

    Raises:
        FeatureSetNotFound: one is missing, or was extracted with other weights or settings than the images' own.
        SplitError: the base splits leave open what to train on.
    """
    if not request.views:
        return []
    splits = training_splits(request, sets)
    return [
        {split: _find(store, request, sets[split], number=number) for split in splits}
        for number in range(1, request.views + 1)
    ]


def _find(store: FeatureStore, request: ProbeRequest, plain: FeatureSet, *, number: int) -> FeatureSet:
    name = view_name(request.extractor, number)
    command = f"run 'linprobe extract' with views = {request.views} (--views {request.views}) first."
    try:
        found = store.get(request.dataset, plain.split, name)
    except FeatureSetNotFound as error:
        raise FeatureSetNotFound(
            f"{request.dataset} / {plain.split} / {name}: no view {number} of the training images in {store.path}; "
            f"{command}"
        ) from error
    seen = store.pool_key(found.manifest["pool"])
    settings = dict(seen.preprocessing)
    is_view = settings.pop("view", 0) == number and settings.pop("view_rules", 0)
    if not is_view or replace(seen, preprocessing=settings) != store.pool_key(plain.manifest["pool"]):
        raise FeatureSetNotFound(
            f"{request.dataset} / {plain.split} / {name}: view {number} by the weights and settings of the set "
            f"{plain.key[:12]} expected, set {found.key[:12]} has others; {command}"
        )
    return found
