"""How large base splits are, and were when somebody last agreed to it: what stands beside their names."""

import functools
from collections.abc import Collection
from pathlib import Path

import numpy as np

from store.aliases import Alias, Aliases
from store.errors import DamagedStore, FeatureSetNotFound
from store.sets import FeatureSet
from store.sizes import Size

__all__ = ["AcceptedSizes"]


class AcceptedSizes:
    """The sizes of a store's names.

    Args:
        root: the store.
        aliases: its names.
    """

    def __init__(self, root: Path, aliases: Aliases) -> None:
        self._root = root
        self._aliases = aliases

    def accepted(self, dataset: str, split: str, extractor: str) -> Size | None:
        """Return how large a base split was when somebody last agreed to it: see `FeatureStore.accepted_size`."""
        last = self._aliases.last_sound(dataset, split, extractor)
        if last is not None:
            return self._accepted(last)
        others = [self._aliases.last_sound(dataset, split, other) for other in self._aliases.extractors_of(dataset)]
        sizes = [size for size in (self._accepted(other) for other in others if other) if size]
        return functools.reduce(Size.grown, sizes) if sizes else None

    def named(self, dataset: str, split: str, extractor: str) -> Size | None:
        """Return how large the base split is that a name means now; None where its entry does not say."""
        last = self._aliases.last_sound(dataset, split, extractor)
        return Size.of_document(last.size) if last and last.size else None

    def next_accepted(self, alias: Alias, size: Size, is_accepted: bool) -> Size:
        """Return what is accepted from now on where a name gets a set of this size.

        Args:
            alias: the name.
            size: of the set.
            is_accepted: whether somebody has agreed to it, also where it is smaller.
        """
        before = None if is_accepted else self.accepted(alias.dataset, alias.split, alias.extractor)
        return before.grown(size) if before else size

    def unaccepted_ends(self, dataset: str, extractor: str, kept: Collection[str]) -> list[str]:
        """Return the base splits that have ended without anybody agreeing to it, and are not among those kept."""
        ended = self._aliases.ended(dataset, extractor)
        return [alias.split for alias in ended if alias.accepted is not None and alias.split not in kept]

    def _accepted(self, alias: Alias) -> Size | None:
        if alias.accepted is not None:
            return Size.of_document(alias.accepted)
        if alias.has_ended:
            return None
        # Entries of older stores say nothing of sizes: that of their set was accepted.
        try:
            features = FeatureSet(self._root / "sets" / alias.set_key)
            present = {features.class_names[label] for label in np.unique(np.asarray(features.labels)).tolist()}
            return Size.of(features.candidates, present)
        except (DamagedStore, FeatureSetNotFound):
            return None  # nobody can tell any more
