"""The workers of a job: how many, and what each does of a base split."""

import os
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from extract import Computed, Progress, combine
from linprobe.executors.places import share_machine, usable_cores
from linprobe.executors.spec import SplitSpec

if TYPE_CHECKING:
    from linprobe.executors.local import LocalExecutor

__all__ = ["Crew"]


class Crew:
    """Shares base splits among workers, which are started when there is something to compute.

    Args:
        asked: how many workers; `auto` is one for each GPU, and on a CPU none beside this process, since
            one engine keeps all its cores busy.
        notify: told what people should know of them.
    """

    def __init__(self, asked: int | Literal["auto"], notify: Callable[[str], None]) -> None:
        self._asked = asked
        self._notify = notify
        self._executor: LocalExecutor | None = None

    def __enter__(self) -> "Crew":
        """Return it; no worker runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all workers."""
        if self._executor is not None:
            self._executor.end()

    def is_worth(self, chunks: int | None) -> bool:
        """Return whether so many chunks could be shared; None where nobody knows how many there are."""
        return self._asked != 1 and chunks not in (0, 1)

    def compute(self, spec: SplitSpec, chunks: int | None, on_progress: Callable[[Progress], None]) -> Computed:
        """Compute a share by the workers, as far as there are some; whoever calls computes what is left of it.

        Args:
            spec: the share, which may be the whole split.
            chunks: of how many chunks it is, None where nobody knows; more workers than chunks would idle.
            on_progress: told how far all are together.

        Raises:
            whatever a worker raises.
        """
        executor = self._executor = self._executor or self._hire(spec)
        workers = executor.workers if chunks is None else min(executor.workers, chunks)
        if workers == 1:
            return Computed()
        specs = [replace(spec, share=spec.share.part(number, workers)) for number in range(workers)]
        done = executor.compute(specs, on_progress)
        # Side by side, from the first's first read to the last's last row.
        return combine(done, max((one.seconds for one in done), default=0.0))

    def _hire(self, spec: SplitSpec) -> "LocalExecutor":
        # Processes are for whoever has rows to compute.
        from linprobe.executors.local import LocalExecutor

        gpus = 0
        if spec.device != "cpu" and spec.engine != "openvino":
            # TensorFlow is imported for it, which whoever has rows to compute does anyway.
            from extract.engines.tensorflow_engine import find_gpus

            gpus = len(find_gpus())
        workers = max(1, gpus) if self._asked == "auto" else self._asked
        places = share_machine(workers, gpus, usable_cores(), visible=os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        if workers > 1:
            self._notify(f"{workers} workers: {'; '.join(map(str, places))}")
        return LocalExecutor(places, self._notify)
