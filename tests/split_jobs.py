"""One base split extracted in one call, as several tests do."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

from extract import Engine, Extraction, RunContext, SplitJob, compute, publish


class NoCanary:
    """Stands in for `extract.canary.CanaryWatch`, where an engine could not decode the canary's images."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.report: dict[str, Any] = {}

    def look(self, engine: Engine) -> None: ...

    def keep(self) -> None: ...


def without_canary() -> Any:
    """Return a context in which no canary image is looked at."""
    return mock.patch("extract.job.CanaryWatch", NoCanary)


def extract_split(
    job: SplitJob, open_engine: Callable[[], Engine], *, created: str, has_canary: bool = True, **context: Any
) -> Extraction:
    """Compute and publish a whole base split."""
    on_progress = {"on_progress": context.pop("on_progress")} if "on_progress" in context else {}
    with nullcontext() if has_canary else without_canary():
        computed = compute(job, open_engine, **on_progress)
        done = publish(job, computed, RunContext(created=created, **context))
    assert done is not None
    return done
