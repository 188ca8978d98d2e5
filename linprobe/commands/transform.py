"""Rows of images that a program gives, without a dataset: what the pool lacks is computed, and kept there."""

from typing import Any

import numpy as np

from extract import SplitJob, compute
from linprobe.job.config import ExtractorConfig
from linprobe.job.session import Session
from linprobe.models.extractors import EngineKeeper, open_configured
from linprobe.models.image_files import memory_source
from linprobe.models.pins import pinning

__all__ = ["transform_images"]


def transform_images(images: Any, configured: ExtractorConfig, session: Session) -> np.ndarray:
    """Return the features of images; each is computed once.

    Args:
        images: N paths or images, see `linprobe.models.image_files.memory_source`.
        configured: the extractor, with engine and device.
        session: whose store keeps the rows.

    Returns:
        (N, D) float32.

    Raises:
        BadData: an image cannot be read or decoded; none is left out.
        UnknownName, ModelUnavailable, EngineUnavailable: the extractor cannot be run here.
    """
    environment = session.environment
    environment.prepare_frameworks()
    extractor = open_configured(configured, environment)
    store = session.create_store()
    source = memory_source(images)
    opener = EngineKeeper(session.say).opener(configured, extractor, engine=configured.engine, device=configured.device)
    engine = pinning(opener, extractor, session, is_trusted=configured.trust)
    with session.console.progress(f"{extractor.name}: {source.count('all'):,} images") as update:
        job = SplitJob(source=source, split="all", extractor=extractor, store=store, dataset=source.name)
        compute(job, engine, on_progress=update)
    rows = store.pool(job.extractor.pool_key()).rows([example.content_sha256() for example in source.examples("all")])
    return np.asarray(rows, np.float32)
