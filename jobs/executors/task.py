"""What a worker is asked to do, and how it does it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from extract import Budget, Contribution, Engine, Extractor, Progress, Share, compute_share, open_engine, open_source
from jobs.config import ExtractorConfig
from jobs.extractors import describe_engine, open_configured
from jobs.surroundings import Surroundings
from store import FeatureStore

__all__ = ["Task", "Workshop"]


@dataclass(frozen=True)
class Task:
    """One share of a base split through one extractor, as plain data: extractors hold functions, which do not travel.

    Attributes:
        store: where the rows go.
        dataset: what the store calls it.
        source: where the pictures come from.
        split: the base split.
        extractor: whose rows, as configured.
        engine, device: what runs it.
        budget: how many pictures of the whole base split may be undecodable.
        is_drift_accepted: add rows though the canary pictures come out otherwise.
        known_files: what is known of unchanged files, see `extract.open_source`.
        share: which chunks.
        view: which view of each picture; 0: the picture itself.
    """

    store: Path
    dataset: str
    source: str
    split: str
    extractor: ExtractorConfig
    engine: str
    device: str
    budget: Budget
    is_drift_accepted: bool
    known_files: tuple[Path, int]
    share: Share
    view: int = 0


class Workshop:
    """Does one task after another, and keeps the network that is loaded for the next one.

    Args:
        surroundings: where it runs.
        notify: told what was loaded, where `auto` had to fall back, and where a batch had to be halved.
    """

    def __init__(self, surroundings: Surroundings, notify: Callable[[str], None]) -> None:
        self._surroundings = surroundings
        self._notify = notify
        self._loaded: tuple[tuple[ExtractorConfig, str, str], Extractor, list[Engine]] | None = None

    def compute(self, task: Task, on_progress: Callable[[Progress], None]) -> Contribution:
        """Bring the rows of a share into the pool; see `extract.compute_share`."""
        what = (task.extractor, task.engine, task.device)
        if self._loaded is None or self._loaded[0] != what:
            self._loaded = None  # before the next one is loaded: two may not fit into memory
            self._loaded = what, open_configured(task.extractor, self._surroundings), []
        _, extractor, engines = self._loaded

        def opened() -> Engine:
            if not engines:
                engines.append(open_engine(extractor, task.engine, self._notify, task.device))
                self._notify(describe_engine(extractor, engines[0]))
            return engines[0]

        return compute_share(
            open_source(task.source, self._surroundings.tfds_data_dir, task.known_files),
            task.split,
            extractor.view(task.view) if task.view else extractor,
            FeatureStore(task.store),
            opened,
            task.share,
            task.dataset,
            task.budget,
            on_progress,
            is_drift_accepted=task.is_drift_accepted,
        )
