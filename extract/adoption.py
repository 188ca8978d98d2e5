"""Rows that another pool of the same extractor has: taken over where its rules make the same pixels of an image.

Decoding rules, orientation and background are part of a pool's key, and of most images they change nothing. What a
pool of other rules has of such an image is the same number, so it is copied, and nothing is computed. Its canary comes
along: whoever adds rows later is compared with what the first writer of the rows saw.
"""

from collections.abc import Container, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from extract.canary import inherit_canary
from extract.header import Header, Rules
from extract.preprocessing import decoding_of
from store import DamagedStore, FeatureStore, Pool, RowsUnavailable, StoreBusy

__all__ = ["Adoption"]

# As many rows become one shard.
_ROWS = 1024
_RULES = ("orientation", "background", "rules")


class _Sibling(NamedTuple):
    """Another pool of the extractor, what it has, and the rules it was made by."""

    pool: Pool
    rows: Container[bytes]
    rules: Rules


class Adoption:
    """What other pools have for one pool.

    Args:
        store: whose pools; None where there is none yet.
        pool: what rows are taken over into.
        rules: of its images' decoding.

    Attributes:
        adopted: images whose rows were taken over, until now.
    """

    def __init__(self, store: FeatureStore | None, pool: Pool, rules: Rules) -> None:
        self._store = store
        self._pool = pool
        self._rules = rules
        self._found: dict[bytes, Pool] = {}
        self.adopted = 0

    def offers(self, content: bytes, header: Header | None) -> bool:
        """Return whether another pool has the very row of an image that this one lacks."""
        if header is None:
            return False
        for sibling in self._siblings:
            if header.has_equal_pixels(self._rules, sibling.rules) and content in sibling.rows:
                self._found[content] = sibling.pool
                return True
        return False

    def bring(self) -> None:
        """Take over the rows that were offered; when this returns, they survive a crash.

        Raises:
            StoreBusy: the other pool's shard has been taken away or damaged since.
        """
        by_pool: dict[Pool, list[bytes]] = {}
        known = self._pool.index()
        for content, pool in self._found.items():
            if content not in known:
                by_pool.setdefault(pool, []).append(content)
        for pool, contents in by_pool.items():
            inherit_canary(pool, self._pool)
            for at in range(0, len(contents), _ROWS):
                part = contents[at : at + _ROWS]
                self._pool.add(_rows(pool, part), part)
                self.adopted += len(part)
        self._found = {}

    @cached_property
    def _siblings(self) -> list[_Sibling]:
        if self._store is None:
            return []
        own = self._without_rules(self._pool)
        found = []
        for pool in self._store.pools():
            is_sibling = pool.folder.name != self._pool.folder.name and self._without_rules(pool) == own
            if is_sibling and inherit_canary(pool, self._pool, dry=True):
                found.append(_Sibling(pool, pool.index(), decoding_of(pool.key.preprocessing)))
        return found

    @staticmethod
    def _without_rules(pool: Pool) -> dict[str, object]:
        document = pool.key.document()
        rest = {name: value for name, value in document["preprocessing"].items() if name not in _RULES}
        return {**document, "preprocessing": rest}


def _rows(pool: Pool, contents: Sequence[bytes]) -> np.ndarray:
    try:
        return np.asarray(pool.rows(list(contents)))
    except (RowsUnavailable, DamagedStore) as error:
        # What was sound when its index was read: `gc` took it away meanwhile, or it has been damaged since.
        raise StoreBusy(f"{error} Its rows were to be taken over: run it again, and they are computed.") from error
