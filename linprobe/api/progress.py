"""How a notebook or a script learns how far long work is; nothing else is printed there."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from extract import Progress
from linprobe.job.console import Console

__all__ = ["ProgressConsole"]

_logger = logging.getLogger("linprobe")


class ProgressConsole(Console):
    """Shows progress in terminals and notebooks; sentences go to the logger `linprobe`, at the level INFO."""

    def __init__(self) -> None:
        super().__init__(is_json=False, out=sys.stderr, err=sys.stderr)

    def say(self, text: str) -> None:
        """Log a line."""
        self.status("")
        _logger.info(text)

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[Progress], None]]:
        """Show how far an extraction is: a bar in a terminal or a notebook, nothing elsewhere."""
        if _is_notebook():
            with _notebook_bar(title) as update:
                yield update
        elif sys.stderr.isatty():
            with super().progress(title) as update:
                yield update
        else:
            yield _ignore


def _ignore(progress: Progress) -> None:
    pass


def _is_notebook() -> bool:
    """Return whether a notebook's kernel runs this: its stderr is no terminal, but shows a bar all the same."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def _notebook_bar(title: str) -> Iterator[Callable[[Progress], None]]:
    # Only whoever waits needs it.
    from tqdm import tqdm

    with tqdm(desc=title, unit="image", file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

        def update(progress: Progress) -> None:
            bar.total = progress.candidates
            bar.n = progress.done
            bar.set_postfix(computed=progress.computed, reused=progress.reused, quarantined=progress.quarantined)

        yield update
