"""How a notebook or a script learns how far long work is; nothing else is printed there."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from extract import Progress
from linprobe.job.console import Console, nothing

__all__ = ["ProgressConsole"]

_logger = logging.getLogger("linprobe")


class ProgressConsole(Console):
    """Shows progress in terminals and notebooks; sentences go to the logger `linprobe`, at the level INFO."""

    def __init__(self) -> None:
        super().__init__(is_json=False, out=sys.stderr, err=sys.stderr)
        self._has_bar = False

    def say(self, text: str) -> None:
        """Log a line."""
        self.status("")
        _logger.info(text)

    def warn(self, text: str) -> None:
        """Log a line at the level WARNING, which Python shows where nobody has set up logging."""
        self.status("")
        _logger.warning(text)

    def status(self, text: str) -> None:
        """Show what goes on right now, on a terminal where no bar says how far it is."""
        if not self._has_bar:
            super().status(text)

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

    @contextmanager
    def steps(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """Show how many of some steps are done: a bar in a terminal or a notebook, for more than one."""
        if total < 2 or not (_is_notebook() or sys.stderr.isatty()):
            yield nothing
            return
        from tqdm import tqdm

        with tqdm(desc=title, total=total, unit="run", file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

            def step() -> None:
                bar.update()

            self._has_bar = True
            try:
                yield step
            finally:
                self._has_bar = False


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
