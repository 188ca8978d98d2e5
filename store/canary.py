"""What a pool's first writer saw of the canary images, for those who add rows later to compare with.

pools/<pool-key>/canary.json   a sealed document; in no key, and written once
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.commit import publish_file, publish_new_file
from store.documents import read_sealed, seal
from store.errors import DamagedStore, MissingFile

__all__ = ["POOL_DOCUMENTS", "keep_canary", "read_canary"]

# What a pool holds beside its rows: without rows, nobody needs it.
POOL_DOCUMENTS = ("pool.json", "canary.json")

_logger = logging.getLogger(__name__)


def read_canary(folder: Path) -> dict[str, Any] | None:
    """Return what the pool's first writer saw, None where no one has looked.

    A damaged file counts as none, and is logged: it proves nothing, and rows do not depend on it.
    """
    try:
        return read_sealed(folder / "canary.json")
    except MissingFile:
        return None
    except DamagedStore as error:
        _logger.warning("%s It is written anew.", error)
        return None


def keep_canary(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was seen, unless another writer has kept something already.

    Args:
        folder: `STORE/pools/<pool-key>`.
        document: what was seen.

    Returns:
        What the pool keeps from now on: this document, or the other writer's.
    """
    path = folder / "canary.json"
    if publish_new_file(path, seal(document)):
        return dict(document)
    kept = read_canary(folder)
    if kept is None:
        publish_file(path, seal(document))
        return dict(document)
    return kept
