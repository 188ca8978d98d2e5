"""What a worker is asked to do, and how it does it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from extract import Budget, Contribution, Progress, Share, compute_share, open_source
from linprobe.job.config import ExtractorConfig
from linprobe.job.environment import Environment
from linprobe.models.extractors import EngineKeeper, open_configured
from store import FeatureStore

__all__ = ["Task", "Workshop"]


@dataclass(frozen=True)
class Task:
    """One share of a base split through one extractor, as plain data: extractors hold functions, which do not travel.

    Attributes:
        store: where the rows go.
        dataset: what the store calls it.
        source: where the images come from.
        split: the base split.
        extractor: whose rows, as configured.
        engine, device: what runs it.
        budget: how many images of the whole base split may be undecodable.
        is_drift_accepted: add rows though the canary images come out otherwise.
        known_files: what is known of unchanged files, see `extract.open_source`.
        share: which chunks.
        view: which view of each image; 0: the image itself.
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
        environment: where it runs.
        notify: see `EngineKeeper`.
    """

    def __init__(self, environment: Environment, notify: Callable[[str], None]) -> None:
        self._environment = environment
        self._engines = EngineKeeper(notify)

    def compute(self, task: Task, on_progress: Callable[[Progress], None]) -> Contribution:
        """Bring the rows of a share into the pool; see `extract.compute_share`."""
        extractor = open_configured(task.extractor, self._environment).view(task.view)
        return compute_share(
            open_source(task.source, self._environment.tfds_data_dir, task.known_files),
            task.split,
            extractor,
            FeatureStore(task.store),
            self._engines.opener(task.extractor, extractor, engine=task.engine, device=task.device),
            task.share,
            task.dataset,
            task.budget,
            on_progress,
            is_drift_accepted=task.is_drift_accepted,
        )
