"""What all commands share: where they run, where the store is, and who is told."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from linprobe.job.console import Console
from linprobe.job.environment import Environment
from store import FeatureStore, StoreNotFound
from store.names import shortest_ends

__all__ = ["Session"]


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command, or one notebook, at work on one store.

    Attributes:
        environment: where it runs.
        store_path: where the store is, or will be.
        console: who is told.
        lock_folder: where `linprobe.lock` is: the folder of the job's file; None: in the store.
        requires_lock: whether models that it does not know are refused.
    """

    environment: Environment
    store_path: Path
    console: Console
    lock_folder: Path | None = None
    requires_lock: bool = False

    def open_store(self) -> FeatureStore:
        """Return the store.

        Raises:
            StoreNotFound, StoreFormatError: there is none, or something else.
        """
        return FeatureStore(self.store_path)

    def has_store(self) -> bool:
        """Return whether there is a store; asked before models are loaded, it tells early of what is none.

        Raises:
            StoreFormatError: there is something else, or a store of another version.
        """
        try:
            self.open_store()
        except StoreNotFound:
            return False
        return True

    def create_store(self) -> FeatureStore:
        """Return the store, made first where there is none."""
        return FeatureStore.create(self.store_path)

    def shown_names(self, datasets: Collection[str]) -> dict[str, str]:
        """Return full name → what lines for people call it: the shortest end that means no other.

        Args:
            datasets: full names of the job, which the store may not know yet.
        """
        try:
            return self.open_store().shown_names(datasets)
        except StoreNotFound:
            return shortest_ends(datasets)

    def say(self, text: str) -> None:
        """Tell people a line."""
        self.console.say(text)
