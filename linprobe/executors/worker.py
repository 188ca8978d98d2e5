"""A worker's own process: what it does when it begins, and for each share.

It is started anew rather than forked, since TensorFlow and OpenVINO do not survive a fork, and since a GPU is
chosen before they are imported.
"""

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection

from extract import Computed, Progress
from linprobe.executors.places import Place
from linprobe.executors.spec import SplitSpec, Workshop
from linprobe.job.environment import Environment
from linprobe.job.streams import standard_streams

__all__ = ["compute", "start"]

_INTERRUPTED = 75
_STDOUT, _STDERR = 1, 2
_workshops: list[tuple[Workshop, Connection]] = []


def start(place: Place, lifeline: Connection, reports: Connection) -> None:
    """Prepare this process.

    Args:
        place: where it runs.
        lifeline: ends when the parent does, or wants this to end.
        reports: takes progress, and texts for people.
    """
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not get into the document that the parent prints.
    os.dup2(_STDERR, _STDOUT)
    # A log that is full or closed costs the parent's job nothing, nor this one.
    _, err = standard_streams()
    sys.stdout = sys.stderr = err
    place.occupy()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    environment = Environment(os.environ)
    environment.prepare_frameworks()
    _workshops[:] = [(Workshop(environment, reports.send), reports)]


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        # At once, as a kill would: rows are committed chunk by chunk, and all else is disposable.
        os._exit(_INTERRUPTED)


def compute(spec: SplitSpec) -> Computed:
    """Compute a share, telling now and then how far it is."""
    (workshop, reports), *_ = _workshops

    def tell(progress: Progress) -> None:
        reports.send(progress)

    return workshop.compute(spec, tell)
