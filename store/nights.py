"""The journal: what each night was asked, found, computed and answered, and how it ended.

nights/<random id>/begun.json     written before a night's work
                   ended.json     written after it; a night that was killed has none

Nothing in the store depends on them. `order` counts them, so that the last is the last whatever the clock said.
"""

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.commit import PUBLISHED, list_folder, publish_folder, publish_new_file
from store.documents import read_sealed, seal
from store.errors import DamagedStore, MissingFile

__all__ = ["NIGHT_PARTS", "Nights"]

NIGHT_PARTS = ("begun.json", "ended.json")
_logger = logging.getLogger(__name__)


class Nights:
    """The folder of nights.

    Args:
        folder: `STORE/nights`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, document: Mapping[str, Any]) -> str:
        """Write that a night has begun, and return its id.

        Args:
            document: plain data; `begun` is its time.
        """
        night = secrets.token_hex(16)
        # No clock decides which was the last; two that begin at once may have the same number.
        order = len(self.ids()) + 1
        publish_folder(self.folder / night, {"begun.json": seal({"night": night, "order": order, **document})})
        return night

    def end(self, night: str, document: Mapping[str, Any]) -> None:
        """Write how a night has ended.

        Args:
            night: its id.
            document: plain data; `how`, `exit_code` and `ended` are among them.
        """
        publish_new_file(self.folder / night / "ended.json", seal({"night": night, **document}))

    def ids(self) -> list[str]:
        """Return the ids of all nights."""
        return [name for name in list_folder(self.folder) if PUBLISHED.fullmatch(name)]

    def read(self, night: str) -> dict[str, Any]:
        """Return what a night was asked and, where it has ended, how.

        Raises:
            DamagedStore: a part is not what was written, or another night's.
        """
        found: dict[str, Any] = {"ended": None, "how": "not ended"}
        for part in NIGHT_PARTS:
            path = self.folder / night / part
            try:
                document = read_sealed(path)
            except MissingFile:
                if part == "begun.json":
                    raise
                continue
            if document.get("night") != night:
                raise DamagedStore(f"{path}: the night {night} expected, {document.get('night')} found.")
            found |= document
        return found

    def all(self) -> list[dict[str, Any]]:
        """Return every night, the last at the end; one that is damaged is left out and logged."""
        found = []
        for night in self.ids():
            try:
                found.append(self.read(night))
            except DamagedStore as error:
                _logger.warning("%s The night is left out.", error)
        return sorted(found, key=lambda night: (int(night["order"]), str(night.get("begun")), str(night["night"])))
