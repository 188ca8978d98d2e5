"""A split job as plain data, for workers, and how they do it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from extract import AS_IT_IS, Budget, Computed, Progress, Reading, Share, SplitJob, compute, open_source
from linprobe.job.config import ExtractorConfig
from linprobe.job.environment import Environment
from linprobe.models.extractors import EngineKeeper, open_configured
from store import FeatureStore

__all__ = ["SplitSpec", "Workshop"]


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """A `SplitJob` as plain data: extractors and sources hold functions and open files, which do not travel.

    Attributes:
        store: where the rows go.
        dataset: what the store calls it.
        source: where the images come from.
        split: the base split.
        extractor: whose rows, as configured.
        view: which view of each image; 0: the image itself.
        engine, device: what runs it.
        budget: how many images of the whole base split may be undecodable.
        accept_drift: add rows though the canary images come out otherwise.
        known_files: what is known of unchanged files, see `extract.SourceCaches`.
        share: which chunks.
    """

    store: Path
    dataset: str
    source: str
    reading: Reading = AS_IT_IS
    split: str
    extractor: ExtractorConfig
    view: int = 0
    engine: str
    device: str
    budget: Budget
    accept_drift: bool
    known_files: tuple[Path, int]
    share: Share

    def job(self, environment: Environment) -> SplitJob:
        """Return the job that this stands for, opened here."""
        return SplitJob(
            source=open_source(self.source, environment.source_caches(self.known_files), reading=self.reading),
            split=self.split,
            extractor=open_configured(self.extractor, environment).view(self.view),
            store=FeatureStore(self.store),
            dataset=self.dataset,
            share=self.share,
            budget=self.budget,
            accept_drift=self.accept_drift,
        )


class Workshop:
    """Does one job after another, and keeps the network that is loaded for the next one.

    Args:
        environment: where it runs.
        notify: see `EngineKeeper`.
    """

    def __init__(self, environment: Environment, notify: Callable[[str], None]) -> None:
        self._environment = environment
        self._engines = EngineKeeper(notify)

    def compute(self, spec: SplitSpec, on_progress: Callable[[Progress], None]) -> Computed:
        """Bring the rows of a share into the pool; see `extract.compute`."""
        job = spec.job(self._environment)
        open_engine = self._engines.opener(spec.extractor, job.extractor, engine=spec.engine, device=spec.device)
        return compute(job, open_engine, on_progress=on_progress).to_send()
