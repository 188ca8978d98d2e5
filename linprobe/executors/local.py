"""Several processes on this machine, each with its share of the cores, or a GPU of its own."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import reduce
from multiprocessing.connection import Connection
from operator import add

from extract import Computed, Progress
from linprobe.executors import worker
from linprobe.executors.places import Place
from linprobe.executors.spec import SplitSpec

__all__ = ["LocalExecutor"]

_PROCESSES = multiprocessing.get_context("spawn")
_POLL_SECONDS = 0.2


class LocalExecutor:
    """Workers that are started when they are first needed, and live until the job ends.

    They end with this process, however it ends: each listens at a pipe whose other end is here.

    Args:
        places: where they run, one each.
        notify: told what people should know of them.
    """

    def __init__(self, places: Sequence[Place], notify: Callable[[str], None]) -> None:
        self._places = places
        self._notify = notify
        self._workers: dict[int, _Worker] = {}
        self._told: set[str] = set()

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._places)

    def compute(self, specs: Sequence[SplitSpec], on_progress: Callable[[Progress], None]) -> list[Computed]:
        """Compute shares side by side, the first by the first worker, and so on; at most one for each.

        Returns:
            What was contributed. Of a worker that was killed there is nothing; what it has committed is in the pool.

        Raises:
            whatever a worker raises; the other workers are ended then, for the whole part of the job has failed.
        """
        at_work = {self._worker(number).begin(spec): number for number, spec in enumerate(specs)}
        progress = dict.fromkeys(at_work.values(), Progress(None))
        done: dict[int, Computed] = {}
        try:
            while at_work:
                finished, _ = wait(at_work, _POLL_SECONDS, FIRST_COMPLETED)
                for number in at_work.values():
                    self._hear(number, progress)
                on_progress(reduce(add, progress.values()))
                for future in finished:
                    number = at_work.pop(future)
                    with suppress(BrokenProcessPool):
                        done[number] = future.result()
                        continue
                    self._workers.pop(number).end()
                    self._notify(
                        f"worker {number + 1} of {len(self._places)} has ended before its time (killed, or out of "
                        "memory); what it had not committed is computed here."
                    )
        except BaseException:
            self.end()
            raise
        return [done[number] for number in sorted(done)]

    def _worker(self, number: int) -> "_Worker":
        if number not in self._workers:
            self._workers[number] = _Worker(self._places[number])
        return self._workers[number]

    def _hear(self, number: int, progress: dict[int, Progress]) -> None:
        for report in self._workers[number].reports():
            if isinstance(report, Progress):
                progress[number] = report
            elif report not in self._told:
                # Each loads the same, falls back or halves for the same reason: once is enough.
                self._told.add(report)
                self._notify(report)

    def end(self) -> None:
        """End all workers at once; the next share starts new ones."""
        for one in self._workers.values():
            one.end()
        self._workers.clear()


class _Worker:
    """One process. A pool of one, so that a process that dies takes no other along."""

    def __init__(self, place: Place) -> None:
        lifeline, self._lifeline = _PROCESSES.Pipe(duplex=False)
        self._reports, reports = _PROCESSES.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, _PROCESSES, worker.start, (place, lifeline, reports))
        # The ends that the process has inherited once it runs: a copy here would keep them open for ever.
        self._inherited: list[Connection] = [lifeline, reports]

    def begin(self, spec: SplitSpec) -> "Future[Computed]":
        """Send a share; the process is started with the first one."""
        future = self._pool.submit(worker.compute, spec)
        for end in self._inherited:
            end.close()
        self._inherited = []
        return future

    def reports(self) -> list[Progress | str]:
        """Return what has been told since this was last asked."""
        told: list[Progress | str] = []
        with suppress(EOFError, OSError):
            while self._reports.poll():
                told.append(self._reports.recv())
        return told

    def end(self) -> None:
        """End the process at once."""
        self._lifeline.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reports.close()
